/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/bundle.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/json.h"

#include <errno.h>
#include <string.h>

void
log_attribute_free(void *attribute)
{
        LogAttribute *a = attribute;
        g_free(a->key);
        g_free(a->value);
        g_free(a);
}

static void
add(GPtrArray *list, const char *key, size_t key_len, const char *value, size_t value_len)
{
        LogAttribute *a = g_new(LogAttribute, 1);
        *a = (LogAttribute){.key = g_strndup(key, key_len), .value = g_strndup(value, value_len)};
        g_ptr_array_add(list, a);
}

static void
take_variable(LogBundle *b, const JsonValue *value)
{
        const char *equal = memchr(value->text, '=', value->len);
        size_t key_len = equal ? (size_t)(equal - value->text) : 0;
        if (equal)
                add(b->env, value->text, key_len, equal + 1, value->len - key_len - 1);
}

/* True if the value is a string in the object or array at this path of names. */
static bool
is_string_in(const JsonValue *value, const char *const *names)
{
        size_t i = 0;
        for (; names[i]; i++)
                if (i >= value->depth || strcmp(value->path[i], names[i]) != 0)
                        return false;
        return value->depth == i + 1 && value->kind == JSON_STRING;
}

static void
on_value(const JsonValue *value, void *data)
{
        static const char *const annotations[] = {"annotations", NULL},
                                 *const env[] = {"process", "env", NULL},
                                 *const args[] = {"process", "args", NULL};
        LogBundle *b = data;
        if (is_string_in(value, annotations))
                add(b->annotations, value->path[1], strlen(value->path[1]), value->text, value->len);
        else if (is_string_in(value, env))
                take_variable(b, value);
        else if (is_string_in(value, args))
                g_ptr_array_add(b->args, g_strndup(value->text, value->len));
}

static gboolean
read_file(LogBundle *b, ConfigJson *json, bool must, GError **error)
{
        const char *text;
        size_t len;
        int r = config_json_read(json, &text, &len);
        if (r == -ENOENT && !must)
                return TRUE;
        if (r < 0)
                return config_json_fail(json, r, error);
        g_autoptr(GError) broken = NULL;
        if (json_read(text, len, on_value, b, &broken))
                return TRUE;
        g_prefix_error(&broken, "Failed to read %s: ", config_json_path(json));
        if (!must && g_error_matches(broken, CONMON_ERROR, CONMON_ERROR_NO_LIBRARY)) {
                diag_warn("%s", broken->message);
                return TRUE;
        }
        g_propagate_error(error, g_steal_pointer(&broken));
        return FALSE;
}

LogBundle *
log_bundle_read(const LogConfig *log, bool must, GError **error)
{
        g_autoptr(LogBundle) b = g_new(LogBundle, 1);
        *b = (LogBundle){
                .annotations = g_ptr_array_new_with_free_func(log_attribute_free),
                .env = g_ptr_array_new_with_free_func(log_attribute_free),
                .args = g_ptr_array_new_with_free_func(g_free),
        };
        if (log->config_json ? read_file(b, log->config_json, must, error) : !must)
                return g_steal_pointer(&b);
        if (!log->config_json)
                error_set(error, CONMON_ERROR_USAGE,
                          "Log options for labels, env, the command and the image need the container's "
                          "config.json; use --bundle");
        return NULL;
}

void
log_bundle_free(LogBundle *b)
{
        if (!b)
                return;
        g_ptr_array_unref(b->annotations);
        g_ptr_array_unref(b->env);
        g_ptr_array_unref(b->args);
        g_free(b);
}

/* The value of the first of these annotations that exists; the last value of a duplicate. */
static const char *
find_annotation(const LogBundle *b, const char *const *keys)
{
        const char *value = NULL;
        for (; *keys && !value; keys++) {
                for (guint i = 0; i < b->annotations->len; i++) {
                        const LogAttribute *a = b->annotations->pdata[i];
                        if (strcmp(a->key, *keys) == 0)
                                value = a->value;
                }
        }
        return value;
}

const char *
log_bundle_image_name(const LogBundle *b)
{
        static const char *const keys[] = {"io.kubernetes.cri-o.ImageName",
                                           "org.opencontainers.image.ref.name", NULL};
        return find_annotation(b, keys);
}

const char *
log_bundle_image_id(const LogBundle *b)
{
        static const char *const keys[] = {"io.kubernetes.cri-o.ImageRef", "io.kubernetes.cri-o.Image", NULL};
        return find_annotation(b, keys);
}

/* Podman also uses this name. */
const char *
log_bundle_created(const LogBundle *b)
{
        static const char *const keys[] = {"io.kubernetes.cri-o.Created", NULL};
        return find_annotation(b, keys);
}

const char *
log_bundle_engine(const LogBundle *b)
{
        static const char *const keys[] = {"io.container.manager", NULL};
        const char *engine = find_annotation(b, keys);
        return g_strcmp0(engine, "libpod") == 0 ? "podman" : engine;
}

char *
log_bundle_command(const LogBundle *b)
{
        GString *text = g_string_new(NULL);
        for (guint i = 0; i < b->args->len; i++)
                g_string_append_printf(text, "%s%s", i > 0 ? " " : "", (const char *)b->args->pdata[i]);
        return g_string_free(text, b->args->len == 0);
}
