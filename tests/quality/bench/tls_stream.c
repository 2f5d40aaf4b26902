/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "tls_stream.h"

#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>

static gnutls_certificate_credentials_t credentials;
static gnutls_session_t session;

static void
check(const char *what, int r)
{
        if (r >= 0)
                return;
        (void) fprintf(stderr, "%s: %s\n", what, gnutls_strerror(r));
        exit(1);
}

void
tls_stream_load(const char *file)
{
        check("credentials", gnutls_certificate_allocate_credentials(&credentials));
        check(file, gnutls_certificate_set_x509_key_file(credentials, file, file, GNUTLS_X509_FMT_PEM));
}

void
tls_stream_accept(int fd)
{
        int r;

        if (session != NULL)
                gnutls_deinit(session);
        check("session", gnutls_init(&session, GNUTLS_SERVER));
        check("priorities", gnutls_set_default_priority(session));
        check("credentials", gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials));
        gnutls_transport_set_int(session, fd);
        while ((r = gnutls_handshake(session)) < 0 && !gnutls_error_is_fatal(r))
                ;
        check("handshake", r);
}

size_t
tls_stream_read(void *data, size_t size)
{
        ssize_t n;

        while ((n = gnutls_record_recv(session, data, size)) < 0 && !gnutls_error_is_fatal((int) n))
                ;
        check("record", (int) n);
        return (size_t) n;
}
