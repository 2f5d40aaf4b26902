/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The program that runs after the container has ended (podman: `podman container cleanup …`). */

#include "proc/oom_score.h"

#include <glib.h>
#include <signal.h>
#include <sys/types.h>

typedef struct ExitCommand {
        const char *path;      /* executed without searching $PATH */
        char **args;           /* may be NULL */
        char **environment;    /* NULL: the monitor's */
        const char *directory; /* to work in; NULL, or if it does not exist: the monitor's */
        gint64 due_usec;       /* when exit_command_run runs it (g_get_monotonic_time) */
        const sigset_t *mask;
        const OomScore *score;
} ExitCommand;

/* Waits until it is due, runs the program and waits until it exits. Other children are reaped meanwhile.
 * The monitor's signals must be blocked (signals_block); a signal for the container ends the wait. A
 * failure of the program is reported. */
void exit_command_run(const ExitCommand *command);

/* Starts it immediately without waiting. Returns like process_start. */
pid_t exit_command_start(const ExitCommand *command, int *ret_error);

/* Reports a status of waitpid(2) that is not success; `name` completes "The exit command …". */
void exit_command_report(const char *name, int status);
