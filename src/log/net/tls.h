/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* TLS for a connection. The monitor links no TLS library: conmon-tls (tls/protocol.h) resolves the name,
 * connects, does the handshake, and passes back a socket with kernel TLS, or stays as a proxy. The monitor
 * never waits for it.
 *
 * A driver has the options in its table (LOG_TLS_OPTIONS, or options with other names that fill the same
 * struct), checks them (log_tls_check), and passes them to its connection (log_connection_set_tls), which
 * does the rest. */

#include "base/state.h"
#include "base/watch.h"
#include "log/api/option.h"
#include "tls/protocol.h"

#include <sys/types.h>

typedef struct LogTlsOptions {
        const char *ca_cert; /* file with CA certificates; NULL: the system's trust store */
        const char *cert;    /* files with the client's certificate and key; both or none */
        const char *key;
        bool skip_verify; /* accept any server */
} LogTlsOptions;

/* The four options, named as Docker's; `prefix` is the driver's name, `member` of the struct `type` is a
 * LogTlsOptions. No annotation may set them. */
#define LOG_TLS_OPTIONS(prefix, type, member)                                                                \
        {prefix "-tls-ca-cert", {VALUE_FILE}, offsetof(type, member.ca_cert), "",                            \
         "TLS: file with the certificate authorities for the server; default: those of the system"},         \
                {prefix "-tls-cert", {VALUE_FILE}, offsetof(type, member.cert), "",                          \
                 "TLS: file with the client's certificate"},                                                 \
                {prefix "-tls-key", {VALUE_FILE}, offsetof(type, member.key), "",                            \
                 "TLS: file with the key of that certificate"},                                              \
        {                                                                                                    \
                prefix "-tls-skip-verify", {VALUE_BOOL}, offsetof(type, member.skip_verify), "false",        \
                        "TLS: whether to accept a server without verifying it"                               \
        }

/* Checks that the options fit the address and each other, and that this build supports TLS. Addresses that
 * use TLS begin with `scheme`, such as "tls://"; NULL is an address without TLS. For LogDriver.check. */
gboolean log_tls_check(const char *driver, const char *address, const char *scheme, const LogTlsOptions *o,
                       GError **error);

/* Checks that conmon-tls can be executed; warns if servers are not verified. For LogDriver.open, once. */
gboolean log_tls_open(const char *driver, const LogTlsOptions *o, GError **error);

/* The result of an attempt. */
typedef struct LogTlsResult {
        int error;          /* 0 or -errno */
        const char *reason; /* of an error: a sentence without full stop; borrowed */
        /* Without an error; the callee closes them: the non-blocking socket to read and write, and, if that
         * leads to a proxy, the proxy's TCP socket, else -1. */
        int fd, tcp_fd;
} LogTlsResult;

typedef void (*LogTlsFunc)(const LogTlsResult *result, void *data);

/* Zeroed except for options, func and data, it is idle. */
typedef struct LogTls {
        LogTlsOptions options;
        LogTlsFunc func;
        void *data;
        bool busy;
        bool accepted; /* a server has ever accepted a TCP connection */
        int fd; /* to conmon-tls; meaningless when idle */
        Watch watch;
        Timer limit;

        /* Of the last connection that was established. */
        TlsMode mode; /* TLS_FAILED: there was none */
        char version[sizeof((TlsAnswer *)0)->version];
        char cipher[sizeof((TlsAnswer *)0)->cipher];
        bool within_record; /* in the middle of a record from kernel TLS that is not data */

        /* Of the host, for when the name server does not answer; "": none. */
        char addresses[sizeof((TlsAnswer *)0)->addresses];
} LogTls;

/* Starts to connect to a host, the same one each time. The function is called once, unless the attempt is
 * stopped before. Returns 0 or -errno. */
int log_tls_start(LogTls *t, const char *host, uint16_t port);

/* True from log_tls_start to the call of the function. */
bool log_tls_is_busy(const LogTls *t);

/* Abandons the attempt. Does nothing when idle. */
void log_tls_stop(LogTls *t);

/* Reads what the server sent over the established connection. Returns the number of bytes, 0 at the end, or
 * -errno; -EAGAIN: there is nothing to read. */
ssize_t log_tls_read(LogTls *t, int fd, void *bytes, size_t size);

/* Sends close_notify. The caller closes the socket. */
void log_tls_say_end(const LogTls *t, int fd);

/* Adds `,"tls":"kernel","tls_version":"TLS1.3","tls_cipher":"AES-256-GCM"`; null without a connection. */
void log_tls_status(const LogTls *t, bool connected, GString *json);

/* Live upgrade: the established connection. A pending attempt is started again. options, func and data are
 * set, and the group "tls" is entered, before restoring. */
void log_tls_save(const LogTls *t, StateWriter *w);
void log_tls_restore(LogTls *t, StateReader *r);
