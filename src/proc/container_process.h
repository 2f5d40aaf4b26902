/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The container's first process. Its exit is detected through a pidfd, regardless of its parent, and
 * signals are sent through the pidfd, so that they never reach another process that reuses the pid. */

#include "base/watch.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* The process has exited. `status` is that of waitpid(2) if known: of a child, and, since Linux 6.15, of a
 * process that its own parent reaps within half a second. Called once. */
typedef void (*ProcessEndFunc)(bool status_known, int status, void *data);

/* Embedded in its owner; all zero means that there is no process. */
typedef struct ContainerProcess {
        pid_t pid; /* 0: not yet there */
        int pidfd; /* negative: unsupported; then only the exit of children is detected */
        bool ended;
        bool reaped_by_others; /* not by the monitor */
        Watch watch;
        Timer reap_timer; /* while another parent has not reaped it */
        ProcessEndFunc on_end;
        void *data;
} ContainerProcess;

/* Reaps a child that has ended, without blocking. `pid` is as of waitpid(2); EINTR does not occur. Returns
 * its pid, 0 if none has ended, or -1 with errno set. */
pid_t process_reap(pid_t pid, int *ret_status);

/* Reads a pid file as the runtime writes it: one positive decimal number, white space around it allowed.
 * Returns the pid or 0 with *error set. */
pid_t pid_file_read(const char *path, GError **error);

void container_process_init(ContainerProcess *p, pid_t pid, ProcessEndFunc on_end, void *data);

/* Starts watching. Calls on_end immediately if the process has already exited. */
void container_process_watch(ContainerProcess *p);

/* waitpid(2) gave this status for the process, which need not be watched yet. */
void container_process_reaped(ContainerProcess *p, int status);

/* Checks whether the process, a child or not, has exited. */
void container_process_check(ContainerProcess *p);

/* Returns 0 or -errno; -ESRCH if it has ended. */
int container_process_signal(const ContainerProcess *p, int signal);

/* SIGKILL to the whole process group of the process, or to the process alone if it
 * is in no group of its own. */
void container_process_kill_group(const ContainerProcess *p);

/* Live upgrade, after which its children remain children; not for a process that has exited. */
void container_process_save(const ContainerProcess *p, StateWriter *w);
void container_process_restore(ContainerProcess *p, StateReader *r, ProcessEndFunc on_end, void *data);

void container_process_done(ContainerProcess *p);
