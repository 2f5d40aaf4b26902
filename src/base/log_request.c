/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/log_request.h"

#include "base/error.h"

#include <string.h>

static void
setting_free(void *data)
{
        LogSetting *s = data;
        g_free(s->driver);
        g_free(s->key);
        g_free(s->value);
        g_free(s->origin);
        g_free(s);
}

static void
request_free(void *data)
{
        LogRequest *request = data;
        g_free(request->driver);
        g_free(request->arg);
        g_free(request->sink);
        g_free(request->origin);
        g_ptr_array_unref(request->settings);
        g_free(request);
}

LogRequests *
log_requests_new(void)
{
        LogRequests *r = g_new0(LogRequests, 1);
        r->list = g_ptr_array_new_with_free_func(request_free);
        r->settings = g_ptr_array_new_with_free_func(setting_free);
        return r;
}

void
log_requests_free(LogRequests *r)
{
        if (!r)
                return;
        g_ptr_array_unref(r->list);
        g_ptr_array_unref(r->settings);
        g_free(r);
}

LogRequest *
log_requests_add(LogRequests *r, const char *text, LogSource source, const char *origin)
{
        LogRequest *request = g_new0(LogRequest, 1);
        size_t word = strcspn(text, ":");
        request->driver = g_strndup(text, word);
        request->arg = text[word] ? g_strdup(text + word + 1) : NULL;
        request->source = source;
        request->origin = g_strdup(origin);
        request->settings = g_ptr_array_new();
        g_ptr_array_add(r->list, request);
        return request;
}

static LogSetting *
add_setting(LogRequests *r, const char *key, const char *value, LogSource source, const char *origin)
{
        LogSetting *s = g_new0(LogSetting, 1);
        s->key = g_strdup(key);
        s->value = g_strdup(value);
        s->source = source;
        s->origin = g_strdup(origin);
        g_ptr_array_add(r->settings, s);
        return s;
}

LogSetting *
log_requests_add_setting(LogRequests *r, const char *name, const char *value, LogSource source,
                         const char *origin)
{
        const char *dot = strchr(name, '.');
        LogSetting *s = add_setting(r, dot ? dot + 1 : name, value, source, origin);
        s->driver = dot ? g_strndup(name, (size_t)(dot - name)) : NULL;
        return s;
}

gboolean
log_requests_add_option(LogRequests *r, const char *text, GError **error)
{
        const char *equal = strchr(text, '=');
        if (!equal || equal == text)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "--log-opt %s is not of the form [DRIVER.]KEY=VALUE", text);
        g_autofree char *name = g_strndup(text, (size_t)(equal - text));
        LogSetting *s = log_requests_add_setting(r, name, equal + 1, LOG_SOURCE_COMMAND_LINE, NULL);
        if (r->list->len > 0)
                s->after = r->list->pdata[r->list->len - 1];
        return TRUE;
}

void
log_request_set(LogRequest *request, LogSetting *setting)
{
        for (guint i = request->settings->len; i-- > 0;) {
                const LogSetting *old = request->settings->pdata[i];
                if (strcmp(old->key, setting->key) == 0 && g_strcmp0(old->driver, setting->driver) == 0 &&
                    g_strcmp0(old->origin, setting->origin) != 0)
                        g_ptr_array_remove_index(request->settings, i);
        }
        g_ptr_array_add(request->settings, setting);
}

void
log_requests_share(LogRequests *r)
{
        for (guint i = 0; i < r->settings->len; i++)
                for (guint k = 0; k < r->list->len; k++)
                        log_request_set(r->list->pdata[k], r->settings->pdata[i]);
}

/* The copy of the request that the setting follows. */
static const LogRequest *
find_copy(const LogRequests *r, guint first, const LogRequests *from, const LogRequest *request)
{
        for (guint i = 0; i < from->list->len; i++)
                if (from->list->pdata[i] == request)
                        return r->list->pdata[first + i];
        return NULL;
}

void
log_requests_add_command_line(LogRequests *r, const LogRequests *command_line)
{
        guint first = r->list->len;
        for (guint i = 0; i < command_line->list->len; i++) {
                const LogRequest *old = command_line->list->pdata[i];
                LogRequest *copy = log_requests_add(r, old->driver, old->source, old->origin);
                copy->arg = g_strdup(old->arg);
        }
        for (guint i = 0; i < command_line->settings->len; i++) {
                const LogSetting *old = command_line->settings->pdata[i];
                LogSetting *copy = add_setting(r, old->key, old->value, old->source, old->origin);
                copy->driver = g_strdup(old->driver);
                copy->after = find_copy(r, first, command_line, old->after);
                for (guint k = 0; k < r->list->len; k++)
                        log_request_set(r->list->pdata[k], copy);
        }
}
