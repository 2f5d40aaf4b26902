/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json.h"
#include "base/json_check.h"

#include "fuzz.h"

typedef struct {
        size_t n;
        GString *text; /* of the last string */
} Seen;

static void
on_value(const JsonValue *value, void *data)
{
        Seen *seen = data;
        seen->n++;
        g_assert_cmpuint(value->depth, >=, 1);
        g_assert_cmpuint(value->depth, <=, JSON_DEPTH_MAX);
        for (size_t i = 0; i < value->depth; i++)
                g_assert_nonnull(value->path[i]);
        g_assert_cmpint(value->text != NULL, ==, value->kind == JSON_STRING || value->kind == JSON_NUMBER);
        if (value->kind == JSON_STRING)
                g_string_append_len(g_string_truncate(seen->text, 0), value->text, (gssize)value->len);
}

static void
read_document(const char *text, size_t len)
{
        g_autoptr(GError) error = NULL;
        Seen seen = {.text = g_string_new(NULL)};
        gboolean ok = json_read(text, len, on_value, &seen, &error);
        fuzz_check_error(ok, error);
        /* The check without the library may be stricter, but never laxer. */
        g_assert_true(ok || !json_is_value(text, len));
        g_string_free(seen.text, TRUE);
}

/* A written string is read back unchanged, except for invalid UTF-8. */
static void
write_and_read(const char *text, size_t len)
{
        g_autoptr(GError) error = NULL;
        GString *json = g_string_new("{\"key\":");
        Seen seen = {.text = g_string_new(NULL)};
        json_append_string(json, text, len);
        g_string_append(json, "}");
        g_assert_true(g_utf8_validate(json->str, (gssize)json->len, NULL));
        g_assert_true(json_read(json->str, json->len, on_value, &seen, &error));
        g_assert_cmpuint(seen.n, ==, 1);
        if (g_utf8_validate_len(text, len, NULL))
                g_assert_cmpmem(seen.text->str, seen.text->len, text, len);
        g_string_free(json, TRUE);
        g_string_free(seen.text, TRUE);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        read_document((const char *)data, size);
        write_and_read((const char *)data, size);
        return 0;
}
