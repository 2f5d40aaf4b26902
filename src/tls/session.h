/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A TLS session with the server, using GnuTLS. Every function but session_shake_hands exits with an answer if
 * it fails. */

#include "tls/request.h"

#include <gnutls/gnutls.h>

typedef struct Session {
        gnutls_session_t tls;
        gnutls_certificate_credentials_t credentials;
        const TlsRequest *request;
        int fd;
        unsigned char first[2]; /* the server's first bytes, read because they could have been an alert */
        size_t n_first;
        TlsAnswer failure; /* of the last handshake, or of verifying the server; an empty reason: none */
} Session;

/* Reads the files that the request names, or the system's trust store. */
void session_init(Session *s, const TlsRequest *request);

/* Does the handshake over a non-blocking socket, which is then the session's, and verifies the server's
 * certificate. Returns false if that fails, with the socket closed and the reason in `failure`; the next
 * server may be tried. Exits if the monitor has gone. */
bool session_shake_hands(Session *s, int fd);

/* Frees what only a handshake needs. */
void session_forget_credentials(Session *s);

/* "TLS1.3", "AES-256-GCM". */
const char *session_version(const Session *s);
const char *session_cipher(const Session *s);
