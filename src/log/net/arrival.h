/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Tracks how much of what was written to a socket has arrived: over TCP and TLS, what the peer's kernel has
 * acknowledged; over a local stream, what the receiver has read. The kernel is asked how many bytes are still
 * in flight (SIOCOUTQ) after each write, and by a timer until everything has arrived. UDP datagrams count as
 * arrived if they are not refused within a short time.
 *
 * It also detects a peer that has vanished without closing the connection. */

#include "base/watch.h"
#include "log/api/queue.h"
#include "log/net/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct LogSocket {
        int fd;     /* -1: none */
        int tcp_fd; /* the TCP socket of a TLS proxy, only for queries; -1: none */
        LogScheme scheme;
} LogSocket;

/* True if a process on this host reads what is written: the peer, or a TLS proxy. */
bool log_socket_is_read_locally(const LogSocket *s);

typedef struct LogArrival {
        /* Bytes since the start: written; of these, arrived, or lost with an earlier connection; of these,
         * done in the queue. */
        uint64_t n_written, n_acked, n_done;
        size_t n_unconfirmed; /* messages sent over UDP that may still be refused */
        bool sends_queue;     /* only bytes of the queue are written */
        bool discarded;       /* a local reader closed its socket before it had read everything */
        Timer timer;
        int64_t wait;      /* until the next query, microseconds */
        gint64 wrote_usec; /* when something was last written */
        gint64 heard_usec; /* when the peer was last known to respond */
        gint64 moved_usec; /* when something was last found to have arrived */
} LogArrival;

/* `func` is called when it is time for the next query. */
void log_arrival_init(LogArrival *a, TimerFunc func, void *data);

/* To be called for a new connection: what was written over an earlier one no longer counts. */
void log_arrival_begin(LogArrival *a);

/* To be called when `len` bytes were written. */
void log_arrival_wrote(LogArrival *a, size_t len);

/* To be called when UDP datagrams were sent. */
void log_arrival_sent_datagrams(LogArrival *a, size_t n_messages);

/* Queries how much has arrived. */
void log_arrival_look(LogArrival *a, const LogSocket *s);

/* The same, and starts the timer if something is still in flight. */
void log_arrival_watch(LogArrival *a, const LogSocket *s);

/* For the timer's function: queries, and doubles the interval if nothing has arrived. */
void log_arrival_look_again(LogArrival *a, const LogSocket *s);

/* True if something is in flight and the peer has not responded for `timeout` microseconds. */
bool log_arrival_has_peer_vanished(LogArrival *a, const LogSocket *s, int64_t timeout);

/* What is left of a time limit that starts again whenever something arrives; 0: nothing. */
int64_t log_arrival_time_left(const LogArrival *a, int64_t limit);

/* Removes what has arrived from the queue. */
void log_arrival_finish(LogArrival *a, LogQueue *q);

/* Removes the UDP datagrams that were sent: none of them was refused. */
void log_arrival_finish_datagrams(LogArrival *a, LogQueue *q);

/* To be called when the connection is closed. */
void log_arrival_end(LogArrival *a);

/* Live upgrade. */
void log_arrival_save(const LogArrival *a, StateWriter *w);
void log_arrival_restore(LogArrival *a, TimerFunc func, void *data, StateReader *r);
