/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A process for one task that may take long or needs resources that the monitor should not have. It has
 * none of the monitor's descriptors and no capabilities, and its answer comes through a pipe; the monitor
 * never waits for it. The main loop reaps it, and it is killed when the monitor ends. */

#include "base/sandbox.h"
#include "base/watch.h"

#include <stdbool.h>
#include <stddef.h>

/* The most bytes of an answer, which is written atomically (PIPE_BUF, pipe(7)). */
#define WORKER_ANSWER_MAX 4096

/* Runs in the child, where stdin, stdout, stderr and the pipe for the answer are open. Writes the answer to
 * `answer` and returns its length. */
typedef size_t (*WorkerTask)(const void *arg, char *answer);

typedef struct WorkerKind {
        const char *name; /* of the process, at most 15 bytes */
        WorkerTask task;
        Sandbox sandbox; /* SANDBOX_NONE: the task enters one itself, after its preparations */
} WorkerKind;

/* Gets the answer; of length 0 if the process ended without one. */
typedef void (*WorkerFunc)(const char *answer, size_t len, void *data);

/* Zeroed except for func and data, it is idle. */
typedef struct Worker {
        WorkerFunc func;
        void *data;
        bool busy;
        int fd;    /* of the pipe; meaningless when idle */
        int pidfd; /* negative: the kernel has no pidfds */
        Watch watch;
} Worker;

/* Starts the task. `in` and `out` become its stdin and stdout; 0: /dev/null. The function is called once,
 * unless the worker is stopped before. Returns 0 or -errno. */
int worker_start(Worker *w, const WorkerKind *kind, const void *arg, int in, int out);

/* Live upgrade; the process remains a child. `func` and `data` are set before restoring. */
void worker_save(const Worker *w, StateWriter *state, const char *name);
void worker_restore(Worker *w, StateReader *r, const char *name);

/* Kills the process if it still runs. Does nothing when idle. */
void worker_stop(Worker *w);
