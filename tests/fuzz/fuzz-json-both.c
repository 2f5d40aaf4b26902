/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Both JSON libraries accept every document of RFC 8259 and read the same values. Invalid documents may be
 * refused by only one of them: yajl ignores an unfinished token after a document, json-c reads 01.0 as
 * 1.0. */

#include "base/json.h"
#include "base/json_check.h"

#include "fuzz.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* meson.build renames json_read to these. */
gboolean json_read_yajl(const char *text, size_t len, JsonFunc func, void *data, GError **error);
gboolean json_read_jsonc(const char *text, size_t len, JsonFunc func, void *data, GError **error);

/* yajl reads an unpaired surrogate as a question mark, json-c as U+FFFD. */
static bool
has_half_characters(const char *text)
{
        for (const char *at = text; (at = strchr(at, '\\')); at++)
                if (strncasecmp(at, "\\ud", 3) == 0 && memchr("89abABcdefCDEF", at[3], 14))
                        return true;
        return false;
}

/* json-c reports integers beyond 64 bits with an exponent. */
static double
number_of(const JsonValue *value)
{
        g_autofree char *text = g_strndup(value->text, value->len);
        return g_ascii_strtod(text, NULL) + 0.0;
}

static void
note(const JsonValue *value, void *data)
{
        GString *out = data;
        for (size_t i = 0; i < value->depth; i++)
                g_string_append_printf(out, "%s/", value->path[i]);
        g_string_append_printf(out, " %d ", (int)value->kind);
        if (value->kind == JSON_NUMBER)
                g_string_append_printf(out, "%.6g", number_of(value));
        else if (value->kind == JSON_STRING)
                g_string_append_len(out, value->text, (gssize)value->len);
        g_string_append_c(out, '\n');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        g_autoptr(GString) one = g_string_new(NULL), other = g_string_new(NULL);
        g_autoptr(GError) e1 = NULL, e2 = NULL;
        gboolean ok1 = json_read_yajl((const char *)data, size, note, one, &e1);
        gboolean ok2 = json_read_jsonc((const char *)data, size, note, other, &e2);
        fuzz_check_error(ok1, e1);
        fuzz_check_error(ok2, e2);
        if (!json_is_value((const char *)data, size) || has_half_characters(text))
                return 0;
        g_assert_true(ok1);
        /* yajl reports duplicate members. */
        if (!ok2 && strstr(e2->message, "a name twice"))
                return 0;
        g_assert_true(ok2);
        g_assert_cmpmem(one->str, one->len, other->str, other->len);
        return 0;
}
