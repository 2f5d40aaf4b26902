#pragma once

/* The process of an external logger, by the contract of containerd's binary:// loggers
 * (https://github.com/containerd/containerd/blob/main/core/runtime/v2/README.md#logging): descriptor 3 is
 * the container's stdout, 4 its stderr, 5 is closed or written to when the logger is ready; the environment
 * is CONTAINER_ID and CONTAINER_NAMESPACE alone; SIGTERM ends it, and SIGKILL if it has not ended 12 s
 * later. It leads a process group. */

#include "base/watch.h"

#include <stdbool.h>
#include <sys/types.h>

typedef struct LoggerProcess LoggerProcess;

/* The logger said that it is ready, or has ended (`ended`); after that nothing more is called. */
typedef void (*LoggerProcessFunc)(LoggerProcess *p, bool ended, void *data);

/* All zero, but for argv, environment, func and data, is one that does not run. */
struct LoggerProcess {
        char **argv; /* owned by somebody else, like environment */
        char **environment;
        LoggerProcessFunc func;
        void *data;
        pid_t pid; /* 0: none */
        int pidfd;
        int ready_fd; /* -1: it is ready */
        Watch pid_watch;
        Watch ready_watch;
};

/* False if the kernel has no pidfd_open(2), which is how the end of the logger is noticed. */
bool logger_process_is_supported(void);

/* Starts it with these descriptors as 3 and 4. Returns 0 or -errno. It is a child
 * that somebody else reaps. */
int logger_process_start(LoggerProcess *p, int out, int err);

/* Sends SIGTERM, sees to it that the process group is gone 12 s later, and does not wait for that.
 * Harmless if there is no process. */
void logger_process_stop(LoggerProcess *p);
