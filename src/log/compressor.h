#pragma once

/* Compresses an old log file in a process of its own, which is short-lived, has the lowest priority and ends by
 * itself. The monitor never waits for it: what it has to say, and its end, come through a pipe. Whoever reaps children
 * finds one it doesn't know. */

#include "base/watch.h"

#include <stdbool.h>
#include <sys/types.h>

/* `error` is NULL if the compressed file is complete, else what went wrong. */
typedef void (*LogCompressorFunc)(const char *error, void *data);

/* All zero, but for func and data, is idle. */
typedef struct LogCompressor {
        LogCompressorFunc func;
        void *data;
        bool running;
        int pipe;
        int process; /* pidfd; -1: the kernel has none */
        Watch watch;
} LogCompressor;

/* Starts compressing `in` to `out`, both of which stay the caller's. The result never becomes longer than
 * `max` bytes; if that is not enough, it is given up. Returns 0 or -errno; func is called once, unless log_compressor_stop comes before. */
int log_compressor_start(LogCompressor *c, int in, int out, off_t max);

/* Ends the process at once. Harmless if there is none. */
void log_compressor_stop(LogCompressor *c);
