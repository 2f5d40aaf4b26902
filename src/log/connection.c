#include "log/connection.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/sockpath.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* So many datagrams go out with one system call. */
#define DATAGRAMS 64

/* Attempts to reach a host that does not answer: 1 + 2 + 4 + 8 seconds. */
#define SYN_COUNT 3

static const char *const schemes[N_LOG_TRANSPORTS] = {
        [LOG_TRANSPORT_UNIX] = "unix",
        [LOG_TRANSPORT_UNIXGRAM] = "unixgram",
        [LOG_TRANSPORT_UDP] = "udp",
        [LOG_TRANSPORT_TCP] = "tcp",
};

static bool
is_local(LogTransport t)
{
        return t == LOG_TRANSPORT_UNIX || t == LOG_TRANSPORT_UNIXGRAM;
}

/* ---- addresses ---- */

static bool
find_transport(const char *text, unsigned transports, LogTransport *ret, const char **ret_rest)
{
        const char *colon = strstr(text, "://");
        for (LogTransport t = 0; colon && t < N_LOG_TRANSPORTS; t++) {
                size_t len = strlen(schemes[t]);
                if (!(transports & 1u << t) || (size_t)(colon - text) != len ||
                    strncmp(text, schemes[t], len) != 0)
                        continue;
                *ret = t;
                *ret_rest = colon + 3;
                return true;
        }
        return false;
}

static bool
parse_port(const char *text, uint16_t *ret)
{
        guint64 port;
        if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL))
                return false;
        *ret = (uint16_t)port;
        return true;
}

/* "HOST", "HOST:PORT", "[IPV6]", "[IPV6]:PORT". */
static bool
parse_host(const char *text, uint16_t default_port, LogAddress *ret)
{
        const char *begin = text + (*text == '['), *end = begin + strcspn(begin, *text == '[' ? "]" : ":");
        const char *rest = end + (*end == ']');
        if (end == begin || (*text == '[' && *end != ']') || (*rest != '\0' && *rest != ':'))
                return false;
        ret->port = default_port;
        if (*rest == ':' && !parse_port(rest + 1, &ret->port))
                return false;
        ret->host = g_strndup(begin, (size_t)(end - begin));
        return ret->port != 0;
}

static char *
describe_addresses(unsigned transports, uint16_t default_port)
{
        GString *text = g_string_new(NULL);
        for (LogTransport t = 0; t < N_LOG_TRANSPORTS; t++) {
                if (!(transports & 1u << t))
                        continue;
                g_string_append_printf(text, "%s%s://%s", text->len ? ", " : "", schemes[t],
                                       is_local(t) ? "PATH" : default_port ? "HOST[:PORT]" : "HOST:PORT");
        }
        return g_string_free(text, FALSE);
}

gboolean
log_address_parse(const char *driver, const char *option, const char *text, unsigned transports,
                  uint16_t default_port, LogAddress *ret, GError **error)
{
        LogAddress a = {0};
        const char *rest;
        bool good = find_transport(text, transports, &a.transport, &rest);
        if (good && is_local(a.transport)) {
                a.host = g_strdup(rest);
                good = *rest == '/' || (*rest == '@' && rest[1]);
        } else if (good) {
                good = parse_host(rest, default_port, &a);
        }
        if (good && ret) {
                *ret = a;
                return TRUE;
        }
        log_address_clear(&a);
        if (good)
                return TRUE;
        g_autofree char *allowed = describe_addresses(transports, default_port);
        return error_set(error, CONMON_ERROR_USAGE, "Log driver %s: option %s can't be '%s'; allowed: %s",
                         driver, option, text, allowed);
}

void
log_address_clear(LogAddress *a)
{
        g_clear_pointer(&a->host, g_free);
}

static char *
describe(const LogAddress *a)
{
        if (is_local(a->transport))
                return g_strdup_printf("%s://%s", schemes[a->transport], a->host);
        const char *format = strchr(a->host, ':') ? "%s://[%s]:%u" : "%s://%s:%u";
        return g_strdup_printf(format, schemes[a->transport], a->host, a->port);
}

/* ---- making and breaking ---- */

static void on_resolved(const LogResolved *resolved, void *data);

void
log_connection_init(LogConnection *c, LogSink *sink, LogAddress *addresses, size_t n)
{
        *c = (LogConnection){
                .sink = sink,
                .addresses = addresses,
                .n_addresses = n,
                .target = describe(&addresses[0]),
                .fd = -1,
                .resolver = {.func = on_resolved, .data = c},
        };
}

static void
close_socket(LogConnection *c)
{
        watch_done(&c->watch);
        fd_close(&c->fd);
        c->connected = c->waiting = false;
}

void
log_connection_done(LogConnection *c)
{
        log_resolver_stop(&c->resolver);
        close_socket(c);
        for (size_t i = 0; i < c->n_addresses; i++)
                log_address_clear(&c->addresses[i]);
        g_free(c->addresses);
        g_free(c->target);
}

void
log_connection_break(LogConnection *c, LogQueue *q)
{
        close_socket(c);
        log_queue_rewind(q);
}

bool
log_connection_is_datagram(const LogConnection *c)
{
        return c->transport == LOG_TRANSPORT_UNIXGRAM || c->transport == LOG_TRANSPORT_UDP;
}

static void on_event(GIOCondition revents, void *data);

/* A connection of bytes is always listened to, so that its end is known before
 * something is written in vain. */
static void
set_events(LogConnection *c)
{
        GIOCondition events = c->waiting ? G_IO_OUT : 0;
        if (!log_connection_is_datagram(c) && c->connected)
                events |= G_IO_IN;
        if (events)
                watch_arm(&c->watch, events);
        else
                watch_disarm(&c->watch);
}

static void
set_options(LogConnection *c)
{
        int on = 1, syn = SYN_COUNT;
        if (c->transport != LOG_TRANSPORT_TCP)
                return;
        (void)setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_SYNCNT, &syn, sizeof syn);
}

/* Returns 0, LOG_SEND_WAIT or -errno. */
static int
connect_to(LogConnection *c, const struct sockaddr *address, socklen_t len)
{
        c->transport = c->addresses[c->at].transport;
        int type = log_connection_is_datagram(c) ? SOCK_DGRAM : SOCK_STREAM;
        c->fd = socket(address->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (c->fd < 0)
                return -errno;
        set_options(c);
        int r = connect(c->fd, address, len) < 0 ? -errno : 0;
        if (r < 0 && r != -EINPROGRESS) {
                close_socket(c);
                return r;
        }
        watch_init(&c->watch, c->fd, WATCH_PRIORITY_IO, on_event, c);
        c->connected = r == 0;
        c->n_connects += c->connected;
        c->waiting = !c->connected;
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
        sockpath_done(&path);
        return r;
}

static int
connect_resolved(LogConnection *c)
{
        int r = c->resolved.error;
        while (c->next < c->resolved.n) {
                const struct sockaddr_storage *a = &c->resolved.addresses[c->next++];
                socklen_t len =
                        a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
                r = connect_to(c, (const struct sockaddr *)a, len);
                if (r >= 0)
                        return r;
        }
        return r;
}

static int
connect_host(LogConnection *c)
{
        const LogAddress *a = &c->addresses[c->at];
        c->next = 0;
        c->resolved = (LogResolved){.n = 1};
        if (log_resolver_numeric(a->host, a->port, &c->resolved.addresses[0]))
                return connect_resolved(c);
        c->resolved.n = 0;
        int r = log_resolver_start(&c->resolver, a->host, a->port);
        return r < 0 ? r : LOG_SEND_WAIT;
}

/* Tries the addresses in their order. */
static int
make(LogConnection *c)
{
        int first = 0;
        for (c->at = 0; c->at < c->n_addresses; c->at++) {
                int r = is_local(c->addresses[c->at].transport) ? connect_local(c) : connect_host(c);
                if (r >= 0)
                        return r;
                first = first ? first : r;
        }
        return first;
}

/* After a step that nobody waited for: its result is told when the sink asks. */
static void
note_result(LogConnection *c, int r)
{
        if (c->fd >= 0)
                set_events(c);
        if (r == LOG_SEND_WAIT)
                return;
        c->failure = r;
        log_sink_ready(c->sink);
}

static void
on_resolved(const LogResolved *resolved, void *data)
{
        LogConnection *c = data;
        c->resolved = *resolved;
        note_result(c, connect_resolved(c));
}

/* What happened since the last call. */
static int
take_failure(LogConnection *c, LogQueue *q)
{
        int failure = c->failure;
        if (c->lost) {
                log_queue_rewind(q);
                if (!log_queue_is_empty(q))
                        failure = -ECONNRESET;
        }
        c->failure = 0;
        c->lost = false;
        return failure;
}

int
log_connection_ready(LogConnection *c, LogQueue *q)
{
        int failure = take_failure(c, q);
        if (failure < 0)
                return failure;
        if (c->fd >= 0 && c->connected)
                return 0;
        if (c->fd >= 0 || log_resolver_is_busy(&c->resolver))
                return LOG_SEND_WAIT;
        int r = make(c);
        if (r >= 0 && c->fd >= 0)
                set_events(c);
        return r;
}

/* ---- events ---- */

static void
finish_connecting(LogConnection *c)
{
        int error = 0;
        socklen_t len = sizeof error;
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
                error = errno;
        c->waiting = false;
        if (error == 0) {
                c->connected = true;
                c->n_connects++;
                note_result(c, 0);
                return;
        }
        close_socket(c);
        note_result(c, c->next < c->resolved.n ? connect_resolved(c) : -error);
}

void
log_connection_end(LogConnection *c)
{
        close_socket(c);
        c->lost = true;
        log_sink_ready(c->sink);
}

/* Nobody is interested in what the peer says; its end means that the connection is broken. */
static void
discard_input(LogConnection *c)
{
        char discarded[1024];
        ssize_t n = fd_read(c->fd, discarded, sizeof discarded);
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
        if (revents & (G_IO_IN | G_IO_HUP | G_IO_ERR) && !log_connection_is_datagram(c)) {
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
                sent = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        if (sent >= 0)
                return sent;
        int r = -errno;
        if (r == -EAGAIN)
                (void)log_connection_wait(c);
        return r;
}

static int
send_bytes(LogConnection *c, LogQueue *q)
{
        struct iovec piece;
        const char *bytes;
        while ((piece.iov_len = log_queue_next(q, SIZE_MAX, &bytes)) > 0) {
                piece.iov_base = (char *)bytes;
                ssize_t n = log_connection_write(c, &piece, 1);
                if (n < 0)
                        return (int)n;
                log_queue_wrote(q, (size_t)n);
        }
        return 0;
}

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
                sent = sendmmsg(c->fd, headers, (unsigned)n, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        return sent < 0 ? -errno : sent;
}

static int
send_datagrams(LogConnection *c, LogQueue *q)
{
        LogMessage messages[DATAGRAMS];
        size_t n;
        while ((n = log_queue_peek(q, messages, DATAGRAMS)) > 0) {
                int sent = send_some_datagrams(c, messages, n);
                if (sent == -EAGAIN)
                        (void)log_connection_wait(c);
                if (sent < 0)
                        return sent;
                size_t len = 0;
                for (int i = 0; i < sent; i++)
                        len += messages[i].len;
                log_queue_wrote(q, len);
        }
        return 0;
}

int
log_connection_send(LogConnection *c, LogQueue *q)
{
        int r = log_connection_is_datagram(c) ? send_datagrams(c, q) : send_bytes(c, q);
        if (r == -EAGAIN)
                return LOG_SEND_WAIT;
        bool too_large = log_connection_is_datagram(c) &&
                         (r == -EMSGSIZE || (r == -ENOBUFS && c->transport == LOG_TRANSPORT_UNIXGRAM));
        if (too_large)
                return -EMSGSIZE;
        if (r < 0)
                log_connection_break(c, q);
        return r;
}

int
log_connection_deliver(LogConnection *c, LogQueue *q)
{
        int r = take_failure(c, q);
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
