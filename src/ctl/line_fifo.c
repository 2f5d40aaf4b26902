/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/line_fifo.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/gstring.h"
#include "base/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Maximum number of reads, so that other events are handled in between, and the size of one. */
#define READS_PER_TURN 16
#define READ_SIZE      1024

struct LineFifo {
        int reader;
        int writer;
        Watch watch;
        LineBuffer buffer;
        bool held;
        GString *rest; /* input that was read and not delivered; NULL: none */
        Timer rest_timer;
        LineFunc func;
        void *data;
};

void
line_buffer_feed(LineBuffer *b, const char *bytes, size_t len, LineFunc func, void *data)
{
        const char *at = bytes, *end = bytes + len;
        while (at < end) {
                const char *newline = memchr(at, '\n', (size_t)(end - at));
                size_t part = (size_t)((newline ? newline : end) - at);
                if (part > LINE_MAX_LEN - b->len)
                        b->discarding = true;
                if (!b->discarding) {
                        memcpy(b->line + b->len, at, part);
                        b->len += part;
                }
                if (!newline)
                        return;
                bool complete = !b->discarding;
                b->line[b->len] = '\0';
                b->len = 0;
                b->discarding = false;
                at = newline + 1;
                if (complete)
                        func(b->line, data);
        }
}

/* Removes at most one line from the rest. */
static size_t
take_line(LineFifo *fifo, char *bytes, size_t size)
{
        GString *rest = fifo->rest;
        const char *newline = memchr(rest->str, '\n', rest->len);
        size_t len = MIN(newline ? (size_t)(newline - rest->str) + 1 : rest->len, size);
        memcpy(bytes, rest->str, len);
        g_string_erase(rest, 0, (gssize)len);
        if (rest->len == 0)
                g_string_free(g_steal_pointer(&fifo->rest), TRUE);
        return len;
}

/* The loop may run during a line (base/stand_in.h). It delivers the next ones then, in their order. */
static void
deliver(LineFifo *fifo)
{
        char bytes[READ_SIZE];
        while (fifo->rest && !fifo->held) {
                size_t len = take_line(fifo, bytes, sizeof bytes);
                if (fifo->rest)
                        timer_start(&fifo->rest_timer, 0);
                line_buffer_feed(&fifo->buffer, bytes, len, fifo->func, fifo->data);
        }
        if (!fifo->rest)
                timer_stop(&fifo->rest_timer);
}

static void
on_readable(GIOCondition revents, void *data)
{
        LineFifo *fifo = data;
        char bytes[READ_SIZE];
        for (int i = 0; i < READS_PER_TURN && !fifo->held; i++) {
                ssize_t n = fd_read(fifo->reader, bytes, sizeof bytes);
                if (n == -EAGAIN)
                        return;
                if (n <= 0) {
                        diag_warn("Failed to read from a control FIFO: %s; it is ignored from now on",
                                  strerror((int)-n));
                        watch_disarm(&fifo->watch);
                        return;
                }
                if (!fifo->rest)
                        fifo->rest = g_string_new(NULL);
                g_string_append_len(fifo->rest, bytes, n);
                deliver(fifo);
        }
}

static void
on_rest(void *data)
{
        deliver(data);
}

void
line_fifo_hold(LineFifo *fifo)
{
        fifo->held = true;
        watch_disarm(&fifo->watch);
        timer_stop(&fifo->rest_timer);
}

void
line_fifo_resume(LineFifo *fifo)
{
        if (fifo->reader < 0)
                return; /* stopped meanwhile */
        fifo->held = false;
        watch_arm(&fifo->watch, G_IO_IN);
        if (fifo->rest)
                timer_start(&fifo->rest_timer, 0);
}

static int
make_fifo(int dirfd, const char *name)
{
        if (mkfifoat(dirfd, name, 0660) == 0)
                return 0;
        if (errno != EEXIST || unlinkat(dirfd, name, 0) < 0 || mkfifoat(dirfd, name, 0660) < 0)
                return -errno;
        return 0;
}

static LineFifo *
fifo_new(int reader, int writer, LineFunc func, void *data)
{
        LineFifo *fifo = g_new0(LineFifo, 1);
        fifo->reader = reader;
        fifo->writer = writer;
        fifo->func = func;
        fifo->data = data;
        watch_init(&fifo->watch, fifo->reader, WATCH_PRIORITY_IO, on_readable, fifo);
        timer_init(&fifo->rest_timer, on_rest, fifo);
        return fifo;
}

LineFifo *
line_fifo_new(const char *dir, const char *name, LineFunc func, void *data, GError **error)
{
        autofd int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = dirfd < 0 ? -errno : make_fifo(dirfd, name);
        if (r < 0) {
                error_set_errno(error, r, "Failed to create the FIFO %s/%s", dir, name);
                return NULL;
        }
        autofd int reader = fd_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK);
        if (reader < 0) {
                error_set_errno(error, reader, "Failed to open the FIFO %s/%s", dir, name);
                return NULL;
        }
        autofd int writer = fd_open_beneath(dirfd, name, O_WRONLY | O_NONBLOCK);
        if (writer < 0) {
                error_set_errno(error, writer, "Failed to open the FIFO %s/%s for writing", dir, name);
                return NULL;
        }
        return fifo_new(fd_steal(&reader), fd_steal(&writer), func, data);
}

void
line_fifo_start(LineFifo *fifo)
{
        watch_arm(&fifo->watch, G_IO_IN);
}

void
line_fifo_save(const LineFifo *fifo, StateWriter *w, const char *name)
{
        state_begin(w, name);
        state_put_fd(w, "reader", fifo->reader);
        state_put_fd(w, "writer", fifo->writer);
        state_put_bytes(w, "line", fifo->buffer.line, fifo->buffer.len);
        state_put_uint(w, "discarding", fifo->buffer.discarding);
        state_put_uint(w, "held", fifo->held);
        state_put_string(w, "rest", fifo->rest);
        state_end(w);
}

LineFifo *
line_fifo_restore(StateReader *r, LineFunc func, void *data)
{
        size_t len = 0;
        int reader = state_get_fd(r, "reader"), writer = state_get_fd(r, "writer");
        LineFifo *fifo = fifo_new(reader, writer, func, data);
        const char *line = state_get_bytes(r, "line", &len);
        if (len > LINE_MAX_LEN)
                state_fail(r, "'line' is too long");
        else
                memcpy(fifo->buffer.line, line, len);
        fifo->buffer.len = state_failed(r) ? 0 : len;
        fifo->buffer.discarding = state_get_bool(r, "discarding");
        fifo->held = state_get_bool(r, "held");
        fifo->rest = state_get_string_or_null(r, "rest");
        if (!fifo->held)
                line_fifo_resume(fifo);
        return fifo;
}

void
line_fifo_stop(LineFifo *fifo)
{
        fifo->held = true;
        watch_done(&fifo->watch);
        timer_stop(&fifo->rest_timer);
        fd_close(&fifo->reader);
        fd_close(&fifo->writer);
}

void
line_fifo_free(LineFifo *fifo)
{
        if (!fifo)
                return;
        line_fifo_stop(fifo);
        gstring_free(fifo->rest);
        g_free(fifo);
}
