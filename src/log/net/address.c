/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/address.h"

#include "base/error.h"

#include <string.h>

static const char *const scheme_names[N_LOG_SCHEMES] = {
        [LOG_SCHEME_UNIX] = "unix",
        [LOG_SCHEME_UNIXGRAM] = "unixgram",
        [LOG_SCHEME_UDP] = "udp",
        [LOG_SCHEME_TCP] = "tcp",
        [LOG_SCHEME_TLS] = "tls",
        [LOG_SCHEME_TCP_TLS] = "tcp+tls",
};

bool
log_scheme_is_local(LogScheme scheme)
{
        return scheme == LOG_SCHEME_UNIX || scheme == LOG_SCHEME_UNIXGRAM;
}

bool
log_scheme_is_encrypted(LogScheme scheme)
{
        return scheme == LOG_SCHEME_TLS || scheme == LOG_SCHEME_TCP_TLS;
}

bool
log_scheme_is_datagram(LogScheme scheme)
{
        return scheme == LOG_SCHEME_UNIXGRAM || scheme == LOG_SCHEME_UDP;
}

static bool
find_scheme(const char *text, unsigned allowed, LogScheme *ret, const char **ret_rest)
{
        const char *colon = strstr(text, "://");
        for (LogScheme s = 0; colon && s < N_LOG_SCHEMES; s++) {
                size_t len = strlen(scheme_names[s]);
                if (!(allowed & 1u << s) || (size_t)(colon - text) != len ||
                    strncmp(text, scheme_names[s], len) != 0)
                        continue;
                *ret = s;
                *ret_rest = colon + 3;
                return true;
        }
        return false;
}

static bool
parse_port(const char *text, uint16_t *ret)
{
        guint64 port;
        if (!g_ascii_string_to_unsigned(text, 10, 1, 65535, &port, NULL))
                return false;
        *ret = (uint16_t)port;
        return true;
}

/* Parts of a URL that addresses don't have, and blanks. */
#define FOREIGN "/?#@ \t\r\n"

/* "HOST", "HOST:PORT", "[IPV6]", "[IPV6]:PORT". */
static bool
parse_host(const char *text, uint16_t default_port, LogAddress *ret)
{
        const char *begin = text + (*text == '['), *end = begin + strcspn(begin, *text == '[' ? "]" : ":");
        const char *rest = end + (*end == ']');
        if (end == begin || (*text == '[' && *end != ']') || (*rest != '\0' && *rest != ':') ||
            strcspn(text, FOREIGN) != strlen(text))
                return false;
        ret->port = default_port;
        if (*rest == ':' && !parse_port(rest + 1, &ret->port))
                return false;
        ret->host = g_strndup(begin, (size_t)(end - begin));
        return ret->port != 0;
}

static char *
describe_allowed(unsigned allowed, uint16_t default_port)
{
        GString *text = g_string_new(NULL);
        for (LogScheme s = 0; s < N_LOG_SCHEMES; s++) {
                if (!(allowed & 1u << s))
                        continue;
                g_string_append_printf(text, "%s%s://%s", text->len ? ", " : "", scheme_names[s],
                                       log_scheme_is_local(s) ? "PATH"
                                       : default_port         ? "HOST[:PORT]"
                                                              : "HOST:PORT");
        }
        return g_string_free(text, FALSE);
}

gboolean
log_address_parse(const char *driver, const char *option, const char *text, unsigned allowed,
                  uint16_t default_port, LogAddress *ret, GError **error)
{
        LogAddress a = {0};
        const char *rest;
        bool good = find_scheme(text, allowed, &a.scheme, &rest);
        if (good && log_scheme_is_local(a.scheme)) {
                a.host = g_strdup(rest);
                good = *rest == '/' || (*rest == '@' && rest[1]);
        } else if (good) {
                good = parse_host(rest, default_port, &a);
        }
        if (good && ret) {
                *ret = a;
                return TRUE;
        }
        log_address_clear(&a);
        if (good)
                return TRUE;
        g_autofree char *forms = describe_allowed(allowed, default_port);
        return error_set(error, CONMON_ERROR_USAGE, "Log driver %s: option %s can't be '%s'; allowed: %s",
                         driver, option, text, forms);
}

void
log_address_clear(LogAddress *a)
{
        g_clear_pointer(&a->host, g_free);
}

char *
log_address_describe(const LogAddress *a)
{
        if (log_scheme_is_local(a->scheme))
                return g_strdup_printf("%s://%s", scheme_names[a->scheme], a->host);
        const char *format = strchr(a->host, ':') ? "%s://[%s]:%u" : "%s://%s:%u";
        return g_strdup_printf(format, scheme_names[a->scheme], a->host, a->port);
}

void
log_scheme_save(LogScheme scheme, StateWriter *w)
{
        state_put_text(w, "scheme", scheme_names[scheme]);
}

LogScheme
log_scheme_restore(StateReader *r)
{
        g_autofree char *name = state_get_text(r, "scheme");
        for (LogScheme s = 0; s < N_LOG_SCHEMES; s++)
                if (g_strcmp0(name, scheme_names[s]) == 0)
                        return s;
        state_fail(r, "There is no address scheme '%s'", name ? name : "");
        return LOG_SCHEME_UNIX;
}

void
log_address_save(const LogAddress *a, StateWriter *w)
{
        state_begin(w, "address");
        log_scheme_save(a->scheme, w);
        state_put_text(w, "host", a->host);
        state_put_uint(w, "port", a->port);
        state_end(w);
}

void
log_address_restore(LogAddress *a, StateReader *r)
{
        a->scheme = log_scheme_restore(r);
        a->host = state_get_text(r, "host");
        a->port = (uint16_t)state_get_uint(r, "port", UINT16_MAX);
        if (!a->host)
                state_fail(r, "An address has no host");
}
