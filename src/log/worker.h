#pragma once

/* A process for one task that may take long or needs what the monitor is not to carry. It has none of the
 * monitor's descriptors and no capabilities, and its answer comes through a pipe; the monitor never waits for
 * it. It is a child that somebody else reaps, and ends with the monitor. */

#include "base/watch.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The most bytes of an answer: they come in one piece (PIPE_BUF, pipe(7)). */
#define LOG_WORKER_ANSWER_MAX 4096

/* Runs in the child, where nothing but stdin, stdout, stderr and the descriptors given to log_worker_start is
 * open. Writes the answer to `answer` and returns its length. */
typedef size_t (*LogWorkerTask)(const void *arg, char *answer);

/* The answer; of no length if the process ended without one. */
typedef void (*LogWorkerFunc)(const char *answer, size_t len, void *data);

/* All zero but for func and data is one at rest. */
typedef struct LogWorker {
        LogWorkerFunc func;
        void *data;
        bool busy;
        int fd;    /* of the pipe; meaningless at rest */
        int pidfd; /* -1: the kernel has no pidfd_open(2) */
        Watch watch;
} LogWorker;

/* Starts the task. `in` and `out` become its stdin and stdout, -1 leaves those as they are. The function is
 * called once, unless the worker is stopped before. Returns 0 or -errno. */
int log_worker_start(LogWorker *w, LogWorkerTask task, const void *arg, int in, int out);

/* Kills the process if it still runs. Harmless at rest. */
void log_worker_stop(LogWorker *w);
