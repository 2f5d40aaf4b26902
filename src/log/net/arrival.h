/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* How much of what was written to a socket has arrived: over TCP and TLS, what the peer's kernel has
 * acknowledged; over a local stream, what the receiver has read. The kernel says how many bytes are still on
 * their way (SIOCOUTQ) when it is asked: after each write, and by a timer while there is something to wait
 * for. Datagrams of UDP have arrived when nobody has refused them for a while.
 *
 * It also finds out that a peer has vanished without a word: it leaves unanswered what it was sent. */

#include "base/watch.h"
#include "log/api/queue.h"
#include "log/net/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct LogSocket {
        int fd;     /* -1: none */
        int tcp_fd; /* the socket of a proxy's TCP connection, only to be looked at; -1: none */
        LogScheme scheme;
} LogSocket;

/* True if the receiver of what is written is a process of this host: the peer, or a proxy. */
bool log_socket_is_read_locally(const LogSocket *s);

typedef struct LogArrival {
        /* Bytes, since the start: written; up to this one of them, arrived at the peer, or lost with an
         * earlier connection; up to this one, done in the queue. */
        uint64_t n_written, n_acked, n_done;
        size_t n_unconfirmed; /* messages sent over UDP that may still be refused */
        bool sends_queue;     /* what is written are bytes of the queue, and nothing else */
        bool discarded;       /* a local peer has closed its socket without reading everything */
        Timer timer;
        int64_t wait;      /* until its next look, microseconds */
        gint64 wrote_usec; /* when something was written */
        gint64 heard_usec; /* when nothing was unanswered */
} LogArrival;

/* `func` is called when it is time to look again. */
void log_arrival_init(LogArrival *a, TimerFunc func, void *data);

/* A new connection: what was written over an earlier one is not its business. */
void log_arrival_begin(LogArrival *a);

/* So many bytes were written. */
void log_arrival_wrote(LogArrival *a, size_t len);

/* So many datagrams were sent (log_queue_sent). */
void log_arrival_sent_datagrams(LogArrival *a, size_t n_messages);

/* Looks how much has arrived. */
void log_arrival_look(LogArrival *a, const LogSocket *s);

/* The same, and starts the timer if something is still on its way. */
void log_arrival_watch(LogArrival *a, const LogSocket *s);

/* For the timer: looks, and waits longer until the next look if nothing has arrived. */
void log_arrival_look_again(LogArrival *a, const LogSocket *s);

/* True if something is on its way, and the peer has answered nothing for so many microseconds. */
bool log_arrival_has_peer_vanished(LogArrival *a, const LogSocket *s, int64_t timeout);

/* The queue forgets what has arrived, */
void log_arrival_finish(LogArrival *a, LogQueue *q);

/* and datagrams that nobody has refused. */
void log_arrival_finish_datagrams(LogArrival *a, LogQueue *q);

/* The connection is closed. */
void log_arrival_end(LogArrival *a);

/* Live upgrade. */
void log_arrival_save(const LogArrival *a, StateWriter *w);
void log_arrival_restore(LogArrival *a, TimerFunc func, void *data, StateReader *r);
