/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The arguments of the runtime, and the container that it started. */
struct runtime {
        char **argv;
        const char *verb;           /* create, exec or restore */
        const char *pid_file;       /* NULL without --pid-file */
        const char *console_socket; /* NULL without --console-socket */
        const char *id;             /* the last argument */
        unsigned preserved;         /* N of --preserve-fds */
        int console;                /* the container's side of the terminal, or -1 */
        int pid;                    /* of the container, 0 before it was started */
};

/* Opens a terminal and sends its master to the monitor; `how` selects a deviation. */
void runtime_console(struct runtime *self, const char *how);

/* Starts the container with the script in the environment variable FAKE_CONTAINER. */
void runtime_container(struct runtime *self, const char *how);

/* Writes `text`, or the pid of the container if it is NULL, to the pid file. */
void runtime_pidfile(struct runtime *self, const char *text);
