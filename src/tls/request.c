/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "tls/request.h"

#include "tls/answer.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
        const char *key;
        size_t offset;
} fields[] = {
        {"protocol", offsetof(TlsRequest, protocol)}, {"host", offsetof(TlsRequest, host)},
        {"port", offsetof(TlsRequest, port)},         {"ca", offsetof(TlsRequest, ca)},
        {"cert", offsetof(TlsRequest, cert)},         {"key", offsetof(TlsRequest, key)},
        {"verify", offsetof(TlsRequest, verify)},     {"addresses", offsetof(TlsRequest, addresses)},
};

static bool
is_complete(const char *text, size_t len)
{
        return len >= 2 && text[len - 1] == '\0' && text[len - 2] == '\0';
}

static void
read_text(TlsRequest *r)
{
        size_t len = 0;
        while (!is_complete(r->text, len)) {
                if (len == sizeof r->text)
                        answer_failure(EINVAL, "the request is longer than %zu bytes", sizeof r->text);
                ssize_t n = read(TLS_HELPER_FD, r->text + len, sizeof r->text - len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        _exit(1); /* the monitor has gone */
                len += (size_t)n;
        }
}

static void
set_field(TlsRequest *r, const char *text)
{
        size_t len = strcspn(text, "=");
        for (size_t i = 0; text[len] && i < sizeof fields / sizeof *fields; i++) {
                if (strlen(fields[i].key) != len || strncmp(text, fields[i].key, len) != 0)
                        continue;
                const char *value = text + len + 1;
                memcpy((char *)r + fields[i].offset, &value, sizeof value);
                return;
        }
        answer_failure(EINVAL, "unknown field '%.64s' in the request", text);
}

static void
check(const TlsRequest *r)
{
        if (!r->protocol || strcmp(r->protocol, TLS_HELPER_PROTOCOL) != 0)
                answer_failure(EINVAL,
                               "conmon and conmon-tls are not of the same version; restart the container "
                               "after an update of both");
        if (!r->host || !*r->host || !r->port || !*r->port)
                answer_failure(EINVAL, "the request lacks a host or a port");
        if (!r->cert != !r->key)
                answer_failure(
                        EINVAL,
                        "a client certificate and its key must be given together: there is only the %s",
                        r->cert ? "certificate" : "key");
        if (r->verify && strcmp(r->verify, "no") != 0)
                answer_failure(EINVAL, "the request's 'verify' can't be '%.64s'", r->verify);
}

TlsRequest *
request_read(void)
{
        TlsRequest *r = calloc(1, sizeof *r);
        if (!r)
                _exit(1);
        read_text(r);
        for (const char *text = r->text; *text; text += strlen(text) + 1)
                set_field(r, text);
        check(r);
        return r;
}
