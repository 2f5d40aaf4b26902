/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json_check.h"

#include <glib.h>
#include <string.h>

static void
test_values(void)
{
        static const char *const good[] = {
                "{}",          "[]",
                " [ ] ",       "0",
                "-0",          "1",
                "-12.50e+3",   "1E9",
                "1e-2",        "true",
                "false",       "null",
                "\"\"",        "\"a\\n\\\"\\/\\u00e9\"",
                "{\"a\":1}",   "{ \"a\" : [ 1 , {\"b\":null} ] , \"\":\"\" }",
                "\t[1,2]\r\n", "\"\xc3\xa4\"",
        };
        static const char *const bad[] = {
                "",        " ",        "{",       "}",           "[",      "[1,]",  "[,1]",
                "{\"a\"}", "{\"a\":}", "{a:1}",   "{\"a\":1,}",  "01",     "1.",    ".1",
                "-",       "+1",       "1e",      "1e+",         "tru",    "truex", "nul",
                "\"",      "\"a",      "\"\\x\"", "\"\\u12g4\"", "\"\t\"", "1 2",   "[1 2]",
                "[1]]",    "\"\xff\"", "NaN",     "'a'",
        };
        for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
                if (!json_is_value(good[i], strlen(good[i])))
                        g_error("'%s' is refused", good[i]);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                if (json_is_value(bad[i], strlen(bad[i])))
                        g_error("'%s' is accepted", bad[i]);
        /* The length is respected. */
        g_assert_true(json_is_value("12x", 2));
        g_assert_false(json_is_value("true", 3));
}

static void
test_nesting(void)
{
        for (size_t n = 1; n < 1000; n++) {
                g_autofree char *open = g_strnfill(n, '['), *close = g_strnfill(n, ']');
                g_autofree char *text = g_strconcat(open, close, NULL);
                g_assert_cmpint(json_is_value(text, 2 * n), ==, n <= 64);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/json-check/values", test_values);
        g_test_add_func("/json-check/nesting", test_nesting);
        return g_test_run();
}
