/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/connection.h"

#include "base/fd.h"
#include "base/sockpath.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PEER_TIMEOUT_USEC (45 * G_USEC_PER_SEC)

/* How often the name of a host is resolved again while datagrams are sent to it. */
#define LOOKUP_USEC (60 * G_USEC_PER_SEC)

/* Retransmissions to a host that does not answer: it has 1 + 2 + 4 + 8 seconds. */
#define SYN_COUNT 3

/* How long an address has to answer if there is another one, and a name server if an earlier answer is known:
 * the longest delays that RFC 8305 and RFC 8767 suggest. */
#define NEXT_USEC (2 * G_USEC_PER_SEC)

/* Unanswered probes after which an idle peer is gone. They begin after a third of peer_timeout. */
#define KEEPALIVE_PROBES 3

static bool
is_datagram(const LogConnection *c)
{
        return log_scheme_is_datagram(c->socket.scheme);
}

/* ---- connecting and closing ---- */

static void on_resolved(const LogResolved *resolved, void *data);
static void on_arrival_timer(void *data);
static void on_next_timer(void *data);

/* Of a new one, and of one that is restored. */
static void
init(LogConnection *c, LogSink *sink)
{
        *c = (LogConnection){
                .sink = sink,
                .socket = {.fd = -1, .tcp_fd = -1},
                .host = {.resolver = {.func = on_resolved, .data = c}},
        };
        timer_init(&c->next_timer, on_next_timer, c);
}

void
log_connection_init(LogConnection *c, LogSink *sink, const LogAddress *addresses, size_t n)
{
        init(c, sink);
        c->addresses = g_memdup(addresses, (guint)(n * sizeof *addresses));
        c->n_addresses = n;
        c->target = log_address_describe(&addresses[0]);
        c->socket.scheme = addresses[0].scheme;
        c->peer_timeout = PEER_TIMEOUT_USEC;
        log_arrival_init(&c->arrival, on_arrival_timer, c);
}

static void on_tls(const LogTlsResult *result, void *data);

gboolean
log_connection_set_tls(LogConnection *c, const char *driver, const LogTlsOptions *o, GError **error)
{
        bool encrypted = false;
        for (size_t i = 0; i < c->n_addresses; i++)
                encrypted |= log_scheme_is_encrypted(c->addresses[i].scheme);
        if (!encrypted)
                return TRUE;
        c->tls = g_new(LogTls, 1);
        *c->tls = (LogTls){.options = *o, .func = on_tls, .data = c};
        return log_tls_open(driver, o, error);
}

static void
close_socket(LogConnection *c)
{
        if (c->socket.fd >= 0 && c->connected && log_scheme_is_encrypted(c->socket.scheme))
                log_tls_say_end(c->tls, c->socket.fd);
        watch_done(&c->watch);
        timer_stop(&c->next_timer);
        log_arrival_end(&c->arrival);
        fd_close(&c->socket.fd);
        fd_close(&c->socket.tcp_fd);
        c->connected = c->waiting = c->moved = false;
}

static void on_event(GIOCondition revents, void *data);

/* A stream is always watched for input, so that its end is noticed before data is written in vain. */
static void
set_events(LogConnection *c)
{
        GIOCondition events = c->waiting ? G_IO_OUT : 0;
        if (!is_datagram(c) && c->connected)
                events |= G_IO_IN;
        if (events)
                watch_arm(&c->watch, events);
        else
                watch_disarm(&c->watch);
}

static void
begin(LogConnection *c)
{
        c->connected = true;
        c->n_connects++;
        timer_stop(&c->next_timer);
        log_arrival_begin(&c->arrival);
}

/* While the connection is idle, the kernel detects a peer that is gone; while data is in flight,
 * log_arrival_has_peer_vanished does. TCP_USER_TIMEOUT would also end connections to a peer that responds but
 * accepts no data for so long. */
static void
set_options(const LogConnection *c, int fd)
{
        const int on = 1, syn = SYN_COUNT, probes = KEEPALIVE_PROBES,
                  idle = (int)MAX(c->peer_timeout / G_USEC_PER_SEC / 3, 1),
                  between = (int)MAX(c->peer_timeout / G_USEC_PER_SEC / (2 * KEEPALIVE_PROBES), 1);
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof between);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &syn, sizeof syn);
}

/* Returns 0, LOG_SEND_WAIT or -errno. */
static int
connect_to(LogConnection *c, const struct sockaddr *address, socklen_t len)
{
        c->socket.scheme = c->addresses[c->at].scheme;
        int type = is_datagram(c) ? SOCK_DGRAM : SOCK_STREAM;
        c->socket.fd = socket(address->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (c->socket.fd < 0)
                return -errno;
        if (c->socket.scheme == LOG_SCHEME_TCP)
                set_options(c, c->socket.fd);
        int r = connect(c->socket.fd, address, len) < 0 ? -errno : 0;
        if (r < 0 && r != -EINPROGRESS) {
                close_socket(c);
                return r;
        }
        watch_init(&c->watch, c->socket.fd, WATCH_PRIORITY_IO, on_event, c);
        if (r == 0)
                begin(c);
        c->waiting = !c->connected;
        if (c->waiting && (log_host_has_next(&c->host) || log_resolver_is_busy(&c->host.resolver)))
                timer_start(&c->next_timer, NEXT_USEC);
        return r == 0 ? 0 : LOG_SEND_WAIT;
}

static int
connect_local(LogConnection *c)
{
        SockPath path;
        int r = sockpath_init(&path, c->addresses[c->at].host);
        if (r < 0)
                return r;
        r = connect_to(c, (const struct sockaddr *)&path.addr, path.len);
        if (r == -EPROTOTYPE && c->either_type) {
                LogScheme *t = &c->addresses[c->at].scheme;
                *t = *t == LOG_SCHEME_UNIX ? LOG_SCHEME_UNIXGRAM : LOG_SCHEME_UNIX;
                r = connect_to(c, (const struct sockaddr *)&path.addr, path.len);
        }
        sockpath_done(&path);
        return r;
}

/* Tries the remaining addresses of the host. Returns 0, LOG_SEND_WAIT or -errno. */
static int
connect_next(LogConnection *c)
{
        const struct sockaddr *a;
        socklen_t len;
        int r = c->host.known.error;
        while ((a = log_host_next(&c->host, &len))) {
                r = connect_to(c, a, len);
                if (r >= 0)
                        return r;
        }
        return r;
}

bool
log_connection_try_next(LogConnection *c)
{
        return log_host_has_next(&c->host) && connect_next(c) >= 0;
}

static int
connect_host(LogConnection *c)
{
        const LogAddress *a = &c->addresses[c->at];
        log_host_rewind(&c->host);
        if (log_host_set_number(&c->host, a->host, a->port))
                return connect_next(c);
        int r = log_host_look_up(&c->host, a->host, a->port);
        if (r == 0 && log_host_has_next(&c->host))
                timer_start(&c->next_timer, NEXT_USEC);
        return r < 0 ? r : LOG_SEND_WAIT;
}

static int
connect_address(LogConnection *c)
{
        const LogAddress *a = &c->addresses[c->at];
        if (log_scheme_is_local(a->scheme))
                return connect_local(c);
        if (!log_scheme_is_encrypted(a->scheme))
                return connect_host(c);
        int r = log_tls_start(c->tls, a->host, a->port);
        return r < 0 ? r : LOG_SEND_WAIT;
}

/* Tries the addresses in order. */
static int
make(LogConnection *c)
{
        int first = 0;
        g_clear_pointer(&c->reason, g_free);
        for (c->at = 0; c->at < c->n_addresses; c->at++) {
                int r = connect_address(c);
                if (r >= 0)
                        return r;
                first = first ? first : r;
        }
        return first;
}

/* Keeps the result of an asynchronous step until the sink asks for it. */
static void
note_result(LogConnection *c, int r)
{
        if (c->socket.fd >= 0)
                set_events(c);
        if (r == LOG_SEND_WAIT)
                return;
        c->failure = r;
        log_sink_ready(c->sink);
}

/* An address has failed, or it or the name server has not answered in time. */
static void
go_on(LogConnection *c, int error)
{
        close_socket(c);
        note_result(c, log_host_has_next(&c->host) ? connect_next(c) : error);
}

static void
on_next_timer(void *data)
{
        go_on(data, -ETIMEDOUT);
}

static char *
describe_lookup(const char *host, int error)
{
        if (error == -ENOENT)
                return g_strdup_printf("the host name '%s' was not found", host);
        if (error == -EAGAIN)
                return g_strdup_printf("the name server gave no answer for '%s'", host);
        return g_strdup_printf("the host name '%s' could not be resolved: %s", host,
                               error == -ECHILD ? "the resolver process failed" : g_strerror(-error));
}

/* The name was resolved again while one of its addresses is in use. If no address was found, that one stays
 * in use. */
static void
compare_addresses(LogConnection *c, const LogResolved *resolved)
{
        struct sockaddr_storage current = {0};
        socklen_t len = sizeof current;
        if (resolved->n > 0 && getpeername(c->socket.fd, (struct sockaddr *)&current, &len) == 0)
                c->moved = !log_host_compare(&c->host, resolved, &current, len);
}

static void
on_resolved(const LogResolved *resolved, void *data)
{
        LogConnection *c = data;
        if (c->connected) {
                compare_addresses(c, resolved);
                return;
        }
        log_host_update(&c->host, resolved);
        if (c->socket.fd >= 0)
                return;
        timer_stop(&c->next_timer);
        if (c->host.known.n == 0)
                c->reason = describe_lookup(c->addresses[c->at].host, resolved->error);
        note_result(c, connect_next(c));
}

static void
on_tls(const LogTlsResult *result, void *data)
{
        LogConnection *c = data;
        c->reason = g_strdup(result->reason);
        if (result->error == 0) {
                c->socket.scheme = c->addresses[c->at].scheme;
                c->socket.fd = result->fd;
                c->socket.tcp_fd = result->tcp_fd;
                set_options(c, c->socket.tcp_fd >= 0 ? c->socket.tcp_fd : c->socket.fd);
                watch_init(&c->watch, c->socket.fd, WATCH_PRIORITY_IO, on_event, c);
                begin(c);
        }
        note_result(c, result->error);
}

/* ---- what has arrived ---- */

/* Before the socket is connected nothing is in flight, and what was sent over an earlier one is lost. */
static void
look(LogConnection *c)
{
        if (c->connected)
                log_arrival_look(&c->arrival, &c->socket);
}

void
log_connection_look(LogConnection *c)
{
        if (c->connected)
                log_arrival_watch(&c->arrival, &c->socket);
}

static void
on_arrival_timer(void *data)
{
        LogConnection *c = data;
        LogArrival *a = &c->arrival;
        uint64_t before = a->n_acked;
        log_arrival_look_again(a, &c->socket);
        if (log_arrival_has_peer_vanished(a, &c->socket, c->peer_timeout)) {
                c->reason = g_strdup_printf("the server has not responded for %" G_GINT64_FORMAT
                                            " seconds",
                                            c->peer_timeout / G_USEC_PER_SEC);
                c->failure = -ETIMEDOUT;
                log_connection_end(c);
        } else if (a->n_acked != before || a->n_unconfirmed > 0) {
                log_sink_ready(c->sink);
        }
}

void
log_connection_break(LogConnection *c, LogQueue *q)
{
        look(c);
        close_socket(c);
        log_arrival_finish(&c->arrival, q);
        log_queue_rewind(q);
}

int
log_connection_take_failure(LogConnection *c, LogQueue *q)
{
        int failure = c->failure;
        if (c->lost) {
                log_arrival_finish(&c->arrival, q);
                log_queue_rewind(q);
                if (!log_queue_is_empty(q) && failure == 0)
                        failure = -ECONNRESET;
        }
        c->failure = 0;
        c->lost = false;
        return failure;
}

/* Over UDP nothing breaks when the address of the host changes, so the name is resolved again from time to
 * time, while datagrams are sent to the old address. */
static int
keep_up_to_date(LogConnection *c, LogQueue *q)
{
        struct sockaddr_storage number;
        const LogAddress *a = &c->addresses[c->at];
        if (c->moved) {
                log_arrival_finish_datagrams(&c->arrival, q);
                close_socket(c);
                log_host_rewind(&c->host);
                return connect_next(c);
        }
        if (g_get_monotonic_time() - c->host.resolved_usec >= LOOKUP_USEC &&
            !log_resolver_numeric(a->host, a->port, &number))
                (void)log_host_look_up(&c->host, a->host, a->port);
        return 0;
}

static bool
is_being_made(const LogConnection *c)
{
        bool asks = log_resolver_is_busy(&c->host.resolver) && c->host.known.n == 0;
        return c->socket.fd >= 0 || asks || timer_is_running(&c->next_timer) ||
               (c->tls && log_tls_is_busy(c->tls));
}

int
log_connection_ready(LogConnection *c, LogQueue *q)
{
        int failure = log_connection_take_failure(c, q);
        if (failure < 0)
                return failure;
        if (c->socket.scheme == LOG_SCHEME_UDP && c->connected)
                return keep_up_to_date(c, q);
        if (c->socket.fd >= 0 && c->connected)
                return 0;
        if (is_being_made(c))
                return LOG_SEND_WAIT;
        int r = make(c);
        if (r >= 0 && c->socket.fd >= 0)
                set_events(c);
        return r;
}

/* ---- events ---- */

static void
finish_connecting(LogConnection *c)
{
        int error = 0;
        socklen_t len = sizeof error;
        if (getsockopt(c->socket.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
                error = errno;
        c->waiting = false;
        if (error == 0) {
                begin(c);
                note_result(c, 0);
                return;
        }
        go_on(c, -error);
}

ssize_t
log_connection_read(LogConnection *c, void *bytes, size_t size)
{
        ssize_t n = log_scheme_is_encrypted(c->socket.scheme)
                            ? log_tls_read(c->tls, c->socket.fd, bytes, size)
                            : fd_read(c->socket.fd, bytes, size);
        if (n < 0 && n != -EAGAIN && log_socket_is_read_locally(&c->socket))
                c->arrival.discarded = true;
        return n;
}

void
log_connection_end(LogConnection *c)
{
        look(c);
        close_socket(c);
        c->lost = true;
        log_sink_ready(c->sink);
}

/* What the peer sends is not used; its end means that the connection is broken. */
static void
discard_input(LogConnection *c)
{
        char discarded[1024];
        ssize_t n = log_connection_read(c, discarded, sizeof discarded);
        if (n > 0 || n == -EAGAIN)
                return;
        log_connection_end(c);
}

static void
on_event(GIOCondition revents, void *data)
{
        LogConnection *c = data;
        if (!c->connected) {
                finish_connecting(c);
                return;
        }
        bool writable = c->waiting && revents & (G_IO_OUT | G_IO_ERR);
        if (writable) {
                c->waiting = false;
                set_events(c);
        }
        if (revents & (G_IO_IN | G_IO_HUP | G_IO_ERR) && !is_datagram(c)) {
                if (c->on_input)
                        c->on_input(c, c->data);
                else
                        discard_input(c);
        }
        if (writable)
                log_sink_ready(c->sink);
}

/* ---- sending ---- */

int
log_connection_wait(LogConnection *c)
{
        c->waiting = true;
        set_events(c);
        return LOG_SEND_WAIT;
}

ssize_t
log_connection_write(LogConnection *c, const struct iovec *pieces, int n)
{
        struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)n};
        ssize_t sent;
        do
                sent = sendmsg(c->socket.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        if (sent >= 0 && !is_datagram(c))
                log_arrival_wrote(&c->arrival, (size_t)sent);
        if (sent >= 0)
                return sent;
        int r = -errno;
        if (r == -EAGAIN)
                (void)log_connection_wait(c);
        return r;
}

uint64_t
log_connection_taken(void *connection)
{
        const LogConnection *c = connection;
        return c->arrival.n_acked + (c->tls && c->tls->accepted);
}

void
log_connection_status(void *connection, GString *json)
{
        const LogConnection *c = connection;
        g_string_append_printf(json, ",\"acknowledged\":%s",
                               is_datagram(c) ? "false" : "true");
        if (c->tls)
                log_tls_status(c->tls, c->connected && log_scheme_is_encrypted(c->socket.scheme), json);
}

const char *
log_connection_reason(void *connection)
{
        return ((const LogConnection *)connection)->reason;
}

const char *
log_connection_target(void *connection)
{
        return ((const LogConnection *)connection)->target;
}

void
log_connection_close(void *connection)
{
        LogConnection *c = connection;
        if (!c->addresses)
                return;
        log_resolver_stop(&c->host.resolver);
        if (c->tls)
                log_tls_stop(c->tls);
        close_socket(c);
        for (size_t i = 0; i < c->n_addresses; i++)
                log_address_clear(&c->addresses[i]);
        g_free(c->addresses);
        g_free(c->target);
        g_free(c->reason);
        g_free(c->tls);
}

/* ---- live upgrade ---- */

void
log_connection_save(const LogConnection *c, StateWriter *w)
{
        state_begin(w, "connection");
        for (size_t i = 0; i < c->n_addresses; i++)
                log_address_save(&c->addresses[i], w);
        state_put_text(w, "target", c->target);
        state_put_int(w, "peer-timeout", c->peer_timeout);
        state_put_uint(w, "either-type", c->either_type);
        state_put_uint(w, "connects", c->n_connects);
        log_arrival_save(&c->arrival, w);
        log_host_save(&c->host, w);
        state_put_fd(w, "descriptor", c->socket.fd);
        state_put_fd(w, "tcp-descriptor", c->socket.tcp_fd);
        log_scheme_save(c->socket.scheme, w);
        state_put_uint(w, "connected", c->connected);
        state_put_uint(w, "waiting", c->waiting);
        state_put_uint(w, "lost", c->lost);
        state_put_int(w, "failure", c->failure);
        state_put_text(w, "reason", c->reason);
        state_put_uint(w, "at", c->at);
        if (c->tls)
                log_tls_save(c->tls, w);
        state_end(w);
}

static void
restore_socket(LogConnection *c, StateReader *r)
{
        c->socket.fd = state_get_fd(r, "descriptor");
        c->socket.tcp_fd = state_get_fd(r, "tcp-descriptor");
        c->socket.scheme = log_scheme_restore(r);
        c->connected = state_get_bool(r, "connected");
        c->waiting = state_get_bool(r, "waiting");
        c->lost = state_get_bool(r, "lost");
        c->failure = (int)state_get_int(r, "failure", INT32_MIN, 0);
        c->reason = state_get_text(r, "reason");
        c->at = state_get_uint(r, "at", c->n_addresses);
        if (c->socket.fd < 0)
                return;
        watch_init(&c->watch, c->socket.fd, WATCH_PRIORITY_IO, on_event, c);
        set_events(c);
        /* It is not known which address comes next; a failure begins with the first one. */
        if (!c->connected && c->host.known.n > 1)
                timer_start(&c->next_timer, NEXT_USEC);
}

static void
restore_tls(LogConnection *c, const LogTlsOptions *options, StateReader *r)
{
        if (!state_enter_next(r, "tls"))
                return;
        if (!options)
                state_fail(r, "This log driver does not support TLS");
        c->tls = g_new0(LogTls, 1);
        *c->tls = (LogTls){.func = on_tls, .data = c};
        if (options)
                c->tls->options = *options;
        log_tls_restore(c->tls, r);
        state_leave(r);
}

void
log_connection_restore(LogConnection *c, LogSink *sink, const LogTlsOptions *tls, StateReader *r)
{
        g_autoptr(GArray) list = g_array_new(FALSE, TRUE, sizeof(LogAddress));
        state_enter(r, "connection");
        while (state_enter_next(r, "address")) {
                g_array_set_size(list, list->len + 1);
                log_address_restore(&g_array_index(list, LogAddress, list->len - 1), r);
                state_leave(r);
        }
        size_t n = list->len;
        init(c, sink);
        c->addresses = (LogAddress *)g_array_free(g_steal_pointer(&list), FALSE);
        c->n_addresses = n;
        c->target = state_get_text(r, "target");
        c->peer_timeout = state_get_int(r, "peer-timeout", 1, INT64_MAX);
        c->either_type = state_get_bool(r, "either-type");
        c->n_connects = state_get_uint(r, "connects", UINT64_MAX);
        if (n == 0)
                state_fail(r, "A connection has no address");
        log_arrival_restore(&c->arrival, on_arrival_timer, c, r);
        log_host_restore(&c->host, r);
        restore_socket(c, r);
        restore_tls(c, tls, r);
        state_leave(r);
        if ((c->connected || c->waiting) && c->at == c->n_addresses)
                state_fail(r, "A connection uses none of its addresses");
        bool encrypted = log_scheme_is_encrypted(c->socket.scheme);
        for (size_t i = 0; i < n; i++)
                encrypted |= log_scheme_is_encrypted(c->addresses[i].scheme);
        if (encrypted && !c->tls)
                state_fail(r, "An encrypted connection has no TLS");
}
