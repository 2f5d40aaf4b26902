/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/plugin/info.h"

#include "base/json.h"
#include "log/api/bundle.h"

#include <string.h>

static void
append_text(GString *json, const char *text)
{
        json_append_string(json, text ? text : "", text ? strlen(text) : 0);
}

static void
append_member(GString *json, const char *name, const char *value)
{
        g_string_append_printf(json, ",\"%s\":", name);
        append_text(json, value);
}

/* Adds `"key":"value"` to an object that was begun. */
static void
append_pair(GString *json, const char *key, const char *value)
{
        if (json->str[json->len - 1] != '{')
                g_string_append_c(json, ',');
        append_text(json, key);
        g_string_append_c(json, ':');
        append_text(json, value);
}

/* "KEY=VALUE", or only a key. */
static void
append_assignment(GString *json, const char *text)
{
        const char *equal = strchr(text, '=');
        g_autofree char *key = equal ? g_strndup(text, (size_t)(equal - text)) : g_strdup(text);
        append_pair(json, key, equal ? equal + 1 : "");
}

static void
append_args(GString *json, const LogBundle *b)
{
        append_member(json, "ContainerEntrypoint", b->args->len > 0 ? b->args->pdata[0] : "");
        g_string_append(json, ",\"ContainerArgs\":[");
        for (guint i = 1; i < b->args->len; i++) {
                g_string_append(json, i > 1 ? "," : "");
                append_text(json, b->args->pdata[i]);
        }
        g_string_append_c(json, ']');
}

static void
append_env(GString *json, const LogBundle *b)
{
        g_string_append(json, ",\"ContainerEnv\":[");
        for (guint i = 0; i < b->env->len; i++) {
                const LogAttribute *a = b->env->pdata[i];
                g_autofree char *text = g_strconcat(a->key, "=", a->value, NULL);
                g_string_append(json, i > 0 ? "," : "");
                append_text(json, text);
        }
        g_string_append_c(json, ']');
}

/* Annotations are used as labels, which a bundle does not have. */
static void
append_labels(GString *json, const LogConfig *log, const LogBundle *b)
{
        g_string_append(json, ",\"ContainerLabels\":{");
        for (guint i = 0; i < b->annotations->len; i++) {
                const LogAttribute *a = b->annotations->pdata[i];
                append_pair(json, a->key, a->value);
        }
        for (char **label = log->labels; label && *label; label++)
                append_assignment(json, *label);
        g_string_append_c(json, '}');
}

char *
plugin_info(const LogConfig *log, const char *const *options, GError **error)
{
        g_autoptr(LogBundle) b = log_bundle_read(log, false, error);
        if (!b)
                return NULL;
        const char *created = log_bundle_created(b), *engine = log_bundle_engine(b);
        g_autofree char *name = g_strconcat("/", log->name ? log->name : "", NULL);
        GString *json = g_string_new("{\"Config\":{");
        if (log->tag)
                append_pair(json, "tag", log->tag);
        for (; options && *options; options++)
                append_assignment(json, *options);
        g_string_append_c(json, '}');
        append_member(json, "ContainerID", log->cid);
        append_member(json, "ContainerName", name);
        append_args(json, b);
        append_member(json, "ContainerImageID", log_bundle_image_id(b));
        append_member(json, "ContainerImageName", log_bundle_image_name(b));
        append_member(json, "ContainerCreated", created ? created : "0001-01-01T00:00:00Z");
        append_env(json, b);
        append_labels(json, log, b);
        append_member(json, "LogPath", "");
        append_member(json, "DaemonName", engine ? engine : "conmon");
        g_string_append_c(json, '}');
        return g_string_free(json, FALSE);
}
