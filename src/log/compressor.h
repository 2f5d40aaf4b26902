#pragma once

/* Compresses an old log file, in a process of its own that has the lowest priority. */

#include "log/worker.h"

/* `error` is NULL if the compressed file is complete, else what went wrong. */
typedef void (*LogCompressorFunc)(const char *error, void *data);

/* All zero, but for func and data, is idle. */
typedef struct LogCompressor {
        LogCompressorFunc func;
        void *data;
        LogWorker worker;
} LogCompressor;

/* Starts compressing `in` to `out`, both of which stay the caller's. The result never becomes longer than
 * `max` bytes; if that is not enough, it is given up. Returns 0 or -errno; func is called once, unless
 * log_compressor_stop comes before. */
int log_compressor_start(LogCompressor *c, int in, int out, off_t max);

/* Ends the process at once. Harmless if there is none. */
void log_compressor_stop(LogCompressor *c);
