/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/arrival.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* The interval between queries: at first; at first if URGENT bytes are in flight, because the container may
 * be waiting for them; at most. An acknowledgement may be delayed by 40 ms. */
#define WAIT_FIRST_USEC  (10 * 1000)
#define WAIT_URGENT_USEC 1000
#define URGENT           (256 * 1024)
#define WAIT_MAX_USEC    (250 * 1000)

/* How long to wait for the refusal (ICMP) of a datagram if no other is sent. */
#define REFUSAL_USEC (100 * 1000)

/* Besides the send queue of the TCP socket, kernel TLS may hold a record that it could not send completely.
 * It continues as soon as the queue has space. */
#define TLS_RECORD_MAX  16384
#define TLS_RECORD_USEC (20 * 1000)

bool
log_socket_is_read_locally(const LogSocket *s)
{
        return log_scheme_is_local(s->scheme) || s->tcp_fd >= 0;
}

void
log_arrival_init(LogArrival *a, TimerFunc func, void *data)
{
        timer_init(&a->timer, func, data);
}

void
log_arrival_begin(LogArrival *a)
{
        a->n_acked = a->n_done = a->n_written;
        a->heard_usec = g_get_monotonic_time();
        a->discarded = false;
}

void
log_arrival_end(LogArrival *a)
{
        timer_stop(&a->timer);
        a->n_unconfirmed = 0;
}

/* Something was written, or has arrived: more is expected soon. */
static void
expect_more(LogArrival *a)
{
        a->wait = a->n_written - a->n_acked >= URGENT ? WAIT_URGENT_USEC : WAIT_FIRST_USEC;
}

void
log_arrival_wrote(LogArrival *a, size_t len)
{
        a->n_written += len;
        expect_more(a);
        a->wrote_usec = g_get_monotonic_time();
}

/* Returns an upper bound for what has not arrived. For a local socket it is too high: the kernel counts
 * memory. A proxy removes bytes from its local socket only when they are in its TCP socket, so that one is
 * queried second. */
static uint64_t
count_unacknowledged(LogArrival *a, const LogSocket *s)
{
        int held = 0, far = 0, error = 0;
        socklen_t len = sizeof error;
        if (ioctl(s->fd, SIOCOUTQ, &held) < 0 || (s->tcp_fd >= 0 && ioctl(s->tcp_fd, SIOCOUTQ, &far) < 0))
                return UINT64_MAX;
        /* Closing the receiving socket empties the count; before that, it sets an error on this one. */
        if (log_socket_is_read_locally(s) && getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
            error != 0)
                a->discarded = true;
        if (a->discarded)
                return UINT64_MAX;
        uint64_t sum = (uint64_t)held + (uint64_t)far;
        bool by_kernel = log_scheme_is_encrypted(s->scheme) && s->tcp_fd < 0;
        if (by_kernel && (sum > 0 || g_get_monotonic_time() - a->wrote_usec < TLS_RECORD_USEC))
                sum += TLS_RECORD_MAX;
        return sum;
}

void
log_arrival_look(LogArrival *a, const LogSocket *s)
{
        if (s->fd < 0 || a->n_acked == a->n_written)
                return;
        uint64_t open = count_unacknowledged(a, s);
        if (open < a->n_written - a->n_acked) {
                a->n_acked = a->n_written - open;
                a->moved_usec = g_get_monotonic_time();
                expect_more(a);
        }
}

/* The timer is not stopped when everything has arrived: while there is output, it would be started again at
 * once. */
void
log_arrival_watch(LogArrival *a, const LogSocket *s)
{
        log_arrival_look(a, s);
        if (a->n_acked != a->n_written && s->fd >= 0 && !timer_is_running(&a->timer))
                timer_start(&a->timer, a->wait);
}

void
log_arrival_look_again(LogArrival *a, const LogSocket *s)
{
        a->wait = MIN(2 * a->wait, WAIT_MAX_USEC);
        log_arrival_watch(a, s);
}

int64_t
log_arrival_time_left(const LogArrival *a, int64_t limit)
{
        return MAX(limit - (g_get_monotonic_time() - a->moved_usec), 0);
}

/* A peer may leave one probe of its closed window unanswered: it limits such answers to two a second. */
#define UNANSWERED 2

/* Until the peer answers, data or probes of a closed window are sent again. A peer without space for data
 * answers, too, although the data is sent again. */
bool
log_arrival_has_peer_vanished(LogArrival *a, const LogSocket *s, int64_t timeout)
{
        struct tcp_info info = {0};
        socklen_t len = sizeof info;
        if (a->n_acked == a->n_written)
                return false;
        if (!log_scheme_is_local(s->scheme))
                (void)getsockopt(s->tcp_fd >= 0 ? s->tcp_fd : s->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
        gint64 now = g_get_monotonic_time();
        int repeated = MAX(info.tcpi_retransmits, info.tcpi_probes);
        int64_t silent = repeated == 0 ? 0 : (int64_t)info.tcpi_last_ack_recv * 1000;
        a->heard_usec = MAX(a->heard_usec, now - silent);
        return repeated >= UNANSWERED && now - a->heard_usec >= timeout;
}

void
log_arrival_finish(LogArrival *a, LogQueue *q)
{
        if (a->sends_queue && a->n_acked > a->n_done)
                a->n_done += log_queue_arrived(q, a->n_acked - a->n_done);
}

void
log_arrival_sent_datagrams(LogArrival *a, size_t n_messages)
{
        a->n_unconfirmed += n_messages;
        timer_start(&a->timer, REFUSAL_USEC);
}

void
log_arrival_finish_datagrams(LogArrival *a, LogQueue *q)
{
        log_queue_done(q, a->n_unconfirmed);
        a->n_unconfirmed = 0;
}

void
log_arrival_save(const LogArrival *a, StateWriter *w)
{
        state_put_uint(w, "written", a->n_written);
        state_put_uint(w, "acknowledged", a->n_acked);
        state_put_uint(w, "done", a->n_done);
        state_put_uint(w, "sends-queue", a->sends_queue);
        state_put_uint(w, "discarded", a->discarded);
        state_put_uint(w, "unconfirmed", a->n_unconfirmed);
}

void
log_arrival_restore(LogArrival *a, TimerFunc func, void *data, StateReader *r)
{
        a->n_written = state_get_uint(r, "written", UINT64_MAX);
        a->n_acked = state_get_uint(r, "acknowledged", a->n_written);
        a->n_done = state_get_uint(r, "done", a->n_acked);
        a->sends_queue = state_get_bool(r, "sends-queue");
        a->discarded = state_get_bool(r, "discarded");
        a->n_unconfirmed = state_get_uint(r, "unconfirmed", SIZE_MAX);
        a->wait = WAIT_FIRST_USEC;
        a->wrote_usec = a->heard_usec = a->moved_usec = g_get_monotonic_time();
        timer_init(&a->timer, func, data);
        if (a->n_acked != a->n_written || a->n_unconfirmed > 0)
                timer_start(&a->timer, WAIT_FIRST_USEC);
}
