/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/permission.h"

#include "base/error.h"
#include "log/drivers/registry.h"
#include "log/sink/options.h"

#include <string.h>

/* The largest size in memory that an annotation may set, for each option. */
#define SIZE_LIMIT (16 << 20)

static const char *const network_schemes[] = {"tcp", "tcp+tls", "tls", "udp", NULL};

/* Schemes whose addresses may have a path. */
static const char *const url_schemes[] = {"http", "https", NULL};

static bool
is_listed(char **sockets, const char *socket)
{
        return sockets && g_strv_contains((const char *const *)sockets, socket);
}

static char *
list_drivers(void)
{
        GString *names = g_string_new(NULL);
        for (const LogDriver *const *d = log_drivers(); *d; d++)
                if ((*d)->flags & LOG_DRIVER_ANNOTATIONS)
                        g_string_append_printf(names, "%s%s", names->len ? ", " : "", (*d)->name);
        return g_string_free(names, FALSE);
}

/* True if the request has a setting for an option that is an address. */
static bool
is_addressed(const LogRequest *request, const LogDriver *driver)
{
        g_autoptr(LogOptions) options = log_sink_options(driver);
        for (guint i = 0; i < request->settings->len; i++) {
                const LogSetting *s = request->settings->pdata[i];
                const LogOption *option = log_options_find(options, s->key);
                if (option && option->annotations == LOG_ANNOTATIONS_ADDRESS)
                        return true;
        }
        return false;
}

gboolean
log_permit_driver(const LogRequest *request, char **sockets, GError **error)
{
        const LogDriver *driver = log_driver_find(request->driver);
        if (request->source != LOG_SOURCE_ANNOTATION)
                return TRUE;
        if (request->arg)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "%s:%s: an annotation can't name a path or a program", request->driver,
                                 request->arg);
        if (!driver || !(driver->flags & LOG_DRIVER_ANNOTATIONS)) {
                g_autofree char *names = list_drivers();
                return error_set(error, CONMON_ERROR_USAGE,
                                 "the driver %s can't be chosen by an annotation; these can: %s",
                                 request->driver, names);
        }
        if (!(driver->flags & LOG_DRIVER_OWN_SOCKET) || is_addressed(request, driver) ||
            is_listed(sockets, driver->name))
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "%s uses a local socket, and the policy does not list it among sockets",
                         driver->name);
}

/* "HOST", "HOST:PORT", or either after a network scheme. An empty one would be the driver's local socket. */
static bool
is_network_address(const char *value)
{
        const char *scheme_end = strstr(value, "://");
        if (!*value)
                return false;
        if (scheme_end) {
                g_autofree char *scheme = g_strndup(value, (size_t)(scheme_end - value));
                return g_strv_contains(url_schemes, scheme) ||
                       (g_strv_contains(network_schemes, scheme) && !strchr(scheme_end + 3, '/'));
        }
        return !strchr(value, '/') && *value != '@' && g_ascii_strncasecmp(value, "unix", 4) != 0;
}

/* The option itself rejects invalid sizes. */
static bool
is_too_large(const LogOption *option, const char *value)
{
        bool size = option->type.kind == VALUE_SIZE || option->type.kind == VALUE_BINARY_SIZE;
        int64_t bytes = 0;
        return size && value_parse(&(ValueType){option->type.kind}, value, &bytes) && bytes > SIZE_LIMIT;
}

gboolean
log_permit_name(const LogSetting *setting, GError **error)
{
        if (setting->source != LOG_SOURCE_ANNOTATION || !setting->driver)
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE, "the option %s.%s can't be set by an annotation",
                         setting->driver, setting->key);
}

/* True if one of the settings is a secret: KEY-file or KEY-env. */
static bool
has_secret(const LogOptions *options, const GPtrArray *settings)
{
        for (guint i = 0; i < settings->len; i++) {
                const LogSetting *s = settings->pdata[i];
                const char *dash = strrchr(s->key, '-');
                g_autofree char *name = dash ? g_strndup(s->key, (size_t)(dash - s->key)) : NULL;
                if (name && log_options_find(options, s->key) && log_options_hides(options, name))
                        return true;
        }
        return false;
}

gboolean
log_permit_setting(const LogOptions *options, const LogSetting *setting, const GPtrArray *settings,
                   char **sockets, GError **error)
{
        const LogOption *option = log_options_find(options, setting->key);
        if (!option || setting->source != LOG_SOURCE_ANNOTATION)
                return TRUE;
        if (!log_permit_name(setting, error))
                return FALSE;
        if (option->annotations == LOG_ANNOTATIONS_REFUSED)
                return error_set(error, CONMON_ERROR_USAGE, "the option %s can't be set by an annotation",
                                 setting->key);
        if (is_too_large(option, setting->value))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "%s is more than an annotation can ask for; allowed: up to %dm",
                                 setting->value, SIZE_LIMIT >> 20);
        if (option->annotations == LOG_ANNOTATIONS_ADDRESS && has_secret(options, settings))
                return error_set(
                        error, CONMON_ERROR_USAGE,
                        "an annotation can't choose where a secret is sent to, and this driver has one");
        if (option->annotations != LOG_ANNOTATIONS_ADDRESS || is_network_address(setting->value) ||
            is_listed(sockets, setting->value))
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "'%s' is not a network address, and the policy does not list it among sockets",
                         setting->value);
}
