/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* One direction of a container's output: a pipe, or the master side of a pseudo terminal. */

#include "base/stream_id.h"
#include "base/watch.h"
#include "io/quiet_buffer.h"

#include <stdbool.h>
#include <stddef.h>

/* Takes bytes of the stream and returns how many. If `more` is true, further bytes can be read at once; then
 * up to OUTPUT_KEEP_MAX bytes at the end may be left, and are delivered again before the next ones. What is
 * left beyond that is delivered again at once, unless the function took nothing. The main loop may run in it,
 * see output_stream_take. */
typedef size_t (*OutputFunc)(StreamId id, const char *bytes, size_t len, bool more, void *data);

#define OUTPUT_KEEP_MAX  16384
#define OUTPUT_CHUNK_MAX 65536

/*  ABSENT --start--> READING <--> PAUSED
 *                    |  ^  `----> HUNG_UP, WAITING --> READING
 *                    v
 *                  ENDED
 *
 * A stream can be paused in any state but ENDED; a pause before the start takes effect at the start. */
typedef enum {
        OUTPUT_ABSENT, /* no descriptor yet */
        OUTPUT_READING,
        OUTPUT_PAUSED,
        OUTPUT_WAITING, /* for a short time: after a failed read, for the next turn after a pause, or in place
                         * of OUTPUT_HUNG_UP if the terminal can't be watched */
        OUTPUT_HUNG_UP, /* a terminal whose slave side no process has open */
        OUTPUT_ENDED,   /* the descriptor is closed */
} OutputState;

/* Embedded in its owner; output_stream_init comes first, output_stream_done last. */
typedef struct OutputStream {
        StreamId id;
        OutputState state;
        int fd; /* -1 in OUTPUT_ABSENT and OUTPUT_ENDED */
        bool is_terminal;
        bool paused;      /* the last argument of output_stream_pause */
        Watch watch;      /* armed in OUTPUT_READING */
        Timer wait_timer; /* runs in OUTPUT_WAITING */
        int hangup_epoll; /* these two in OUTPUT_HUNG_UP, else -1 */
        Watch hangup_watch;
        QuietBuffer buffer;
        unsigned n_taken; /* calls of output_stream_take */
        unsigned n_tiny;  /* reads in a row of a few bytes within a line */
        bool failure_reported;
        OutputFunc func;
        void *data;
} OutputStream;

void output_stream_init(OutputStream *s, StreamId id, OutputFunc func, void *data);

/* Takes ownership of the descriptor, makes it non-blocking, and reads it unless the stream is paused. */
void output_stream_start(OutputStream *s, int fd, bool is_terminal);

/* A paused stream is not read: the container blocks when the kernel's buffer is full. Never calls OutputFunc,
 * and may be called by it. */
void output_stream_pause(OutputStream *s, bool paused);

/* Reads what the kernel holds for the stream, even if it is paused, without waiting for more. A process that
 * keeps writing can't prolong this. */
void output_stream_drain(OutputStream *s);

/* Live upgrade. output_stream_init comes before restoring. */
void output_stream_save(const OutputStream *s, StateWriter *w);
void output_stream_restore(OutputStream *s, StateReader *r);

/* For a main loop that runs within OutputFunc: the function has taken `len` bytes. Delivers the rest; then
 * the loop may read the stream. What the function returns does not count any more. */
void output_stream_take(OutputStream *s, size_t len);

/* Closes and frees. */
void output_stream_done(OutputStream *s);
