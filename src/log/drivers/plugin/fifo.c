/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/plugin/fifo.h"

#include "base/fd.h"
#include "base/sockpath.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often to check while something was not read. */
#define LOOK_FIRST_USEC (10 * 1000)
#define LOOK_MAX_USEC   G_USEC_PER_SEC

/* Some plugins open their end slightly after they answer. */
#define OPEN_MAX_USEC (2 * G_USEC_PER_SEC)

static void
on_look(void *data)
{
        PluginFifo *f = data;
        log_sink_ready(f->sink);
}

void
plugin_fifo_init(PluginFifo *f, LogSink *sink)
{
        f->sink = sink;
        f->fd = f->spare = -1;
        timer_init(&f->look, on_look, f);
}

static void
on_event(GIOCondition revents, void *data)
{
        PluginFifo *f = data;
        f->waiting = false;
        f->reader_gone = (revents & (G_IO_ERR | G_IO_HUP)) != 0;
        watch_disarm(&f->watch);
        log_sink_ready(f->sink);
}

int
plugin_fifo_make(PluginFifo *f, const char *dir)
{
        g_autofree char *base = g_build_filename(dir, "conmon", NULL);
        if (g_mkdir_with_parents(dir, 0700) < 0)
                return -errno;
        f->path = sockpath_random_name(base);
        if (mkfifoat(AT_FDCWD, f->path, 0700) < 0)
                return -errno;
        /* Without a reader the other end could not be opened. */
        f->spare = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        f->fd = f->spare < 0 ? -1 : open(f->path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (f->fd < 0)
                return -errno;
        watch_init(&f->watch, f->fd, WATCH_PRIORITY_IO, on_event, f);
        f->written = f->done = 0;
        f->has_reader = f->reader_gone = f->waiting = false;
        return 0;
}

void
plugin_fifo_announced(PluginFifo *f)
{
        fd_close(&f->spare);
        f->announced_usec = g_get_monotonic_time();
}

int
plugin_fifo_unread(const PluginFifo *f)
{
        int n = 0;
        return f->fd >= 0 && ioctl(f->fd, FIONREAD, &n) == 0 ? n : 0;
}

/* Messages that were read are done. True if there were any. */
static bool
note_read(PluginFifo *f, LogQueue *q)
{
        uint64_t before = f->done, read = f->written - (uint64_t)plugin_fifo_unread(f);
        log_queue_done(q, 0); /* dropped messages are skipped */
        while (f->done < read && !log_queue_is_empty(q)) {
                size_t len = log_block_entry(q->head, q->head->first)->len;
                if (len > read - f->done)
                        break;
                f->done += len;
                log_queue_done(q, 1);
        }
        return f->done != before;
}

/* Returns 0 if there is a reader, LOG_SEND_WAIT if there may be one soon, or -EPIPE. */
static int
find_reader(PluginFifo *f)
{
        struct pollfd p = {.fd = f->fd, .events = POLLOUT};
        f->reader_gone = poll(&p, 1, 0) > 0 && p.revents & POLLERR;
        f->has_reader |= !f->reader_gone;
        if (!f->reader_gone)
                return 0;
        bool late = g_get_monotonic_time() - f->announced_usec > OPEN_MAX_USEC;
        return f->has_reader || late ? -EPIPE : LOG_SEND_WAIT;
}

static int
write_queue(PluginFifo *f, LogQueue *q)
{
        const char *bytes;
        size_t len;
        while ((len = log_queue_next(q, SIZE_MAX, &bytes)) > 0) {
                ssize_t n = write(f->fd, bytes, len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return errno == EAGAIN ? LOG_SEND_WAIT : -errno;
                f->written += (uint64_t)n;
                log_queue_sent(q, (size_t)n);
        }
        return 0;
}

int
plugin_fifo_send(PluginFifo *f, LogQueue *q)
{
        bool moved = note_read(f, q);
        int r = find_reader(f);
        if (r == 0)
                r = write_queue(f, q);
        if (r < 0)
                return r;
        f->waiting = r == LOG_SEND_WAIT && f->has_reader;
        if (f->has_reader)
                watch_arm(&f->watch, f->waiting ? G_IO_OUT : 0);
        (void)note_read(f, q);
        if (log_queue_is_empty(q)) {
                timer_stop(&f->look);
                return 0;
        }
        f->look_wait = moved || f->look_wait == 0 ? LOOK_FIRST_USEC : MIN(2 * f->look_wait, LOOK_MAX_USEC);
        timer_start(&f->look, f->look_wait);
        return LOG_SEND_WAIT;
}

void
plugin_fifo_save(const PluginFifo *f, StateWriter *w)
{
        state_begin(w, "fifo");
        state_put_text(w, "path", f->path);
        state_put_fd(w, "descriptor", f->fd);
        state_put_uint(w, "has-reader", f->has_reader);
        state_put_int(w, "announced", f->announced_usec);
        state_put_uint(w, "written", f->written);
        state_put_uint(w, "done", f->done);
        state_end(w);
}

void
plugin_fifo_restore(PluginFifo *f, LogSink *sink, StateReader *r)
{
        plugin_fifo_init(f, sink);
        state_enter(r, "fifo");
        f->path = state_get_text(r, "path");
        f->fd = state_get_fd(r, "descriptor");
        f->has_reader = state_get_bool(r, "has-reader");
        f->announced_usec = state_get_int(r, "announced", 0, INT64_MAX);
        f->written = state_get_uint(r, "written", INT64_MAX);
        f->done = state_get_uint(r, "done", f->written);
        state_leave(r);
        if (f->fd >= 0)
                watch_init(&f->watch, f->fd, WATCH_PRIORITY_IO, on_event, f);
}

void
plugin_fifo_remove(PluginFifo *f, LogQueue *q)
{
        timer_stop(&f->look);
        if (f->fd >= 0)
                (void)note_read(f, q);
        log_queue_rewind(q);
        watch_done(&f->watch);
        fd_close(&f->fd);
        fd_close(&f->spare);
        if (f->path)
                (void)unlink(f->path);
        g_clear_pointer(&f->path, g_free);
}
