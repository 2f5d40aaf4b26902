/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/template.h"

#include <string.h>

static char *
get_field(const char *field, const void *data)
{
        if (strcmp(field, ".ID") == 0)
                return g_strdup("0123456789ab");
        if (strcmp(field, ".Name") == 0)
                return g_strdup("web-1-blue");
        return strcmp(field, ".Empty") == 0 ? g_strdup("") : NULL;
}

static const LogTemplateFields fields = {get_field, NULL, ".ID, .Name and .Empty"};

/* The expected results are those of Docker. */
static void
test_expand(void)
{
        static const struct {
                const char *template, *expected;
        } cases[] = {
                {"", ""},
                {"plain }} text", "plain }} text"},
                {"{{.ID}}/{{ .Name }}", "0123456789ab/web-1-blue"},
                {"{{.Empty}}", ""},
                {"a  {{- .Name -}}  b", "aweb-1-blueb"},
                {"a {{.Name}} b", "a web-1-blue b"},
                {"{{\"}}\"}}{{`\\n`}}{{\"\\n\\\"\"}}", "}}\\n\n\""},
                {"{{printf \"%s_%s\" .Name .ID}}", "web-1-blue_0123456789ab"},
                {"{{printf \"%.6s|%14s|%-14s|%%\" .ID .ID .ID}}", "012345|  0123456789ab|0123456789ab  |%"},
                {"{{printf \"%d-%04d-%v-%q\" 7 8 9 .Name}}", "7-0008-9-\"web-1-blue\""},
                {"{{upper .Name}}{{lower \"AB\"}}{{title \"a bc-de\"}}", "WEB-1-BLUEabA Bc-De"},
                {"{{.Name | upper | printf \"<%s>\"}}", "<WEB-1-BLUE>"},
                {"{{truncate .ID 4}}{{truncate .ID 40}}", "01230123456789ab"},
                {"{{slice .ID 2 5}},{{slice .ID 10}}", "234,ab"},
                {"{{pad .Name 1 2}}{{pad .Empty 1 2}}.", " web-1-blue  ."},
                {"{{join (split .Name \"-\") \"_\"}}", "web_1_blue"},
                {"{{index (split .Name \"-\") 2}}", "blue"},
                {"{{split .Name \"-\"}}", "[web 1 blue]"},
                {"{{json .Name}}{{json (split .Name \"-\")}}{{json 5}}",
                 "\"web-1-blue\"[\"web\",\"1\",\"blue\"]5"},
                {"{{len .ID}} {{len (split .Name \"\")}}", "12 10"},
                {"{{print .ID 1 2 .Name}}{{println 1 .ID}}", "0123456789ab1 2web-1-blue1 0123456789ab\n"},
                {"{{((.ID))}}{{-1}}", "0123456789ab-1"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                g_assert_true(log_template_check(cases[i].template, &fields, &error));
                g_assert_no_error(error);
                g_autofree char *text = log_template_expand(cases[i].template, &fields, &error);
                g_assert_no_error(error);
                g_assert_cmpstr(text, ==, cases[i].expected);
        }
}

static void
test_refused(void)
{
        static const struct {
                const char *template, *expected; /* the beginning of the message */
        } cases[] = {
                {"{{",
                 "'' is not supported; functions are index, join, json, len, lower, pad, print, printf, "},
                {"{{}}", "'' is not supported; "},
                {"{{.ID", "a {{ has no }} where it should be"},
                {"{{.ID}", "a {{ has no }} where it should be"},
                {"{{.ID .Name}}", "a {{ has no }} where it should be"},
                {"{{(.ID}}", "a parenthesis has no end"},
                {"{{\"x}}", "a text in it has no end"},
                {"{{.Nome}}", "there is no field .Nome; fields are .ID, .Name and .Empty"},
                {"{{.ID.Name}}", "there is no field .ID.Name; "},
                {"{{.}}", "there is no field .; "},
                {"{{if .ID}}x{{end}}", "'if' is not supported; "},
                {"{{range .ID}}x{{end}}", "'range' is not supported; "},
                {"{{$x := .ID}}", "'$x' is not supported; "},
                {"{{/* x */}}", "'/*' is not supported; "},
                {"{{.ID | .Name}}", "what follows a | must be a function"},
                {"{{upper}}", "upper has 0 arguments"},
                {"{{upper .ID .Name}}", "upper has 2 arguments"},
                {"{{upper 5}}", "argument 1 of upper must be a text"},
                {"{{truncate .ID .ID}}", "argument 2 of truncate must be a number"},
                {"{{join .ID \",\"}}", "argument 1 of join must be a list"},
                {"{{printf \"%x\" .ID}}", "printf knows %s, %v, %d and %q "},
                {"{{printf \"%s\"}}", "printf knows %s, %v, %d and %q "},
                {"{{printf \"%999999999s\" .ID}}", "printf knows %s, %v, %d and %q "},
                {"{{printf \"%d\" .ID}}", "printf has an argument that %d is not for"},
                {"{{printf \"x\" .ID}}", "printf has more arguments "},
                {"{{pad .ID 257 0}}", "pad adds from 0 to 256 blanks"},
                {"{{truncate .ID -1}}", "truncate needs a length "},
                {"{{len 5}}", "len needs a text or a list"},
                {"{{((((((((((((((((.ID))))))))))))))))}}", "it has more than 16 parentheses "},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                g_test_message("%s", cases[i].template);
                g_assert_false(log_template_check(cases[i].template, &fields, &error));
                g_assert_true(g_str_has_prefix(error->message, cases[i].expected));
                g_clear_error(&error);
                g_assert_null(log_template_expand(cases[i].template, &fields, &error));
                g_assert_true(g_str_has_prefix(error->message, cases[i].expected));
        }
}

/* Errors that depend on values are found when the values are known. */
static void
test_refused_values(void)
{
        static const char *const cases[] = {"{{slice .ID 3 13}}", "{{index (split .Name \"-\") 3}}",
                                            "{{slice .ID 3 2}}", "{{index (split .Name \"-\") -1}}"};
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                g_assert_true(log_template_check(cases[i], &fields, &error));
                g_assert_no_error(error);
                g_assert_null(log_template_expand(cases[i], &fields, &error));
                g_assert_nonnull(strstr(error->message, " does not have"));
        }
}

/* A short template can't produce a very long text. */
static void
test_growth(void)
{
        GString *template = g_string_new(".ID");
        for (int i = 0; i < 7; i++) {
                g_string_prepend(template, "(join (split ");
                g_string_append(template, " \"\") .ID)");
        }
        g_string_prepend(template, "{{");
        g_string_append(template, "}}");
        g_autoptr(GError) error = NULL;
        g_assert_null(log_template_expand(template->str, &fields, &error));
        g_assert_cmpstr(error->message, ==, "it makes a text of more than 4096 bytes");
        g_string_free(template, TRUE);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/template/expand", test_expand);
        g_test_add_func("/log/template/refused", test_refused);
        g_test_add_func("/log/template/refused-values", test_refused_values);
        g_test_add_func("/log/template/growth", test_growth);
        return g_test_run();
}
