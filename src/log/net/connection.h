/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The connection of a driver. It is established when there is something to send, and again after it breaks;
 * writing never blocks. The sink decides when to try again after a failure (log_sink_ready,
 * LogTransport.send).
 *
 * With an address of the scheme LOG_SCHEME_TLS or LOG_SCHEME_TCP_TLS it is encrypted; see log/net/tls.h for
 * the options. A driver that supports TLS calls log_connection_set_tls after log_connection_init, reads with
 * log_connection_read instead of read(2), and has log_connection_status and log_connection_reason in its
 * transport. It need not know more about TLS.
 *
 * What the kernel has accepted has not arrived yet. For a stream, `arrival.n_acked` is the number of bytes
 * that have (log/net/arrival.h). log_connection_look updates it, and starts a timer that does so until
 * everything has arrived, and calls log_sink_ready.
 *
 * To send a queue over it, see log/net/transport.h. */

#include "log/api/driver.h"
#include "log/net/address.h"
#include "log/net/arrival.h"
#include "log/net/host.h"
#include "log/net/tls.h"

/* The option of drivers that may use TCP; its value is for `peer_timeout`. */
#define LOG_CONNECTION_OPTIONS(type, member)                                                            \
        {                                                                                               \
                "peer-timeout",                                                                         \
                        {VALUE_DURATION, .min = G_USEC_PER_SEC, .max = INT64_C(3600) * G_USEC_PER_SEC}, \
                        offsetof(type, member), "45s",                                                  \
                        "how long a server may leave data unacknowledged, over TCP",            \
                        .annotations = LOG_ANNOTATIONS_ALLOWED                                          \
        }

typedef struct LogConnection LogConnection;

/* Called when something can be read from the connection. */
typedef void (*LogConnectionInputFunc)(LogConnection *c, void *data);

struct LogConnection {
        LogSink *sink;
        LogAddress *addresses; /* tried in this order; owned */
        size_t n_addresses;
        char *target;                    /* for messages; a driver may replace it (g_free) */
        LogConnectionInputFunc on_input; /* NULL: input is discarded */
        void *data;
        /* Microseconds. A peer that does not respond for so long (to data, or, while idle, for about so long
         * to probes) is gone. One that responds but accepts no data is not. */
        int64_t peer_timeout;
        bool either_type;    /* if a local socket has the other type than the address, that is used */
        uint64_t n_connects; /* how often a connection was established */
        LogArrival arrival;

        LogSocket socket;
        bool connected;
        bool waiting; /* for space to write */
        bool lost;    /* the peer has closed it, or is gone */
        int failure;  /* -errno found in a callback, for log_connection_take_failure */
        char *reason; /* describes the last failure; NULL: errno does */
        size_t at;    /* index of the address in use */
        LogHost host; /* of that address */
        bool moved;   /* the address in use is no longer one of the host */
        LogTls *tls;  /* NULL: no address uses TLS */
        Timer next_timer; /* tries the next address, even if this attempt is still pending */
        Watch watch;
};

/* Takes ownership of the addresses, but not of the array. Opens nothing. */
void log_connection_init(LogConnection *c, LogSink *sink, const LogAddress *addresses, size_t n);

/* Uses TLS with these options for the addresses whose scheme asks for it; does nothing if there are none.
 * Fails if conmon-tls can't be executed. */
gboolean log_connection_set_tls(LogConnection *c, const char *driver, const LogTlsOptions *o, GError **error);

/* Returns 0 if the connection is established, LOG_SEND_WAIT while it is being established (log_sink_ready
 * will be called), or -errno if that failed, or if it broke while there was something to send; the next call
 * tries again. */
int log_connection_ready(LogConnection *c, LogQueue *q);

/* Returns the failure since the last call: 0, or -errno if connecting failed, or if the connection broke
 * while there was something to send. What had arrived is removed from the queue; the rest will be sent
 * again. */
int log_connection_take_failure(LogConnection *c, LogQueue *q);

/* Closes it. What was sent and is not done will be sent again. */
void log_connection_break(LogConnection *c, LogQueue *q);

/* Tries the remaining addresses of the host. Returns false if no connection to one of them could be started.
 * To be called without a connection. */
bool log_connection_try_next(LogConnection *c);

/* Queries how much has arrived, now and later. To be called after writing. */
void log_connection_look(LogConnection *c);

/* Has log_sink_ready called when there is space to write. Returns LOG_SEND_WAIT. */
int log_connection_wait(LogConnection *c);

/* Writes `n` pieces. Returns the number of bytes written, or -errno; before -EAGAIN it calls
 * log_connection_wait. */
ssize_t log_connection_write(LogConnection *c, const struct iovec *pieces, int n);

/* Reads what the peer sent. For `on_input`. Returns the number of bytes, 0 at the end of the connection, or
 * -errno; -EAGAIN: there is nothing to read. */
ssize_t log_connection_read(LogConnection *c, void *bytes, size_t size);

/* To be called when the peer has closed the connection: closes it, too, and calls log_sink_ready. */
void log_connection_end(LogConnection *c);

/* For LogDriver.save and .restore. While a connection is being established, the addresses that remain to be
 * tried are not saved: if the current one fails, the name is resolved again. `on_input` and `data` are to be
 * set after restoring. `tls`: as for log_connection_set_tls; NULL: the driver does not support TLS. */
void log_connection_save(const LogConnection *c, StateWriter *w);
void log_connection_restore(LogConnection *c, LogSink *sink, const LogTlsOptions *tls, StateReader *r);

/* Functions for the LogTransport of drivers whose instance begins with a LogConnection: .taken is what has
 * arrived; with TLS also that a server has accepted the connection, which the container may wait for, */
uint64_t log_connection_taken(void *connection);

/* .status, */
void log_connection_status(void *connection, GString *json);

/* .reason, */
const char *log_connection_reason(void *connection);

/* .target is the first address, */
const char *log_connection_target(void *connection);

/* and .close. */
void log_connection_close(void *connection);
