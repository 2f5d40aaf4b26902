/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Compresses an old log file, in a separate process with the lowest priority. */

#include "base/worker.h"

/* `error` is NULL if the compressed file is complete, else an error message. */
typedef void (*LogCompressorFunc)(const char *error, void *data);

/* All zero, but for func and data, is idle. */
typedef struct LogCompressor {
        LogCompressorFunc func;
        void *data;
        Worker worker;
} LogCompressor;

/* Starts compressing `in` to `out`, both of which stay the caller's. The result is limited to `max` bytes;
 * if that is not enough, compression fails. Returns 0 or -errno; func is called once, unless
 * log_compressor_stop is called before. */
int log_compressor_start(LogCompressor *c, int in, int out, off_t max);

/* Live upgrade, with func and data set. */
void log_compressor_save(const LogCompressor *c, StateWriter *w);
void log_compressor_restore(LogCompressor *c, StateReader *r);

/* Kills the process. No effect if there is none. */
void log_compressor_stop(LogCompressor *c);
