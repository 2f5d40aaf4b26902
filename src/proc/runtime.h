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

/* What the command line is made of. Strings are borrowed; those that don't belong to the
 * action are not looked at. */
typedef struct RuntimeCommand {
        RuntimeAction action;
        const char *runtime;
        char **args; /* before the action; may be NULL */
        char **opts; /* behind it; may be NULL */
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
        int stdio[3];           /* what it gets as 0, 1 and 2; -1: the monitor's own */
        const sigset_t *mask;   /* its signal mask */
        const OomScore *score;  /* its oom_score_adj */
        bool replace_listen_pid; /* LISTEN_PID becomes its pid (sd_listen_fds(3)) */
} RuntimeProcess;

/* Starts the runtime and returns when it is executed. It is killed when the monitor dies. What
 * fails in the child is written to its stderr and ends it with status 127 (not executable) or 1.
 * Returns the pid or -errno. */
pid_t runtime_spawn(const RuntimeProcess *process);
