#pragma once

/* The socket of a driver: made when there is something to send, written without ever waiting, made anew when
 * it breaks. When to try again after a failure is the sink's business (log_sink_ready, LogDriver.send). */

#include "log/driver.h"
#include "log/resolver.h"

typedef enum {
        LOG_TRANSPORT_UNIX,
        LOG_TRANSPORT_UNIXGRAM,
        LOG_TRANSPORT_UDP,
        LOG_TRANSPORT_TCP,
        N_LOG_TRANSPORTS,
} LogTransport;

typedef struct LogAddress {
        LogTransport transport;
        char *host; /* or the path of a unix socket */
        uint16_t port;
} LogAddress;

/* Reads "tcp://HOST[:PORT]", "udp://HOST[:PORT]", "unix://PATH", "unixgram://PATH" as the value
 * of an option. `transports` has a bit for each one that is possible; a default_port of 0 means
 * that the port must be given. `ret` may be NULL, if it is only to be checked. */
gboolean log_address_parse(const char *driver, const char *option, const char *text, unsigned transports,
                           uint16_t default_port, LogAddress *ret, GError **error);
void log_address_clear(LogAddress *a);

typedef struct LogConnection LogConnection;

/* Something can be read from the connection. */
typedef void (*LogConnectionInputFunc)(LogConnection *c, void *data);

struct LogConnection {
        LogSink *sink;
        LogAddress *addresses; /* which are tried in this order; owned */
        size_t n_addresses;
        char *target; /* for messages */
        LogConnectionInputFunc on_input; /* NULL: what comes is of no interest */
        void *data;
        uint64_t n_connects; /* how often a connection was made */

        int fd; /* -1: none */
        LogTransport transport;
        bool connected;
        bool waiting;     /* for room to write */
        bool lost;        /* the peer ended it */
        int failure;      /* -errno found meanwhile, to be told by log_connection_ready */
        size_t at;        /* the address that is tried now */
        LogResolver resolver;
        LogResolved resolved;
        uint32_t next; /* of the resolved ones */
        Watch watch;
};

/* Takes the addresses over (an array from g_new). Opens nothing. */
void log_connection_init(LogConnection *c, LogSink *sink, LogAddress *addresses, size_t n);
void log_connection_done(LogConnection *c);

/* Returns 0 if the connection is there, LOG_SEND_WAIT while it is being made (log_sink_ready will be called),
 * or -errno if it can't be made, or has broken with something to send; the next call tries again. */
int log_connection_ready(LogConnection *c, LogQueue *q);

/* True for a connection of messages, false for one of bytes. */
bool log_connection_is_datagram(const LogConnection *c);

/* Closes it. What was sent and is not done will be sent again. */
void log_connection_break(LogConnection *c, LogQueue *q);

/* Lets log_sink_ready be called when there is room. Returns LOG_SEND_WAIT. */
int log_connection_wait(LogConnection *c);

/* Writes one piece. Returns how many bytes of it, or -errno; -EAGAIN after log_connection_wait. */
ssize_t log_connection_write(LogConnection *c, const struct iovec *pieces, int n);

/* To be called when the peer has ended the connection: closes it and lets log_sink_ready be called. */
void log_connection_end(LogConnection *c);

/* Sends the queue over a connection that is there: what is written counts as delivered. Returns 0,
 * LOG_SEND_WAIT or -errno; then the connection is closed, but for -EMSGSIZE: the first message is
 * too large for a datagram. */
int log_connection_send(LogConnection *c, LogQueue *q);

/* All that LogDriver.send has to do if messages are sent as they are: makes the connection if there is
 * something to send, and sends. A message that is too large for a datagram is dropped. */
int log_connection_deliver(LogConnection *c, LogQueue *q);
