/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What the monitor asks for; see tls/protocol.h. */

#include "tls/protocol.h"

#include <stdbool.h>

/* Texts are in `text`, or NULL. */
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

/* Reads and checks it; it stays until the program ends. Ends the program, with an answer, if it makes no
 * sense. */
TlsRequest *request_read(void);

/* False if the server's certificate is not to be looked at. */
static inline bool
request_verifies(const TlsRequest *r)
{
        return !r->verify;
}
