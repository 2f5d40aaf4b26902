/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* TLS for a connection. The monitor links no TLS library: conmon-tls (tls/protocol.h) looks the name up,
 * connects, shakes hands, and hands over a socket that the kernel encrypts, or stays as a proxy. The monitor
 * never waits for it.
 *
 * A driver has the options in its table (LOG_TLS_OPTIONS, or options of other names that fill the same
 * struct), checks them (log_tls_check), and gives them to its connection (log_connection_set_tls). All else
 * is the connection's. */

#include "base/state.h"
#include "base/watch.h"
#include "log/api/option.h"
#include "tls/protocol.h"

#include <sys/types.h>

typedef struct LogTlsOptions {
        const char *ca_cert; /* file with authorities; NULL: the system's trust store */
        const char *cert;    /* files with the client's certificate and key; both or none */
        const char *key;
        bool skip_verify; /* the server may be anybody */
} LogTlsOptions;

/* The four options under Docker's names; `prefix` is the driver's name, `member` of the struct `type` a
 * LogTlsOptions. No annotation may set them. */
#define LOG_TLS_OPTIONS(prefix, type, member)                                                                \
        {prefix "-tls-ca-cert", {VALUE_FILE}, offsetof(type, member.ca_cert), "",                            \
         "TLS: file with the authorities that may have issued the server's certificate; not set: the "       \
         "system's"},                                                                                        \
                {prefix "-tls-cert", {VALUE_FILE}, offsetof(type, member.cert), "",                          \
                 "TLS: file with a certificate for the server to see"},                                      \
                {prefix "-tls-key", {VALUE_FILE}, offsetof(type, member.key), "",                            \
                 "TLS: file with the key of that certificate"},                                              \
        {                                                                                                    \
                prefix "-tls-skip-verify", {VALUE_BOOL}, offsetof(type, member.skip_verify), "false",        \
                        "TLS: whether any server is accepted, also a false one"                              \
        }

/* Whether the options go with the address and with each other, and whether this build has TLS. Addresses with
 * TLS begin with `scheme`, such as "tls://"; no address (NULL) is one without. For LogDriver.check. */
gboolean log_tls_check(const char *driver, const char *address, const char *scheme, const LogTlsOptions *o,
                       GError **error);

/* Whether conmon-tls is there; warns if servers are not verified. For LogDriver.open, once. */
gboolean log_tls_open(const char *driver, const LogTlsOptions *o, GError **error);

/* What came of an attempt. */
typedef struct LogTlsResult {
        int error;          /* 0 or -errno */
        const char *reason; /* of an error: a sentence without full stop; borrowed */
        /* Without an error, and the receiver's: what is read and written, not blocking; and, if that is a
         * socket to a proxy, the proxy's own TCP socket, else -1. */
        int fd, tcp_fd;
} LogTlsResult;

typedef void (*LogTlsFunc)(const LogTlsResult *result, void *data);

/* All zero but for options, func and data is one that is at rest. */
typedef struct LogTls {
        LogTlsOptions options;
        LogTlsFunc func;
        void *data;
        bool busy;
        int fd; /* to conmon-tls; meaningless at rest */
        Watch watch;
        Timer limit;

        /* Of the last connection that was made. */
        TlsMode mode; /* TLS_FAILED: there was none */
        char version[sizeof((TlsAnswer *)0)->version];
        char cipher[sizeof((TlsAnswer *)0)->cipher];
        bool within_record; /* of the kernel's, and not of data */

        /* Of the host, for when the name server does not answer; "": none. */
        char addresses[sizeof((TlsAnswer *)0)->addresses];
} LogTls;

/* Starts to connect to a host, the same one each time. The function is called once, unless the attempt is
 * stopped before. Returns 0 or -errno. */
int log_tls_start(LogTls *t, const char *host, uint16_t port);

/* True from log_tls_start to the call of the function. */
bool log_tls_is_busy(const LogTls *t);

/* Gives up the attempt. Harmless at rest. */
void log_tls_stop(LogTls *t);

/* Reads what the server sent over the connection that was made. Returns the number of bytes, 0 at the end, or
 * -errno; -EAGAIN: nothing is there. */
ssize_t log_tls_read(LogTls *t, int fd, void *bytes, size_t size);

/* Tells the server that nothing more will come (close_notify). The caller closes the socket. */
void log_tls_say_end(const LogTls *t, int fd);

/* Adds `,"tls":"kernel","tls_version":"TLS1.3","tls_cipher":"AES-256-GCM"`; null without a connection. */
void log_tls_status(const LogTls *t, bool connected, GString *json);

/* Live upgrade: the established connection. A pending attempt is started again. options, func and data are
 * set, and the group "tls" is entered, before restoring. */
void log_tls_save(const LogTls *t, StateWriter *w);
void log_tls_restore(LogTls *t, StateReader *r);
