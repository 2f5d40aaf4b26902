/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The socket of a driver: made when there is something to send, written without ever waiting, made anew when
 * it breaks. When to try again after a failure is the sink's business (log_sink_ready, LogTransport.send).
 *
 * With an address of the scheme LOG_SCHEME_TLS or LOG_SCHEME_TCP_TLS the bytes are encrypted on their way;
 * see log/net/tls.h for the options. A driver that can have one calls log_connection_set_tls after
 * log_connection_init, reads with log_connection_read instead of read(2), and has log_connection_status and
 * log_connection_reason in its transport. It notices nothing else of TLS.
 *
 * What the kernel has taken has not arrived. Of a connection of bytes `arrival.n_acked` says how much has
 * (log/net/arrival.h). log_connection_look finds out, and has a timer look again while there is more to come,
 * which then calls log_sink_ready.
 *
 * Sending a queue over it: log/net/transport.h. */

#include "log/api/driver.h"
#include "log/net/address.h"
#include "log/net/arrival.h"
#include "log/net/host.h"
#include "log/net/tls.h"

/* The option of drivers that may have a TCP connection; its value is for `peer_timeout`. */
#define LOG_CONNECTION_OPTIONS(type, member)                                                            \
        {                                                                                               \
                "peer-timeout",                                                                         \
                        {VALUE_DURATION, .min = G_USEC_PER_SEC, .max = INT64_C(3600) * G_USEC_PER_SEC}, \
                        offsetof(type, member), "45s",                                                  \
                        "how long a server may leave unanswered what it was sent, over TCP",            \
                        .annotations = LOG_ANNOTATIONS_ALLOWED                                          \
        }

typedef struct LogConnection LogConnection;

/* Something can be read from the connection. */
typedef void (*LogConnectionInputFunc)(LogConnection *c, void *data);

struct LogConnection {
        LogSink *sink;
        LogAddress *addresses; /* which are tried in this order; owned */
        size_t n_addresses;
        char *target;                    /* for messages; a driver may replace it (g_free) */
        LogConnectionInputFunc on_input; /* NULL: what comes is of no interest */
        void *data;
        /* Microseconds. A peer that answers nothing for so long, or about as long to probes while nothing is
         * sent, has gone; one that answers and takes nothing is there. */
        int64_t peer_timeout;
        bool either_type;    /* a local socket of the other type than its address says is fine, too */
        uint64_t n_connects; /* how often a connection was made */
        LogArrival arrival;

        LogSocket socket;
        bool connected;
        bool waiting; /* for room to write */
        bool lost;    /* the peer ended it */
        int failure;  /* -errno found meanwhile, to be told by log_connection_ready */
        char *reason; /* why the last attempt failed, if a sentence says more than that; NULL: none */
        size_t at;    /* the address that is tried now */
        LogHost host; /* of that address */
        bool moved;   /* the host has other addresses now; the connection is to an old one */
        LogTls *tls;  /* NULL: no address has TLS */
        Timer next_timer; /* when the next address is tried, whatever this one is doing */
        Watch watch;
};

/* Takes the addresses over (an array from g_new). Opens nothing. */
void log_connection_init(LogConnection *c, LogSink *sink, LogAddress *addresses, size_t n);

/* Has TLS, with these options, for the addresses that say so; without one it does nothing. Refuses with a
 * sentence if conmon-tls is missing. */
gboolean log_connection_set_tls(LogConnection *c, const char *driver, const LogTlsOptions *o, GError **error);

/* Returns 0 if the connection is there, LOG_SEND_WAIT while it is being made (log_sink_ready will be called),
 * or -errno if it can't be made, or has broken with something to send; the next call tries again. */
int log_connection_ready(LogConnection *c, LogQueue *q);

/* What happened since the last call: 0, or the -errno by which the connection has broken with something to
 * send. What had arrived leaves the queue; the rest will be sent again. */
int log_connection_take_failure(LogConnection *c, LogQueue *q);

/* Closes it. What was sent and is not done will be sent again. */
void log_connection_break(LogConnection *c, LogQueue *q);

/* Tries the addresses of the host that are left. Returns false if it has none to which a connection could be
 * begun. There is no connection when it is called. */
bool log_connection_try_next(LogConnection *c);

/* Looks how much of what was written has arrived, also later. To be called after writing. */
void log_connection_look(LogConnection *c);

/* Lets log_sink_ready be called when there is room. Returns LOG_SEND_WAIT. */
int log_connection_wait(LogConnection *c);

/* Writes one piece. Returns how many bytes of it, or -errno; -EAGAIN after log_connection_wait. */
ssize_t log_connection_write(LogConnection *c, const struct iovec *pieces, int n);

/* Reads what the peer sent, in `on_input`. Returns how many bytes came, 0 at the end of the connection, or
 * -errno; -EAGAIN: nothing is there. */
ssize_t log_connection_read(LogConnection *c, void *bytes, size_t size);

/* To be called when the peer has ended the connection: closes it and lets log_sink_ready be called. */
void log_connection_end(LogConnection *c);

/* For LogDriver.save and .restore. Of a connection that is being made, the addresses that are still to
 * be tried are not carried: if the one that is tried fails, the name is asked for again. `on_input` and
 * `data` are to be set after the restoring. `tls`: as for log_connection_set_tls; NULL: the driver has none.
 */
void log_connection_save(const LogConnection *c, StateWriter *w);
void log_connection_restore(LogConnection *c, LogSink *sink, const LogTlsOptions *tls, StateReader *r);

/* Functions for the LogTransport of drivers whose instance begins with a LogConnection: .taken, what has
 * arrived, */
uint64_t log_connection_taken(void *connection);

/* .status, */
void log_connection_status(void *connection, GString *json);

/* .reason, */
const char *log_connection_reason(void *connection);

/* .target, the first address, */
const char *log_connection_target(void *connection);

/* and .close. */
void log_connection_close(void *connection);
