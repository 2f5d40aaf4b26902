/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "tls/proxy.h"

#include "tls/dial.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Bytes in flight in one direction. */
typedef struct {
        char *at;
        size_t len;
        bool ended; /* nothing comes after these */
} Flow;

typedef struct {
        Session *session;
        Flow up;            /* from the monitor to the server: copied bytes, */
        size_t n_peeked;    /* of which so many are still in the monitor's socket */
        Flow down;          /* from the server to the monitor */
        bool in_record;     /* the library has sent a record of `up` only partially */
        bool closed;        /* close_notify was sent */
        bool broken;        /* the connection to the server */
        bool deaf;          /* the monitor does not read any more */
        long long deadline; /* set once the monitor has gone; else 0 */
        char up_bytes[TLS_HELPER_UP_BUFFER];
        char down_bytes[TLS_HELPER_DOWN_BUFFER];
} Proxy;

static bool
is_temporary(ssize_t r)
{
        return r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED;
}

/* Each step returns true if it has made progress, so that others may be possible now. */

static bool
read_monitor(Proxy *p)
{
        if (p->up.len > 0 || p->up.ended)
                return false;
        ssize_t n = recv(TLS_HELPER_FD, p->up_bytes, sizeof p->up_bytes, MSG_DONTWAIT | MSG_PEEK);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        p->up.at = p->up_bytes;
        p->up.len = p->n_peeked = n > 0 ? (size_t)n : 0;
        p->up.ended = n <= 0;
        return true;
}

/* What was peeked at is in the TCP socket now. The monitor, which queries both sockets, thus counts it until
 * the server has acknowledged it. */
static void
take_off(Proxy *p)
{
        while (p->n_peeked > 0) {
                ssize_t n = recv(TLS_HELPER_FD, p->up_bytes, p->n_peeked, MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                p->n_peeked -= n > 0 ? (size_t)n : p->n_peeked;
        }
}

/* After a partial send the library must be called with the same bytes, or with none: they are encrypted
 * already. */
static bool
write_server(Proxy *p)
{
        gnutls_session_t tls = p->session->tls;
        if (p->up.len == 0)
                return false;
        ssize_t n = p->in_record ? gnutls_record_send(tls, NULL, 0)
                                 : gnutls_record_send(tls, p->up.at, p->up.len);
        p->in_record = is_temporary(n);
        p->broken = n < 0 && !p->in_record;
        if (n <= 0)
                return false;
        p->up.at += n;
        p->up.len -= (size_t)n;
        if (p->up.len == 0)
                take_off(p);
        return true;
}

static bool
end_server(Proxy *p)
{
        if (!p->up.ended || p->up.len > 0 || p->closed)
                return false;
        int r = gnutls_bye(p->session->tls, GNUTLS_SHUT_WR);
        if (is_temporary(r))
                return false;
        p->closed = true;
        p->broken = r < 0;
        (void)shutdown(p->session->fd, SHUT_WR);
        return true;
}

/* A TLS 1.2 server may request renegotiation. Refusing it does not end the connection. */
static void
refuse_handshake(Proxy *p)
{
        (void)gnutls_alert_send(p->session->tls, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION);
}

static bool
read_server(Proxy *p)
{
        if (p->down.len > 0 || p->down.ended)
                return false;
        ssize_t n = gnutls_record_recv(p->session->tls, p->down_bytes, sizeof p->down_bytes);
        if (is_temporary(n))
                return false;
        if (n == GNUTLS_E_REHANDSHAKE)
                refuse_handshake(p);
        if (n < 0 && !gnutls_error_is_fatal((int)n))
                return true;
        p->down.at = p->down_bytes;
        p->down.len = n > 0 ? (size_t)n : 0;
        p->down.ended = n <= 0;
        p->broken = n < 0;
        if (p->down.ended)
                (void)shutdown(TLS_HELPER_FD, SHUT_WR);
        return true;
}

static bool
write_monitor(Proxy *p)
{
        if (p->down.len == 0)
                return false;
        ssize_t n = p->deaf ? (ssize_t)p->down.len
                            : send(TLS_HELPER_FD, p->down.at, p->down.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        p->deaf = p->deaf || n < 0;
        p->down.at += n < 0 ? 0 : n;
        p->down.len -= n < 0 ? 0 : (size_t)n;
        return true;
}

static bool
step(Proxy *p)
{
        bool moved = read_monitor(p);
        moved |= write_server(p);
        moved |= end_server(p);
        moved |= !p->broken && read_server(p);
        moved |= write_monitor(p);
        return moved;
}

static void
note_monitor(Proxy *p, short revents)
{
        if (p->deadline || !(revents & (POLLHUP | POLLERR)))
                return;
        p->deaf = true;
        p->deadline = dial_now_ms() + TLS_HELPER_END_MS;
}

/* poll(2) reports hang-ups even without events: a descriptor without them is left out, or the loop would
 * spin. */
static struct pollfd
interest(int fd, short events)
{
        return (struct pollfd){.fd = events ? fd : -1, .events = events};
}

/* A hang-up of the monitor is always watched for, until it is noticed. */
static void
wait_for_events(Proxy *p)
{
        bool reading = p->up.len == 0 && !p->up.ended;
        bool leaving = p->up.len > 0 || (p->up.ended && !p->closed);
        bool listening = p->down.len == 0 && !p->down.ended;
        struct pollfd fds[] = {
                {.fd = p->deadline ? -1 : TLS_HELPER_FD,
                 .events = (short)((reading ? POLLIN : 0) | (p->down.len > 0 ? POLLOUT : 0))},
                interest(p->session->fd, (short)((leaving ? POLLOUT : 0) | (listening ? POLLIN : 0))),
        };
        long long left = p->deadline ? p->deadline - dial_now_ms() : -1;
        if (p->deadline && left < 0)
                left = 0;
        if (poll(fds, 2, (int)left) > 0)
                note_monitor(p, fds[0].revents);
}

static bool
is_over(const Proxy *p)
{
        return p->broken || (p->closed && p->down.ended && p->down.len == 0) ||
               (p->deadline && dial_now_ms() >= p->deadline);
}

/* When the connection has broken: the server may have sent a reason before it gave up reading. */
static void
pass_last_words(Proxy *p)
{
        do
                while (write_monitor(p))
                        continue;
        while (p->down.len == 0 && read_server(p));
}

void
proxy_run(Session *s)
{
        Proxy *p = calloc(1, sizeof *p);
        if (!p)
                return;
        p->session = s;
        p->down.at = p->down_bytes;
        p->down.len = s->n_first;
        memcpy(p->down_bytes, s->first, s->n_first);
        while (!is_over(p))
                if (!step(p))
                        wait_for_events(p);
        if (!p->deaf)
                pass_last_words(p);
        free(p);
}
