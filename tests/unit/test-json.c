#include "base/json.h"

#include <glib.h>
#include <string.h>

/* Writes "a/b=text " for each value, with ? for what is not a string. */
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
                g_string_append_c(out, '?');
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
                {"{\"a\":{\"b\":\"c\",\"d\":\"e\"},\"f\":\"g\"}", "a=? a/b=c a/d=e f=g "},
                {"{\"p\":{\"env\":[\"A=1\",\"B=2\"],\"x\":1}}", "p=? p/env=? p/env/=A=1 p/env/=B=2 p/x=? "},
                {"[{\"a\":\"1\"},{\"b\":\"2\"},true,null,1.5]", "=? /a=1 =? /b=2 =? =? =? "},
                {"{\"a\":{\"b\":{\"c\":{\"d\":\"4\",\"e\":{\"f\":\"5\"}},\"g\":\"3\"}}}",
                 "a=? a/b=? a/b/c=? a/b/c/d=4 a/b/c/e=? a/b/g=3 "},
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
        assert_string("a\"\\/\n\r\t\x01\x7f", 9, "\"a\\\"\\\\/\\n\\r\\t\\u0001\x7f\"");
        assert_string("a\0b", 3, "\"a\\u0000b\"");
        assert_string("<&>", 3, "\"\\u003c\\u0026\\u003e\"");
        assert_string("\xc3\xa9\xe2\x80\xa8", 5, "\"\xc3\xa9\\u2028\"");
        assert_string("\xff" "a\xc3", 3, "\"\xef\xbf\xbd" "a\xef\xbf\xbd\"");
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/json/read", test_read);
        g_test_add_func("/json/nesting", test_nesting);
        g_test_add_func("/json/strange-strings", test_strange_strings);
        g_test_add_func("/json/append", test_append);
        return g_test_run();
}
