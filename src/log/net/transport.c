/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/transport.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* How many datagrams one system call sends. */
#define DATAGRAMS 64

/* ---- streams ---- */

static int
write_queue(LogConnection *c, LogQueue *q)
{
        struct iovec piece;
        const char *bytes;
        while ((piece.iov_len = log_queue_next(q, SIZE_MAX, &bytes)) > 0) {
                piece.iov_base = (char *)bytes;
                ssize_t n = log_connection_write(c, &piece, 1);
                if (n < 0)
                        return (int)n;
                log_queue_sent(q, (size_t)n);
        }
        return 0;
}

static int
send_bytes(LogConnection *c, LogQueue *q)
{
        c->arrival.sends_queue = true;
        int r = write_queue(c, q);
        log_connection_look(c);
        log_arrival_finish(&c->arrival, q);
        return r == 0 && !log_queue_is_empty(q) ? LOG_SEND_WAIT : r;
}

/* ---- datagrams ---- */

/* Returns how many messages were sent, or -errno. */
static int
send_some_datagrams(LogConnection *c, const LogMessage *messages, size_t n)
{
        struct mmsghdr headers[DATAGRAMS];
        struct iovec pieces[DATAGRAMS];
        for (size_t i = 0; i < n; i++) {
                pieces[i] = (struct iovec){(char *)messages[i].bytes, messages[i].len};
                headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &pieces[i], .msg_iovlen = 1}};
        }
        int sent;
        do
                sent = sendmmsg(c->socket.fd, headers, (unsigned)n, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        return sent < 0 ? -errno : sent;
}

int
log_connection_refused(LogConnection *c, LogQueue *q, int r)
{
        log_connection_break(c, q);
        if (log_connection_try_next(c))
                return 0;
        if (r == -ECONNREFUSED)
                log_sink_refused(c->sink);
        return r;
}

int
log_connection_refusal(LogConnection *c)
{
        int error = 0;
        socklen_t len = sizeof error;
        if (getsockopt(c->socket.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
                error = errno;
        return -error;
}

/* Returns 0 when all is written, or -errno. Over UDP only one datagram at a time: if a refusal (ICMP) arrives
 * during a system call that sends several, the kernel stops there, and forgets it. */
static int
write_datagrams(LogConnection *c, LogQueue *q)
{
        LogMessage messages[DATAGRAMS];
        bool local = c->socket.scheme == LOG_SCHEME_UNIXGRAM;
        size_t n, max = local ? DATAGRAMS : 1;
        while ((n = log_queue_peek(q, messages, max)) > 0) {
                int sent = send_some_datagrams(c, messages, n);
                if (sent == -EAGAIN)
                        (void)log_connection_wait(c);
                if (sent < 0)
                        return sent;
                size_t len = 0;
                for (int i = 0; i < sent; i++)
                        len += messages[i].len;
                if (local) {
                        log_queue_wrote(q, len);
                        continue;
                }
                log_queue_reserve(q, len); /* they may be refused */
                log_arrival_sent_datagrams(&c->arrival, (size_t)sent);
        }
        return 0;
}

/* The datagrams sent before are done if they have not been refused when the next ones are to be sent. Over
 * loopback a refusal is known at once. */
static int
send_udp(LogConnection *c, LogQueue *q)
{
        int r = log_connection_refusal(c);
        if (r == 0) {
                log_arrival_finish_datagrams(&c->arrival, q);
                r = write_datagrams(c, q);
        }
        if (r == 0)
                r = log_connection_refusal(c);
        if (r == -EMSGSIZE)
                log_arrival_finish_datagrams(&c->arrival, q);
        else if (r < 0 && r != -EAGAIN)
                return log_connection_refused(c, q, r);
        return r == 0 && !log_queue_is_empty(q) ? LOG_SEND_WAIT : r;
}

static int
send_messages(LogConnection *c, LogQueue *q)
{
        if (!log_scheme_is_datagram(c->socket.scheme))
                return send_bytes(c, q);
        return c->socket.scheme == LOG_SCHEME_UDP ? send_udp(c, q) : write_datagrams(c, q);
}

int
log_connection_send(LogConnection *c, LogQueue *q)
{
        int r = send_messages(c, q);
        if (r == -EAGAIN)
                return LOG_SEND_WAIT;
        bool too_large = log_scheme_is_datagram(c->socket.scheme) &&
                         (r == -EMSGSIZE || (r == -ENOBUFS && c->socket.scheme == LOG_SCHEME_UNIXGRAM));
        if (too_large)
                return -EMSGSIZE;
        if (r < 0)
                log_connection_break(c, q);
        return r;
}

int
log_connection_deliver(void *connection, LogQueue *q)
{
        LogConnection *c = connection;
        int r = log_connection_take_failure(c, q);
        while (r == 0 && !log_queue_is_empty(q)) {
                r = log_connection_ready(c, q);
                if (r == 0)
                        r = log_connection_send(c, q);
                if (r == -EMSGSIZE) {
                        log_sink_drop_first(c->sink);
                        r = 0;
                }
        }
        return r;
}

const LogTransport log_connection_transport = {
        .send = log_connection_deliver,
        .taken = log_connection_taken,
        .status = log_connection_status,
        .reason = log_connection_reason,
        .target = log_connection_target,
        .close = log_connection_close,
};
