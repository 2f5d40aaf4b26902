/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/annotations.h"

#include "base/error.h"
#include "base/json.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* How a name begins, without the slash, which JSON may write in two ways. */
#define NEEDLE "\"org.conmon.log"

#define VALUE_LEN_MAX 4096
#define NAME_LEN_MAX  128
#define OPTIONS_MAX   64

typedef struct {
        Annotations *found;
        GError *error; /* the first one */
} Reader;

static void
option_done(void *data)
{
        AnnotationOption *option = data;
        g_free(option->key);
        g_free(option->value);
}

static Annotations *
annotations_new(void)
{
        Annotations *a = g_new0(Annotations, 1);
        a->options = g_array_new(FALSE, FALSE, sizeof(AnnotationOption));
        g_array_set_clear_func(a->options, option_done);
        return a;
}

void
annotations_free(Annotations *a)
{
        if (!a)
                return;
        g_free(a->profile);
        g_free(a->driver);
        g_array_unref(a->options);
        g_free(a);
}

/* Texts for messages and protocols must be a single line. */
static bool
is_plain(const char *text, size_t len)
{
        for (size_t i = 0; i < len; i++)
                if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
                        return false;
        return g_utf8_validate(text, (gssize)len, NULL);
}

static gboolean
set_once(char **where, char *value, GError **error)
{
        if (*where && strcmp(*where, value) != 0) {
                g_free(value);
                return error_set(error, CONMON_ERROR_USAGE, "duplicate key with different values");
        }
        g_free(*where);
        *where = value;
        return TRUE;
}

static gboolean
set_option(Annotations *a, const char *key, char *value, GError **error)
{
        for (guint i = 0; i < a->options->len; i++) {
                AnnotationOption *old = &g_array_index(a->options, AnnotationOption, i);
                if (strcmp(old->key, key) == 0)
                        return set_once(&old->value, value, error);
        }
        AnnotationOption option = {g_strdup(key), value};
        g_array_append_val(a->options, option);
        if (a->options->len <= OPTIONS_MAX)
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE, "there are more than %d options", OPTIONS_MAX);
}

static gboolean
add(Annotations *a, const char *name, const JsonValue *value, GError **error)
{
        if (value->kind != JSON_STRING)
                return error_set(error, CONMON_ERROR_USAGE, "its value is not a string");
        if (value->len > VALUE_LEN_MAX)
                return error_set(error, CONMON_ERROR_USAGE, "its value has %zu bytes; %d are allowed",
                                 value->len, VALUE_LEN_MAX);
        if (!is_plain(value->text, value->len))
                return error_set(error, CONMON_ERROR_USAGE, "its value is not plain text in one line");
        if (value->len == 0 && !g_str_has_prefix(name, "opt."))
                return error_set(error, CONMON_ERROR_USAGE, "its value is empty");
        char *text = g_strndup(value->text, value->len);
        if (strcmp(name, "profile") == 0)
                return set_once(&a->profile, text, error);
        if (strcmp(name, "driver") == 0)
                return set_once(&a->driver, text, error);
        if (g_str_has_prefix(name, "opt.") && name[4])
                return set_option(a, name + 4, text, error);
        g_free(text);
        return error_set(error, CONMON_ERROR_USAGE, "it is unknown; there are profile, driver and opt.KEY");
}

static void
on_value(const JsonValue *value, void *data)
{
        Reader *r = data;
        if (r->error || value->depth != 2 || strcmp(value->path[0], "annotations") != 0 ||
            !g_str_has_prefix(value->path[1], ANNOTATION_PREFIX))
                return;
        const char *name = value->path[1] + strlen(ANNOTATION_PREFIX);
        if (strlen(name) > NAME_LEN_MAX || !is_plain(name, strlen(name))) {
                (void)error_set(&r->error, CONMON_ERROR_USAGE,
                                "An annotation " ANNOTATION_PREFIX "… has a malformed name");
                return;
        }
        if (!r->found)
                r->found = annotations_new();
        if (!add(r->found, name, value, &r->error))
                g_prefix_error(&r->error, "Annotation " ANNOTATION_PREFIX "%s: ", name);
}

static gboolean
check_together(const Annotations *a, GError **error)
{
        if (a && a->profile && a->driver)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "The annotations " ANNOTATION_PREFIX "profile and " ANNOTATION_PREFIX
                                 "driver contradict each other");
        return TRUE;
}

gboolean
annotations_parse(const char *text, size_t len, Annotations **ret_annotations, GError **error)
{
        Reader reader = {0};
        g_autoptr(GError) broken = NULL;
        *ret_annotations = NULL;
        if (!memmem(text, len, NEEDLE, strlen(NEEDLE)))
                return TRUE;
        if (!json_read(text, len, on_value, &reader, &broken) && !reader.error)
                (void)error_set(&reader.error, CONMON_ERROR_FAILED,
                                "Failed to read annotations in config.json: %s", broken->message);
        if (!reader.error && check_together(reader.found, &reader.error)) {
                *ret_annotations = reader.found;
                return TRUE;
        }
        annotations_free(reader.found);
        g_propagate_error(error, reader.error);
        return FALSE;
}

gboolean
annotations_read(ConfigJson *json, Annotations **ret_annotations, GError **error)
{
        const char *text;
        size_t len;
        *ret_annotations = NULL;
        int r = config_json_read(json, &text, &len);
        if (r == 0)
                return annotations_parse(text, len, ret_annotations, error);
        /* The runtime itself reports a bundle without a configuration. */
        return (r != -EFBIG && r != -EBUSY) || config_json_fail(json, r, error);
}
