/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/url.h"

#include "base/error.h"

#include <string.h>

#define HTTP_PORT  80
#define HTTPS_PORT 443

/* Blanks and control characters would end the request line; other characters than ASCII must be
 * percent-encoded. */
static bool
is_plain(const char *text)
{
        for (; *text; text++)
                if (!g_ascii_isgraph(*text))
                        return false;
        return true;
}

static gboolean
refuse_form(const char *driver, const char *option, const char *text, GError **error)
{
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log driver %s: option %s can't be '%s'; allowed: http://HOST[:PORT][/PATH], "
                         "https://HOST[:PORT][/PATH]",
                         driver, option, text);
}

/* Splits the part after "://". */
static bool
split(const char *rest, bool tls, LogUrl *u)
{
        size_t len = strcspn(rest, "/?");
        u->authority = g_strndup(rest, len);
        u->path = g_strconcat(rest[len] == '?' ? "/" : "", rest + len, NULL);
        /* Host and port have the form of the other addresses. */
        g_autofree char *address = g_strconcat(tls ? "tls://" : "tcp://", u->authority, NULL);
        return log_address_parse("", "", address, 1u << (tls ? LOG_SCHEME_TLS : LOG_SCHEME_TCP),
                                 tls ? HTTPS_PORT : HTTP_PORT, &u->address, NULL);
}

gboolean
log_url_parse(const char *driver, const char *option, const char *text, LogUrl *ret, GError **error)
{
        LogUrl u = {0};
        bool tls = g_str_has_prefix(text, "https://");
        const char *rest = tls || g_str_has_prefix(text, "http://") ? strstr(text, "://") + 3 : NULL;
        if (rest && memchr(rest, '@', strcspn(rest, "/?")))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: option %s can't contain a user and a password, because "
                                 "every process could read them; use the options for them",
                                 driver, option);
        bool good = rest && is_plain(text) && !strchr(text, '#') && split(rest, tls, &u);
        if (good && ret)
                *ret = u;
        else
                log_url_clear(&u);
        return good || refuse_form(driver, option, text, error);
}

void
log_url_default_path(LogUrl *u, const char *path)
{
        if (*u->path && strcmp(u->path, "/") != 0)
                return;
        g_free(u->path);
        u->path = g_strdup(path);
}

void
log_url_clear(LogUrl *u)
{
        log_address_clear(&u->address);
        g_clear_pointer(&u->authority, g_free);
        g_clear_pointer(&u->path, g_free);
}
