/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Child processes. All attributes of a child are in one declaration, and only this module starts children.
 * The monitor itself and its copy during an upgrade are forked by core/launcher.c and core/upgrade.c.
 *
 * A program is started with vfork(2): its cost does not depend on the memory of the monitor, which continues
 * when the program is executed. That is a wait for the program's disk: while the container runs, callers that
 * do not need the errno have fork(2) used instead. A function runs in a copy of the monitor (fork(2)).
 *
 * By default a child inherits nothing from the monitor: /dev/null as stdin, stdout and stderr, no other
 * descriptor, no blocked signals, default signal actions, no protection from the OOM killer. */

#include "base/sandbox.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* For stdin, stdout and stderr, besides descriptors above 2. */
enum {
        PROCESS_STDIO_NULL = 0,  /* /dev/null */
        PROCESS_STDIO_KEEP = -1, /* the monitor's own */
};

/* The number that the first of the descriptors in `fds` has in the child. */
#define PROCESS_FIRST_FD 3

#define PROCESS_FDS_MAX 4

/* The exit status of a child that could not be set up or could not execute its program. */
#define PROCESS_STATUS_NOT_STARTED 127

/* All strings and arrays are borrowed for the call. Members other than argv or run may be zero. */
typedef struct ProcessSpec {
        /* A program, or a function. */
        char *const *argv;        /* argv[0] is executed, without searching $PATH; NULL: `run` is called */
        char *const *environment; /* of the program; NULL: the monitor's */
        const char *directory;    /* its working directory; NULL, or if it does not exist: the monitor's */
        char *pid_text;           /* where its environment gets the pid, at least 11 bytes; may be NULL */
        int (*run)(const void *arg); /* its result is the exit status */
        const void *arg;
        const char *name; /* name of the function's process, also in its command line; at most 15 bytes */

        /* Descriptors. */
        int stdio[3];
        const int *fds;   /* become 3, 4, … */
        size_t n_fds;     /* at most PROCESS_FDS_MAX */
        bool inherit_fds; /* instead of `fds`: all descriptors that are not close-on-exec */

        /* Signals. */
        const sigset_t *mask; /* blocked; what the monitor's caller ignored stays ignored. NULL: none */

        /* Its relationships. */
        bool own_group;        /* leads a process group */
        bool own_session;      /* leads a session */
        bool dies_with_parent; /* SIGKILL when the monitor ends */
        bool detached;         /* not our child: reaped by init, or a subreaper above the monitor */

        /* Its privileges. */
        bool confined;         /* no new privileges, core dumps or tracers; only capabilities in `rights` */
        uint64_t rights;       /* see base/rights.h */
        Sandbox sandbox;       /* for a function, see base/sandbox.h */
        const char *oom_score; /* its oom_score_adj (proc(5)); NULL: the monitor's, but never below 0 */
} ProcessSpec;

/* When a process was started, in clock ticks since boot; 0 if there is none. It distinguishes a process from
 * a later one with the same pid. */
uint64_t process_started(pid_t pid);

/* Starts a child. Returns its pid (of a detached one: the pid of a process that has ended), or -errno if
 * there is no process.
 *
 * *ret_error is 0 or, if a program could not be executed, the errno: the child then ends with
 * PROCESS_STATUS_NOT_STARTED. (Where vfork(2) is emulated by fork(2), as valgrind does, the exit status alone
 * says so.) NULL: it does not wait until a program is executed, and the exit status alone says so. */
pid_t process_start(const ProcessSpec *spec, int *ret_error);
