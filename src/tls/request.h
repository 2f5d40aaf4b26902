/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The request of the monitor; see tls/protocol.h. */

#include "tls/protocol.h"

#include <stdbool.h>

/* The members point into `text`, or are NULL. */
typedef struct TlsRequest {
        const char *protocol;
        const char *host;
        const char *port;
        const char *ca;
        const char *cert;
        const char *key;
        const char *verify;
        const char *addresses;
        char text[TLS_HELPER_REQUEST_MAX];
} TlsRequest;

/* Reads and checks it. It is never freed. Exits with an answer if it is invalid. */
TlsRequest *request_read(void);

/* False if the server's certificate is not to be verified. */
static inline bool
request_verifies(const TlsRequest *r)
{
        return !r->verify;
}
