/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The process of an external logger, by the contract of containerd's binary:// loggers
 * (https://github.com/containerd/containerd/blob/main/core/runtime/v2/README.md#logging): descriptor 3 is
 * the container's stdout, 4 its stderr, 5 is closed or written to when the logger is ready; the environment
 * is CONTAINER_ID and CONTAINER_NAMESPACE alone; SIGTERM ends it, and SIGKILL 12 s later what is
 * left of its process group, which it leads. */

#include "base/watch.h"

#include <stdbool.h>
#include <sys/types.h>

typedef struct LoggerProcess LoggerProcess;

/* The logger is ready, or has exited (`ended`), after which nothing is called. If it exits by itself, its
 * group is terminated as by logger_process_stop. */
typedef void (*LoggerProcessFunc)(LoggerProcess *p, bool ended, void *data);

/* All zero, but for argv, environment, func and data, is one that does not run. */
struct LoggerProcess {
        char **argv; /* borrowed, like environment */
        char **environment;
        LoggerProcessFunc func;
        void *data;
        pid_t pid; /* 0: none */
        int pidfd;
        int ready_fd; /* -1: it is ready */
        Watch pid_watch;
        Watch ready_watch;
};

/* False if the kernel lacks pidfd_open(2), which is needed to detect the exit of the logger. */
bool logger_process_is_supported(void);

/* Starts it with these descriptors as 3 and 4. Returns 0 or -errno. The caller's main loop reaps the
 * child. */
int logger_process_start(LoggerProcess *p, int out, int err);

/* Live upgrade; the process remains a child of the monitor. argv, environment, func and data are set
 * before restoring. */
void logger_process_save(const LoggerProcess *p, StateWriter *w);
void logger_process_restore(LoggerProcess *p, StateReader *r);

/* Sends SIGTERM to the process group, and SIGKILL 12 s later, without waiting for that. No effect if there
 * is no process. */
void logger_process_stop(LoggerProcess *p);
