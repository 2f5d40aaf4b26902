/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The OCI runtime: its command line, and starting it. */

#include "proc/oom_score.h"

#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

typedef enum {
        RUNTIME_CREATE,
        RUNTIME_RESTORE,
        RUNTIME_EXEC,
} RuntimeAction;

/* The parts of the command line. Strings are borrowed; those of other actions are ignored. */
typedef struct RuntimeCommand {
        RuntimeAction action;
        const char *runtime;
        char **args; /* before the action; may be NULL */
        char **opts; /* after it; may be NULL */
        const char *cid;
        const char *bundle;         /* create, restore */
        const char *pidfile;
        const char *restore_path;   /* restore */
        const char *process_spec;   /* exec */
        const char *console_socket; /* NULL without a terminal */
        bool systemd_cgroup;        /* create, restore */
        bool no_pivot;              /* create, restore */
        bool no_new_keyring;        /* create, restore */
} RuntimeCommand;

/* The argument vector, NULL at its end. The array is the caller's, the strings belong to *command. */
GPtrArray *runtime_argv(const RuntimeCommand *command);

typedef struct RuntimeProcess {
        char **argv;
        int stdio[3];           /* its descriptors 0, 1 and 2; -1: the monitor's own */
        const sigset_t *mask;   /* its signal mask */
        const OomScore *score;  /* its oom_score_adj */
        bool replace_listen_pid; /* LISTEN_PID becomes its pid (sd_listen_fds(3)) */
} RuntimeProcess;

/* Starts the runtime and returns when it is executed. It is killed when the monitor ends. If it can't be
 * executed (exit status 127), or LISTEN_PID is invalid (1), the reason is written to its stderr.
 * Returns the pid or -errno. */
pid_t runtime_spawn(const RuntimeProcess *process);
