#pragma once

/* One direction of a container's output: a pipe, or the master side of a pseudo terminal. */

#include "base/page_buffer.h"
#include "base/stream_id.h"
#include "base/watch.h"

#include <stdbool.h>
#include <stddef.h>

/* Takes bytes of the stream. `more` says that what follows can be read at once; then it may leave up to
 * OUTPUT_KEEP_MAX bytes at the end, which come again in front of the next ones. Returns how many it took. */
typedef size_t (*OutputFunc)(StreamId id, const char *bytes, size_t len, bool more, void *data);

#define OUTPUT_KEEP_MAX  16384
#define OUTPUT_CHUNK_MAX 65536

/* Embedded in its owner; output_stream_init comes first, output_stream_done last. */
typedef struct OutputStream {
        StreamId id;
        int fd; /* -1: not yet there, or at its end */
        bool is_terminal;
        bool paused;
        Watch watch;
        int hangup_epoll; /* -1 unless nobody has the slave side of the terminal open */
        Watch hangup_watch;
        PageBuffer buffer;
        size_t fill;
        Timer quiet_timer; /* gives the buffer back */
        bool used;         /* since quiet_timer was started */
        Timer rest_timer;     /* lets small writes that come fast add up; waits after a failure */
        gint64 small_time;    /* of the last small read, microseconds, monotonic */
        unsigned small_reads; /* that came fast, in a row */
        bool failed;          /* a read failed, and that was told */
        OutputFunc func;
        void *data;
} OutputStream;

void output_stream_init(OutputStream *s, StreamId id, OutputFunc func, void *data);

/* Takes the descriptor and starts reading, unless the stream is paused. Makes it non-blocking. */
void output_stream_start(OutputStream *s, int fd, bool is_terminal);

/* A paused stream is not read, so that the container comes to wait when the kernel's buffer is full. Calls
 * OutputFunc never, and may be called by it. */
void output_stream_pause(OutputStream *s, bool paused);

/* Reads what the kernel holds for the stream now, also if it is paused, without waiting for more. A process
 * that goes on writing can't prolong this. */
void output_stream_drain(OutputStream *s);

/* Closes and frees. */
void output_stream_done(OutputStream *s);
