/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "tls/verify.h"

#include "tls/answer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The server's certificates; it sends its own one first. */
typedef struct {
        gnutls_x509_crt_t *certs;
        unsigned n;
} Chain;

/* A longer chain is not accepted. */
#define MANY_CERTIFICATES 32

bool
verify_is_address(const char *host)
{
        unsigned char address[16];
        return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static void
chain_done(Chain *c)
{
        for (unsigned i = 0; i < c->n; i++)
                gnutls_x509_crt_deinit(c->certs[i]);
        free(c->certs);
}

static int
chain_init(Chain *c, gnutls_session_t tls)
{
        unsigned n = 0;
        const gnutls_datum_t *list = gnutls_certificate_get_peers(tls, &n);
        *c = (Chain){0};
        if (!list || n == 0 || n > MANY_CERTIFICATES)
                return GNUTLS_E_NO_CERTIFICATE_FOUND;
        c->certs = calloc(n, sizeof *c->certs);
        if (!c->certs)
                return GNUTLS_E_MEMORY_ERROR;
        for (unsigned i = 0; i < n; i++) {
                int r = gnutls_x509_crt_init(&c->certs[i]);
                if (r < 0)
                        return r;
                c->n++;
                r = gnutls_x509_crt_import(c->certs[i], &list[i], GNUTLS_X509_FMT_DER);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* ---- describing a certificate ---- */

/* Names come from the server: control characters must not reach a terminal. */
static void
make_printable(char *text)
{
        for (; *text; text++)
                if ((unsigned char)*text < ' ' || *text == 0x7f)
                        *text = '?';
}

static void
append(char *text, size_t size, const char *piece)
{
        size_t len = strlen(text);
        if (len + strlen(piece) < size)
                memcpy(text + len, piece, strlen(piece) + 1);
}

/* Reads a subjectAltName as text. Returns false if it is not a host name or an address. */
static bool
read_name(gnutls_x509_crt_t cert, unsigned i, char *ret, size_t size, bool *ret_end)
{
        char bytes[256];
        size_t len = sizeof bytes - 1;
        int type = gnutls_x509_crt_get_subject_alt_name(cert, i, bytes, &len, NULL);
        *ret_end = type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
        if (type == GNUTLS_SAN_IPADDRESS && (len == 4 || len == 16))
                return inet_ntop(len == 4 ? AF_INET : AF_INET6, bytes, ret, (socklen_t)size) != NULL;
        if (type != GNUTLS_SAN_DNSNAME)
                return false;
        bytes[len] = '\0';
        (void)snprintf(ret, size, "%s", bytes);
        make_printable(ret);
        return true;
}

/* "'a', 'b' and 3 more"; empty: none. */
static void
list_names(gnutls_x509_crt_t cert, char *ret, size_t size)
{
        unsigned left_out = 0;
        bool end = false;
        *ret = '\0';
        for (unsigned i = 0; !end && i < 1000; i++) {
                char name[256], quoted[sizeof name + 8];
                if (!read_name(cert, i, name, sizeof name, &end))
                        continue;
                (void)snprintf(quoted, sizeof quoted, "%s'%s'", *ret ? ", " : "", name);
                if (strlen(ret) + strlen(quoted) + 32 < size)
                        append(ret, size, quoted);
                else
                        left_out++;
        }
        char more[32];
        (void)snprintf(more, sizeof more, " and %u more", left_out);
        if (left_out)
                append(ret, size, more);
}

static void
describe(gnutls_x509_crt_t cert, bool issuer, char *ret, size_t size)
{
        size_t len = size;
        int r = issuer ? gnutls_x509_crt_get_issuer_dn(cert, ret, &len)
                       : gnutls_x509_crt_get_dn(cert, ret, &len);
        if (r < 0)
                (void)snprintf(ret, size, "a name that can't be shown");
        make_printable(ret);
}

static void
describe_time(time_t time, char *ret, size_t size)
{
        struct tm tm;
        if (!gmtime_r(&time, &tm) || strftime(ret, size, "%Y-%m-%d %H:%M UTC", &tm) == 0)
                (void)snprintf(ret, size, "an unknown date");
}

/* ---- reasons ---- */

/* Reports the first certificate that is not valid now: the server's own, or an issuer's. */
static void
refuse_time(Session *s, const Chain *c, bool expired)
{
        time_t now = time(NULL);
        for (unsigned i = 0; i < c->n; i++) {
                time_t limit = expired ? gnutls_x509_crt_get_expiration_time(c->certs[i])
                                       : gnutls_x509_crt_get_activation_time(c->certs[i]);
                if (expired ? limit > now : limit < now)
                        continue;
                char day[32], subject[256];
                describe_time(limit, day, sizeof day);
                describe(c->certs[i], false, subject, sizeof subject);
                answer_compose_failure(&s->failure, EKEYREJECTED, "%s (%s) %s %s",
                                       i == 0 ? "the server's certificate"
                                              : "the certificate of an issuer of the server's certificate",
                                       subject, expired ? "expired on" : "is not valid before", day);
                return;
        }
        answer_compose_failure(
                &s->failure, EKEYREJECTED,
                "the certificate of the authority that issued the server's certificate has expired or "
                "is not valid yet");
}

static void
refuse_name(Session *s, const Chain *c)
{
        char names[600];
        list_names(c->certs[0], names, sizeof names);
        if (*names)
                answer_compose_failure(&s->failure, EKEYREJECTED,
                                       "the server's certificate is not for '%.100s' but for %s",
                                       s->request->host, names);
        else
                answer_compose_failure(
                        &s->failure, EKEYREJECTED,
                        "the server's certificate names no host (it has no subjectAltName), so it "
                        "can't be for '%.100s'",
                        s->request->host);
}

static void
refuse_issuer(Session *s, const Chain *c)
{
        char issuer[256];
        describe(c->certs[c->n - 1], true, issuer, sizeof issuer);
        answer_compose_failure(
                &s->failure, EKEYREJECTED,
                "the server's certificate was issued by an unknown authority: '%s' is not in %.200s", issuer,
                s->request->ca ? s->request->ca : "the system's trust store");
}

static void
refuse_otherwise(Session *s, unsigned status)
{
        gnutls_datum_t text = {0};
        (void)gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
        answer_compose_failure(&s->failure, EKEYREJECTED, "the server's certificate is not accepted: %.*s",
                               text.data ? (int)strcspn((char *)text.data, "\n") : 0, (char *)text.data);
        gnutls_free(text.data);
}

static void
refuse(Session *s, const Chain *c, unsigned status)
{
        if (status & GNUTLS_CERT_REVOKED)
                answer_compose_failure(&s->failure, EKEYREJECTED, "the server's certificate was revoked");
        else if (status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNER_NOT_CA))
                refuse_issuer(s, c);
        else if (status & GNUTLS_CERT_EXPIRED)
                refuse_time(s, c, true);
        else if (status & GNUTLS_CERT_NOT_ACTIVATED)
                refuse_time(s, c, false);
        else if (status & GNUTLS_CERT_UNEXPECTED_OWNER)
                refuse_name(s, c);
        else if (status & GNUTLS_CERT_PURPOSE_MISMATCH)
                answer_compose_failure(
                        &s->failure, EKEYREJECTED,
                        "the server's certificate is not for a TLS server (extended key usage)");
        else
                refuse_otherwise(s, status);
}

/* The library also accepts a host name in the subject's common name, which is deprecated since 2000 (RFC
 * 2818). */
static bool
names_a_host(gnutls_x509_crt_t cert)
{
        char names[300];
        list_names(cert, names, sizeof names);
        return *names;
}

int
verify_server(gnutls_session_t tls)
{
        Session *s = gnutls_session_get_ptr(tls);
        Chain chain;
        unsigned status = 0;
        gnutls_typed_vdata_st wanted[] = {
                {.type = GNUTLS_DT_DNS_HOSTNAME, .data = (unsigned char *)s->request->host},
                {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)GNUTLS_KP_TLS_WWW_SERVER},
        };
        int r = chain_init(&chain, tls);
        if (r >= 0)
                r = gnutls_certificate_verify_peers(tls, wanted, 2, &status);
        if (r >= 0 && status == 0 && !names_a_host(chain.certs[0]))
                status = GNUTLS_CERT_UNEXPECTED_OWNER | GNUTLS_CERT_INVALID;
        if (r < 0)
                answer_compose_failure(&s->failure, EKEYREJECTED,
                                       "the server's certificate can't be read: %s", gnutls_strerror(r));
        else if (status != 0)
                refuse(s, &chain, status);
        chain_done(&chain);
        return r < 0 || status != 0 ? GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR : 0;
}
