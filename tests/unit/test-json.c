/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json.h"

#include <glib.h>
#include <string.h>

/* Writes "a/b=text " for each value; values without text are written as a letter. */
static void
note(const JsonValue *value, void *data)
{
        GString *out = data;
        for (size_t i = 0; i < value->depth; i++)
                g_string_append_printf(out, "%s%s", i ? "/" : "", value->path[i]);
        g_string_append_c(out, '=');
        if (value->text)
                g_string_append_len(out, value->text, (gssize)value->len);
        else
                g_string_append_c(out, "NFT##AO"[value->kind]);
        g_string_append_c(out, ' ');
}

static char *
read_all(const char *text, size_t len)
{
        GString *out = g_string_new(NULL);
        g_autoptr(GError) error = NULL;
        if (json_read(text, len, note, out, &error)) {
                g_assert_no_error(error);
                return g_string_free(out, FALSE);
        }
        g_assert_nonnull(error);
        g_string_free(out, TRUE);
        return NULL;
}

static void
test_read(void)
{
        static const struct {
                const char *text, *values; /* NULL: an error */
        } cases[] = {
                {"{}", ""},
                {"[]", ""},
                {"\"x\"", ""},
                {"{\"a\":\"b\"}", "a=b "},
                {"{\"a\":{\"b\":\"c\",\"d\":\"e\"},\"f\":\"g\"}", "a=O a/b=c a/d=e f=g "},
                {"{\"p\":{\"env\":[\"A=1\",\"B=2\"],\"x\":1}}", "p=O p/env=A p/env/=A=1 p/env/=B=2 p/x=1 "},
                {"[{\"a\":\"1\"},{\"b\":\"2\"},true,false,null,-1.5e3]", "=O /a=1 =O /b=2 =T =F =N =-1.5e3 "},
                {"{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":\"6\",\"g\":{\"h\":\"7\"}},\"i\":\"5\"}}}}}",
                 "a=O a/b=O a/b/c=O a/b/c/d=O a/b/c/d/e=O a/b/c/d/e/f=6 a/b/c/d/e/g=O a/b/c/d/i=5 "},
                {"{\"a\\/b\":\"\\u0041\\n\"}", "a/b=A\n "},
                {"", NULL},
                {"{", NULL},
                {"{\"a\":\"b\"", NULL},
                {"{\"a\":\"b\"}}", NULL},
                {"{\"a\" \"b\"}", NULL},
                {"{a:1}", NULL},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *values = read_all(cases[i].text, strlen(cases[i].text));
                g_test_message("%s", cases[i].text);
                g_assert_cmpstr(values, ==, cases[i].values);
        }
}

static void
test_nesting(void)
{
        for (int depth = 900; depth <= 1100; depth += 200) {
                GString *text = g_string_new(NULL);
                for (int i = 0; i < depth; i++)
                        g_string_append_c(text, '[');
                for (int i = 0; i < depth; i++)
                        g_string_append_c(text, ']');
                g_autofree char *values = read_all(text->str, text->len);
                g_assert_cmpint(values != NULL, ==, depth < 1000);
                g_string_free(text, TRUE);
        }
}

static void
test_strange_strings(void)
{
        const char text[] = "{\"a\":\"x\\u0000y\",\"b\":\"\xff\"}";
        g_autofree char *values = read_all(text, sizeof text - 1);
        g_assert_cmpmem(values, 6, "a=x\0y ", 6);
}

static void
assert_string(const char *text, size_t len, const char *expected)
{
        g_autoptr(GString) out = g_string_new(NULL);
        json_append_string(out, text, len);
        g_assert_cmpstr(out->str, ==, expected);
}

static void
test_append(void)
{
        assert_string("", 0, "\"\"");
        assert_string("a\"\\/\n\r\t\x01\x7f", 9, "\"a\\\"\\\\/\\n\\r\\u0009\\u0001\x7f\"");
        assert_string("a\0b", 3, "\"a\\u0000b\"");
        assert_string("<&>", 3, "\"\\u003c\\u0026\\u003e\"");
        assert_string("\xc3\xa9\xe2\x80\xa8", 5, "\"\xc3\xa9\\u2028\"");
        assert_string("\xff" "a\xc3", 3, "\"\\ufffda\\ufffd\"");
}

/* Reading a long string in pieces does not split characters. */
static void
test_append_long(void)
{
        for (size_t ahead = 0; ahead < 4; ahead++) {
                g_autoptr(GString) text = g_string_new(NULL);
                g_autoptr(GString) out = g_string_new(NULL);
                for (size_t i = 0; i < ahead; i++)
                        g_string_append_c(text, 'x');
                for (size_t i = 0; i < 1000; i++)
                        g_string_append(text, "\xf0\x9f\x90\xa7");
                json_append_string(out, text->str, text->len);
                g_assert_cmpuint(out->len, ==, text->len + 2);
                g_assert_cmpmem(out->str + 1, text->len, text->str, text->len);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/json/read", test_read);
        g_test_add_func("/json/nesting", test_nesting);
        g_test_add_func("/json/strange-strings", test_strange_strings);
        g_test_add_func("/json/append", test_append);
        g_test_add_func("/json/append-long", test_append_long);
        return g_test_run();
}
