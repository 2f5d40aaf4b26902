/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Options of drivers over HTTP: address, credentials, header fields, batches and timeouts. */

#include "log/api/secret.h"
#include "log/net/tls.h"

/* The options of these drivers. A driver whose TLS options have Docker's names fills `tls` with a table of
 * its own. */
typedef struct LogHttpOptions {
        const char *url;
        LogTlsOptions tls;
        SecretOptions headers;
        SecretOptions token;
        SecretOptions password;
        const char *user;
        bool timeout_given;
        int64_t timeout; /* microseconds, as the next one */
        int64_t batch_wait;
        int64_t batch_size; /* bytes */
} LogHttpOptions;

/* Their table of options; `name` is the driver's, `member` of the struct `type` is a LogHttpOptions. */
#define LOG_HTTP_OPTIONS(name, type, member)                                                                 \
        SECRET_OPTIONS(name "-token", type, member.token, "the token of the Authorization header"),          \
                SECRET_OPTIONS(name "-headers", type, member.headers,                                        \
                               "additional header fields of requests, one NAME: VALUE per line"),            \
                {name "-timeout", {VALUE_DURATION, .min = 1000}, offsetof(type, member.timeout), "10s",      \
                 "time limit for an answer of the server", .given = offsetof(type, member.timeout_given),    \
                 .annotations = LOG_ANNOTATIONS_ALLOWED},                                                    \
                {"batch-wait", {VALUE_DURATION, .max = INT64_C(3600) * G_USEC_PER_SEC},                      \
                 offsetof(type, member.batch_wait), "1s", "how long a record waits for a batch to fill",     \
                 .annotations = LOG_ANNOTATIONS_ALLOWED},                                                    \
        {                                                                                                    \
                "batch-size", {VALUE_BINARY_SIZE, .min = 1, .max = 1 << 28},                                 \
                        offsetof(type, member.batch_size), "512k",                                           \
                        "size of a full batch, which is sent at once",                                       \
                        .annotations = LOG_ANNOTATIONS_ALLOWED                                               \
        }

/* Additional options for servers that accept a user and a password instead of a token. */
#define LOG_HTTP_PASSWORD_OPTIONS(name, type, member)                                                        \
        {name "-user", {VALUE_TEXT}, offsetof(type, member.user), "",                                        \
         "user name, for Basic authentication"},                                                             \
                SECRET_OPTIONS(name "-password", type, member.password, "the user's password")

/* For the driver's option NAME-url: whether a value is a URL. */
gboolean log_http_check_url(const char *driver, const char *text, GError **error);

/* Whether there is a URL, and whether the options can be used together. For LogDriver.check. */
gboolean log_http_check_options(const char *driver, const LogHttpOptions *o, GError **error);

/* Appends header fields, with their line ends, from lines of the form "NAME: VALUE". `what` says in messages
 * where the lines are from; they may be secret, and are not quoted. */
gboolean log_http_read_fields(const char *driver, const char *what, const char *text, GString *out,
                              GError **error);

/* Appends the header fields of the options; the result is a secret. `scheme` is that of the token. `errands`:
 * see secret_read. */
gboolean log_http_add_fields(const char *driver, const LogHttpOptions *o, const char *scheme,
                             Errands *errands, GString *out, GError **error);
