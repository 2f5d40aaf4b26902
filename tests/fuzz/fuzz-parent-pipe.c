/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json.h"
#include "ctl/parent_pipe.h"

#include "fuzz.h"

static void
on_value(const JsonValue *value, void *data)
{
        if (strcmp(value->path[0], "message") == 0)
                *(size_t *)data = value->len;
}

/* The runtime's stderr becomes one line of JSON that fits into podman's buffer. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        g_autoptr(GError) error = NULL;
        size_t length = 0;
        GString *line = parent_pipe_format("data", -1, text);
        g_assert_cmpuint(line->len, <=, PARENT_PIPE_LINE_MAX);
        g_assert_cmpuint(strlen(line->str), ==, line->len);
        g_assert_true(memchr(line->str, '\n', line->len) == line->str + line->len - 1);
        /* Bytes are passed on unchanged, so the result is valid JSON only for UTF-8. */
        if (g_utf8_validate(text, -1, NULL)) {
                g_assert_true(json_read(line->str, line->len - 1, on_value, &length, &error));
                g_assert_cmpuint(length, <=, strlen(text));
                if (strlen(text) < PARENT_PIPE_LINE_MAX / 7)
                        g_assert_cmpuint(length, ==, strlen(text));
        }
        g_string_free(line, TRUE);
        return 0;
}
