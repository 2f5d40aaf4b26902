/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/http_options.h"

#include "base/error.h"
#include "log/net/url.h"

#include <string.h>

gboolean
log_http_check_url(const char *driver, const char *text, GError **error)
{
        g_autofree char *option = g_strconcat(driver, "-url", NULL);
        return log_url_parse(driver, option, text, NULL, error);
}

gboolean
log_http_check_options(const char *driver, const LogHttpOptions *o, GError **error)
{
        bool has_password = secret_is_given(&o->password);
        if (!o->url)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: option %s-url must be set, as http://HOST[:PORT][/PATH] or "
                                 "https://HOST[:PORT][/PATH]",
                                 driver, driver);
        if ((o->user != NULL) != has_password)
                return error_set(
                        error, CONMON_ERROR_USAGE,
                        "Log driver %s: option %s-user and %s-password-file or %s-password-env must be "
                        "given together",
                        driver, driver, driver, driver);
        if (o->user && strchr(o->user, ':'))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: option %s-user can't contain a colon", driver, driver);
        if (has_password && secret_is_given(&o->token))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: a token and a password can't both be given", driver);
        return log_tls_check(driver, o->url, "https://", &o->tls, error);
}

/* A field's name is a token of RFC 9110. */
static bool
is_name(const char *name)
{
        static const char marks[] = "!#$%&'*+-.^_`|~";
        for (const char *at = name; *at; at++)
                if (!g_ascii_isalnum(*at) && !strchr(marks, *at))
                        return false;
        return *name != '\0';
}

/* The transport sets these fields itself. */
static bool
is_own(const char *name)
{
        static const char *const own[] = {
                "connection", "content-encoding",  "content-length", "content-type", "expect",
                "host",       "transfer-encoding",
        };
        for (size_t i = 0; i < G_N_ELEMENTS(own); i++)
                if (g_ascii_strcasecmp(own[i], name) == 0)
                        return true;
        return false;
}

/* False if it has control characters, which could end the line. */
static bool
is_value(const char *value)
{
        for (; *value; value++)
                if (g_ascii_iscntrl(*value) && *value != '\t')
                        return false;
        return true;
}

static gboolean
read_field(const char *driver, const char *what, char *line, GString *out, GError **error)
{
        char *colon = strchr(line, ':');
        if (colon)
                *colon = '\0';
        char *name = g_strchomp(line), *value = colon ? g_strstrip(colon + 1) : NULL;
        if (!value || !is_name(name) || !is_value(value))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: each line of %s must be NAME: VALUE, without control "
                                 "characters",
                                 driver, what);
        if (is_own(name))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: %s can't set the field %s, which conmon sets itself", driver,
                                 what, name);
        g_string_append_printf(out, "%s: %s\r\n", name, value);
        return TRUE;
}

gboolean
log_http_read_fields(const char *driver, const char *what, const char *text, GString *out, GError **error)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        gboolean ok = TRUE;
        for (char **line = lines; ok && *line; line++) {
                g_strchomp(*line);
                if (**line)
                        ok = read_field(driver, what, *line, out, error);
        }
        for (char **line = lines; *line; line++)
                explicit_bzero(*line, strlen(*line));
        return ok;
}

/* "Basic" and the base64 of user and password (RFC 7617). */
static void
add_password(const char *user, const char *password, GString *out)
{
        char *both = g_strconcat(user, ":", password, NULL);
        char *text = g_base64_encode((const guchar *)both, strlen(both));
        g_string_append_printf(out, "Authorization: Basic %s\r\n", text);
        secret_free(both);
        secret_free(text);
}

static gboolean
add_token(const char *driver, const char *scheme, const char *token, GString *out, GError **error)
{
        if (!*token || !is_value(token))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: the token is empty or has control characters", driver);
        g_string_append_printf(out, "Authorization: %s %s\r\n", scheme, token);
        return TRUE;
}

gboolean
log_http_add_fields(const char *driver, const LogHttpOptions *o, const char *scheme, Errands *errands,
                    GString *out, GError **error)
{
        g_autofree char *headers_name = g_strconcat(driver, "-headers", NULL);
        g_autofree char *token_name = g_strconcat(driver, "-token", NULL);
        g_autofree char *password_name = g_strconcat(driver, "-password", NULL);
        char *headers = NULL, *token = NULL, *password = NULL;
        gboolean ok = secret_read(driver, headers_name, &o->headers, errands, &headers, error) &&
                      secret_read(driver, token_name, &o->token, errands, &token, error) &&
                      secret_read(driver, password_name, &o->password, errands, &password, error);
        if (ok && headers)
                ok = log_http_read_fields(driver, o->headers.file ? o->headers.file : o->headers.env, headers,
                                          out, error);
        if (ok && token)
                ok = add_token(driver, scheme, token, out, error);
        if (ok && password)
                add_password(o->user, password, out);
        secret_free(headers);
        secret_free(token);
        secret_free(password);
        return ok;
}
