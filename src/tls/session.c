/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "tls/session.h"

#include "tls/answer.h"
#include "tls/dial.h"
#include "tls/verify.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What the system's policy or the library's default allows, except for versions older than TLS 1.2. */
#define PRIORITY "-VERS-TLS1.1:-VERS-TLS1.0:-VERS-SSL3.0:-VERS-DTLS-ALL"

/* The length of a TLS 1.3 record with an alert: two bytes, the type of the record, and the tag of the
 * cipher. */
#define RECORD_HEADER 5
#define ALERT_RECORD  (2 + 1 + 16)

/* ---- files ---- */

static void
check_file(const char *what, const char *path)
{
        if (access(path, R_OK) < 0)
                answer_failure(EINVAL, "the %s can't be read from '%.400s': %s", what, path, strerror(errno));
}

static void
load_authorities(Session *s)
{
        const char *path = s->request->ca;
        if (path)
                check_file("CA certificates", path);
        int n = path ? gnutls_certificate_set_x509_trust_file(s->credentials, path, GNUTLS_X509_FMT_PEM)
                     : gnutls_certificate_set_x509_system_trust(s->credentials);
        if (n < 0)
                answer_failure(EINVAL, "the CA certificates in %.400s can't be used: %s",
                               path ? path : "the system's trust store", gnutls_strerror(n));
        if (n == 0)
                answer_failure(EINVAL, "there are no CA certificates in %.400s",
                               path ? path : "the system's trust store");
}

static void
load_identity(Session *s)
{
        const TlsRequest *q = s->request;
        check_file("client's certificate", q->cert);
        check_file("client's key", q->key);
        int r = gnutls_certificate_set_x509_key_file2(s->credentials, q->cert, q->key, GNUTLS_X509_FMT_PEM,
                                                      NULL, 0);
        if (r == GNUTLS_E_DECRYPTION_FAILED)
                answer_failure(
                        EINVAL,
                        "the client's key '%.400s' is protected by a password; conmon can't ask for one",
                        q->key);
        if (r == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
                answer_failure(EINVAL, "the key '%.400s' does not belong to the certificate '%.400s'", q->key,
                               q->cert);
        if (r < 0)
                answer_failure(EINVAL, "the client's certificate '%.300s' and key '%.300s' can't be used: %s",
                               q->cert, q->key, gnutls_strerror(r));
}

void
session_init(Session *s, const TlsRequest *request)
{
        *s = (Session){.request = request, .fd = -1};
        int r = gnutls_certificate_allocate_credentials(&s->credentials);
        if (r < 0)
                answer_failure(ENOMEM, "GnuTLS can't be used: %s", gnutls_strerror(r));
        if (request_verifies(request))
                load_authorities(s);
        if (request->cert)
                load_identity(s);
}

/* ---- handshake ---- */

static void
set_up(Session *s, int fd)
{
        const char *host = s->request->host;
        s->fd = fd;
        int r = gnutls_init(&s->tls,
                            GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_FORCE_CLIENT_CERT);
        if (r >= 0)
                r = gnutls_set_default_priority_append(s->tls, PRIORITY, NULL, 0);
        if (r >= 0)
                r = gnutls_credentials_set(s->tls, GNUTLS_CRD_CERTIFICATE, s->credentials);
        if (r >= 0 && !verify_is_address(host))
                r = gnutls_server_name_set(s->tls, GNUTLS_NAME_DNS, host, strlen(host));
        if (r < 0)
                answer_failure(EINVAL, "a TLS session for '%.400s' can't be created: %s", host,
                               gnutls_strerror(r));
        gnutls_session_set_ptr(s->tls, s);
        gnutls_transport_set_int(s->tls, fd);
        if (request_verifies(s->request))
                gnutls_session_set_verify_function(s->tls, verify_server);
}

static void
describe_alert(Session *s)
{
        gnutls_alert_description_t alert = gnutls_alert_get(s->tls);
        const char *name = gnutls_alert_get_name(alert);
        const char *why = "";
        if (alert == GNUTLS_A_CERTIFICATE_REQUIRED)
                why = "; it requires a client certificate";
        else if (alert == GNUTLS_A_PROTOCOL_VERSION)
                why = "; it does not speak TLS 1.2 or later";
        else if (gnutls_certificate_client_get_request_status(s->tls))
                why = s->request->cert
                              ? "; it requested a client certificate, and does not accept the one it got"
                              : "; it requested a client certificate, but there is none";
        answer_compose_failure(&s->failure, EPROTO, "the server refused the handshake: %s (alert %d)%s",
                               name ? name : "unknown alert", (int)alert, why);
}

/* The reason may be known already: the server was not accepted. */
static void
describe(Session *s, int r)
{
        if (s->failure.reason[0])
                return;
        if (r == GNUTLS_E_FATAL_ALERT_RECEIVED)
                describe_alert(s);
        else if (r == GNUTLS_E_UNSUPPORTED_VERSION_PACKET)
                answer_compose_failure(&s->failure, EPROTO, "the server does not speak TLS 1.2 or later");
        else if (r == GNUTLS_E_UNEXPECTED_PACKET_LENGTH || r == GNUTLS_E_UNEXPECTED_PACKET)
                answer_compose_failure(&s->failure, EPROTO, "the server at port %s does not speak TLS",
                                       s->request->port);
        else if (r == GNUTLS_E_PREMATURE_TERMINATION || r == GNUTLS_E_PULL_ERROR || r == GNUTLS_E_PUSH_ERROR)
                answer_compose_failure(&s->failure, ECONNRESET,
                                       "the server closed the connection during the handshake");
        else
                answer_compose_failure(&s->failure, EPROTO, "the TLS handshake failed: %s",
                                       gnutls_strerror(r));
}

static bool
is_temporary(int r)
{
        return r == GNUTLS_E_AGAIN || r == GNUTLS_E_INTERRUPTED;
}

/* Returns 0 or the library's error. */
static int
shake_hands(Session *s)
{
        long long deadline = dial_now_ms() + TLS_HELPER_HANDSHAKE_MS;
        int r;
        while ((r = gnutls_handshake(s->tls)) < 0) {
                if (!is_temporary(r) && gnutls_error_is_fatal(r)) {
                        (void)gnutls_alert_send_appropriate(s->tls, r);
                        return r;
                }
                short events = gnutls_record_get_direction(s->tls) ? POLLOUT : POLLIN;
                if (is_temporary(r) && dial_wait(s->fd, events, deadline) < 0) {
                        answer_compose_failure(
                                &s->failure, ETIMEDOUT,
                                "the server did not complete the TLS handshake within %d seconds",
                                TLS_HELPER_HANDSHAKE_MS / 1000);
                        return r;
                }
        }
        return 0;
}

/* In TLS 1.3 a server that requested a certificate reports the result only after the handshake. A record of
 * another length is data or a session ticket: it stays in the socket. Returns 0 or the library's error. */
static int
wait_for_refusal(Session *s)
{
        unsigned char header[RECORD_HEADER];
        if (gnutls_protocol_get_version(s->tls) != GNUTLS_TLS1_3 ||
            !gnutls_certificate_client_get_request_status(s->tls))
                return 0;
        if (dial_wait(s->fd, POLLIN, dial_now_ms() + TLS_HELPER_ALERT_MS) < 0)
                return 0;
        ssize_t n = recv(s->fd, header, sizeof header, MSG_PEEK | MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
                return GNUTLS_E_PREMATURE_TERMINATION;
        if (n < RECORD_HEADER || header[3] != 0 || header[4] != ALERT_RECORD)
                return 0;
        ssize_t r = gnutls_record_recv(s->tls, s->first, sizeof s->first);
        if (r < 0 && gnutls_error_is_fatal((int)r))
                return (int)r;
        s->n_first = r > 0 ? (size_t)r : 0;
        return 0;
}

bool
session_shake_hands(Session *s, int fd)
{
        s->failure.reason[0] = '\0';
        set_up(s, fd);
        int r = shake_hands(s);
        if (r == 0)
                r = wait_for_refusal(s);
        if (r == 0)
                return true;
        describe(s, r);
        gnutls_deinit(s->tls);
        (void)close(fd);
        s->tls = NULL;
        s->fd = -1;
        return false;
}

void
session_forget_credentials(Session *s)
{
        gnutls_credentials_clear(s->tls);
        gnutls_certificate_free_credentials(s->credentials);
        s->credentials = NULL;
}

const char *
session_version(const Session *s)
{
        return gnutls_protocol_get_name(gnutls_protocol_get_version(s->tls));
}

const char *
session_cipher(const Session *s)
{
        return gnutls_cipher_get_name(gnutls_cipher_get(s->tls));
}
