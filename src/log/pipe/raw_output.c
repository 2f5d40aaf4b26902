/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/pipe/raw_output.h"

#include "base/diag.h"
#include "base/fd.h"
#include "base/stand_in.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Messages per system call. */
#define PIECES 64

static void
on_writable(GIOCondition revents, void *data)
{
        LogRawOutput *o = data;
        for (StreamId i = 0; i < N_STREAMS; i++)
                watch_disarm(&o->writable[i]);
        log_sink_ready(o->sink);
}

void
log_raw_init(LogRawOutput *o, LogSink *sink)
{
        *o = (LogRawOutput){.sink = sink, .fds = {-1, -1}};
}

void
log_raw_set(LogRawOutput *o, StreamId stream, int fd)
{
        o->fds[stream] = fd;
        watch_init(&o->writable[stream], fd, WATCH_PRIORITY_IO, on_writable, o);
}

/* A pipe without a name, or a socket. */
static bool
is_final(int fd, const struct stat *st)
{
        struct statfs fs;
        if (S_ISFIFO(st->st_mode))
                return fstatfs(fd, &fs) == 0 && fs.f_type == PIPEFS_MAGIC;
        return S_ISSOCK(st->st_mode);
}

/* Opening it again gives flags of our own; but a file's position is shared, and a socket can't be opened. */
int
log_raw_share(LogRawOutput *o, StreamId stream, int fd)
{
        struct stat st;
        char path[32];
        if (fstat(fd, &st) < 0)
                return -errno;
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        bool file = S_ISREG(st.st_mode), sock = S_ISSOCK(st.st_mode);
        int own = file || sock ? -1 : open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        o->kinds[stream] = file       ? LOG_RAW_FILE
                           : own >= 0 ? LOG_RAW_PLAIN
                           : sock     ? LOG_RAW_SOCKET
                                      : LOG_RAW_CAUTIOUS;
        if (own < 0)
                own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (own < 0)
                return -errno;
        o->final[stream] = is_final(fd, &st);
        log_raw_set(o, stream, own);
        return 0;
}

void
log_raw_save(const LogRawOutput *o, StateWriter *w)
{
        for (StreamId i = 0; i < N_STREAMS; i++) {
                state_begin(w, stream_name(i));
                state_put_fd(w, "descriptor", o->fds[i]);
                state_put_uint(w, "kind", o->kinds[i]);
                state_put_uint(w, "final", o->final[i]);
                state_put_uint(w, "reported", o->reported[i]);
                state_end(w);
        }
}

void
log_raw_restore(LogRawOutput *o, LogSink *sink, StateReader *r)
{
        log_raw_init(o, sink);
        for (StreamId i = 0; i < N_STREAMS; i++) {
                state_enter(r, stream_name(i));
                int fd = state_get_fd(r, "descriptor");
                o->kinds[i] = (LogRawKind)state_get_uint(r, "kind", LOG_RAW_CAUTIOUS);
                o->final[i] = state_get_bool(r, "final");
                o->reported[i] = state_get_bool(r, "reported");
                state_leave(r);
                if (fd >= 0)
                        log_raw_set(o, i, fd);
        }
}

void
log_raw_close(void *output)
{
        LogRawOutput *o = output;
        for (StreamId i = 0; i < N_STREAMS; i++) {
                watch_done(&o->writable[i]);
                fd_close(&o->fds[i]);
        }
}

size_t
log_raw_max_encoded_len(void *self, size_t len)
{
        return len + 1;
}

char *
log_raw_put(void *self, const LogRecord *r, char *at)
{
        at = mempcpy(at, r->bytes, r->len);
        if (!(r->flags & LOG_RECORD_PARTIAL))
                *at++ = '\n';
        return at;
}

/* The next messages that are for the same descriptor. */
static int
choose(LogQueue *q, struct iovec *pieces, StreamId *ret_stream)
{
        if (q->partially_sent > 0) {
                const char *bytes;
                pieces->iov_len = log_queue_next(q, SIZE_MAX, &bytes);
                pieces->iov_base = (char *)bytes;
                *ret_stream = log_block_entry(q->next.block, q->next.entry)->stream;
                return 1;
        }
        LogMessage messages[PIECES];
        size_t n = log_queue_peek(q, messages, PIECES), i = 0;
        *ret_stream = n > 0 ? messages[0].stream : STREAM_STDOUT;
        for (; i < n && messages[i].stream == *ret_stream; i++)
                pieces[i] = (struct iovec){(char *)messages[i].bytes, messages[i].len};
        return (int)i;
}

static ssize_t
write_and_wait(const LogRawOutput *o, int fd, const struct iovec *pieces, int n)
{
        StandIn *lent = stand_in_lend(log_sink_stand_in(o->sink));
        ssize_t k = writev(fd, pieces, n);
        stand_in_take_back(lent);
        return k < 0 ? -errno : k;
}

/* A pipe that is ready accepts PIPE_BUF bytes, if no other process fills it first. A terminal that is ready
 * may accept less, and wait for its reader. */
static ssize_t
write_cautiously(const LogRawOutput *o, int fd, const struct iovec *piece)
{
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        struct iovec part = {piece->iov_base, MIN(piece->iov_len, (size_t)PIPE_BUF)};
        return poll(&p, 1, 0) == 0 ? -EAGAIN : write_and_wait(o, fd, &part, 1);
}

static ssize_t
send_to_socket(int fd, struct iovec *pieces, int n)
{
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)n};
        ssize_t k = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        return k < 0 ? -errno : k;
}

static ssize_t
write_some(const LogRawOutput *o, StreamId stream, struct iovec *pieces, int n)
{
        int fd = o->fds[stream];
        if (fd < 0)
                return -EPIPE;
        switch (o->kinds[stream]) {
        case LOG_RAW_CAUTIOUS:
                return write_cautiously(o, fd, pieces);
        case LOG_RAW_SOCKET:
                return send_to_socket(fd, pieces, n);
        case LOG_RAW_FILE:
                return write_and_wait(o, fd, pieces, n);
        default:
                break;
        }
        ssize_t k = writev(fd, pieces, n);
        return k < 0 ? -errno : k;
}

/* The next message has no receiver. */
static void
give_up(LogRawOutput *o, StreamId stream, LogQueue *q)
{
        if (!o->reported[stream])
                diag_warn("Nobody reads the container's %s any more; what it writes there is dropped",
                          stream_name(stream));
        o->reported[stream] = true;
        log_queue_rewind(q);
        log_sink_give_up_first(o->sink);
}

int
log_raw_send(void *output, LogQueue *q)
{
        LogRawOutput *o = output;
        struct iovec pieces[PIECES];
        StreamId stream;
        int n;
        while ((n = choose(q, pieces, &stream)) > 0) {
                ssize_t k = write_some(o, stream, pieces, n);
                if (k == -EAGAIN) {
                        watch_arm(&o->writable[stream], G_IO_OUT);
                        return LOG_SEND_WAIT;
                }
                if (k == -EPIPE && o->final[stream])
                        give_up(o, stream, q);
                else if (k < 0 && k != -EINTR)
                        return (int)k;
                else if (k > 0)
                        log_queue_wrote(q, (size_t)k);
        }
        return 0;
}

const LogTransport log_raw_transport = {
        .may_stall = true,
        .send = log_raw_send,
        .close = log_raw_close,
};
