/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/annotations.h"
#include "tempdir.h"

#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *
dump(const Annotations *a)
{
        if (!a)
                return g_strdup("none");
        GString *out = g_string_new(NULL);
        g_string_append_printf(out, "%s,%s", a->profile ? a->profile : "-", a->driver ? a->driver : "-");
        for (guint i = 0; i < a->options->len; i++) {
                const AnnotationOption *option = &g_array_index(a->options, AnnotationOption, i);
                g_string_append_printf(out, ",%s=%s", option->key, option->value);
        }
        return g_string_free(out, FALSE);
}

static void
assert_parsed(const char *text, size_t len, const char *found, const char *sentence)
{
        g_autoptr(Annotations) a = NULL;
        g_autoptr(GError) error = NULL;
        gboolean parsed = annotations_parse(text, len, &a, &error);
        g_test_message("%.200s", text);
        g_assert_cmpstr(error ? error->message : NULL, ==, sentence);
        g_assert_cmpint(parsed, ==, sentence == NULL);
        g_autofree char *dumped = dump(a);
        g_assert_cmpstr(dumped, ==, found);
}

#define IN(members) "{\"process\":{\"args\":[\"org.conmon.log/driver\"]},\"annotations\":{" members "}}"
#define P           "\"org.conmon.log/"

static void
test_good(void)
{
        static const struct {
                const char *text, *found;
        } cases[] = {
                {"", "none"},
                {"not json at all", "none"},
                {IN(""), "none"},
                {IN("\"a\":\"b\""), "none"},
                {IN("\"org.conmon.logs\":\"b\",\"xorg.conmon.log/driver\":\"b\""), "none"},
                {"{\"org.conmon.log/driver\":\"x\",\"annotations\":{\"a\":{\"org.conmon.log/"
                 "driver\":\"x\"}}}",
                 "none"},
                {"[{\"annotations\":{\"org.conmon.log/driver\":\"x\"}}]", "none"},
                {IN(P "profile\":\"a\""), "a,-"},
                {IN("\"org.conmon.log\\/profile\":\"a\""), "a,-"},
                {IN(P "driver\":\"syslog\"," P "opt.tag\":\"t;u\"," P "opt.mode\":\"\""),
                 "-,syslog,tag=t;u,mode="},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                assert_parsed(cases[i].text, strlen(cases[i].text), cases[i].found, NULL);
}

static void
test_bad(void)
{
#define A "Annotation org.conmon.log/"
        static const struct {
                const char *text, *sentence;
        } cases[] = {
                {IN(P "driver\":5"), A "driver: its value is not a string"},
                {IN(P "driver\":null"), A "driver: its value is not a string"},
                {IN(P "driver\":{\"x\":\"y\"}"), A "driver: its value is not a string"},
                {IN(P "driver\":[]"), A "driver: its value is not a string"},
                {IN(P "foo\":\"x\""), A "foo: it is unknown; there are profile, driver and opt.KEY"},
                {IN(P "\":\"x\""), A ": it is unknown; there are profile, driver and opt.KEY"},
                {IN(P "opt.\":\"x\""), A "opt.: it is unknown; there are profile, driver and opt.KEY"},
                {IN(P "Driver\":\"x\""), A "Driver: it is unknown; there are profile, driver and opt.KEY"},
                {IN(P "driver\":\"a\\u0000b\""), A "driver: its value is not plain text in one line"},
                {IN(P "opt.tag\":\"a\\nb\""), A "opt.tag: its value is not plain text in one line"},
                {IN(P "opt.tag\":\"a\xff\""), A "opt.tag: its value is not plain text in one line"},
                {IN(P "opt.a\\u001b[0m\":\"a\""), "An annotation org.conmon.log/… has a malformed name"},
                {IN(P "driver\":\"\""), A "driver: its value is empty"},
                {IN(P "profile\":\"\""), A "profile: its value is empty"},
                {IN(P "driver\":\"a\"," P "profile\":\"b\""),
                 "The annotations org.conmon.log/profile and org.conmon.log/driver contradict each other"},
                {IN(P "driver\":\"a\"") "}",
                 "Failed to read annotations in config.json: it is not valid JSON (byte 91 of 91)"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                assert_parsed(cases[i].text, strlen(cases[i].text), "none", cases[i].sentence);
}

/* Duplicate names are accepted or refused by the JSON library; the values here are equal. */
static void
test_duplicates(void)
{
        static const struct {
                const char *text, *found;
        } cases[] = {
                {IN(P "driver\":\"a\"," P "driver\":\"b\""), NULL},
                {IN(P "opt.x\":\"a\"," P "opt.x\":\"b\""), NULL},
                {IN(P "driver\":\"x\"," P "driver\":\"x\"," P "opt.a\":\"1\"," P "opt.a\":\"1\""), "-,x,a=1"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(Annotations) a = NULL;
                g_autoptr(GError) error = NULL;
                if (annotations_parse(cases[i].text, strlen(cases[i].text), &a, &error)) {
                        g_autofree char *dumped = dump(a);
                        g_assert_cmpstr(dumped, ==, cases[i].found);
                } else
                        g_assert_nonnull(strstr(error->message, " duplicate "));
        }
}

/* Sizes around each limit. */
static void
test_limits(void)
{
        g_autofree char *longest = g_strnfill(4096, 'v'), *too_long = g_strnfill(4097, 'v'),
                        *mebibyte = g_strnfill(1 << 20, 'v');
        g_autofree char *name = g_strnfill(129, 'n');
        g_autofree char *fine = g_strdup_printf(IN(P "driver\":\"%s\""), longest);
        g_autofree char *found = g_strconcat("-,", longest, NULL);
        assert_parsed(fine, strlen(fine), found, NULL);
        g_autofree char *longer = g_strdup_printf(IN(P "driver\":\"%s\""), too_long);
        assert_parsed(longer, strlen(longer), "none", A "driver: its value has 4097 bytes; 4096 are allowed");
        g_autofree char *huge = g_strdup_printf(IN(P "opt.tag\":\"%s\""), mebibyte);
        assert_parsed(huge, strlen(huge), "none", A "opt.tag: its value has 1048576 bytes; 4096 are allowed");
        g_autofree char *named = g_strdup_printf(IN(P "%s\":\"x\""), name);
        assert_parsed(named, strlen(named), "none", "An annotation org.conmon.log/… has a malformed name");
        g_autofree char *other = g_strdup_printf(IN("\"other\":\"%s\"," P "driver\":\"x\""), mebibyte);
        assert_parsed(other, strlen(other), "-,x", NULL);

        for (int n = 64; n <= 65; n++) {
                g_autoptr(GString) text = g_string_new("{\"annotations\":{" P "driver\":\"x\"");
                for (int i = 0; i < n; i++)
                        g_string_append_printf(text, "," P "opt.k%d\":\"v\"", i);
                g_string_append(text, "}}");
                g_autoptr(Annotations) a = NULL;
                g_autoptr(GError) error = NULL;
                g_assert_cmpint(annotations_parse(text->str, text->len, &a, &error), ==, n == 64);
                if (n == 65)
                        g_assert_cmpstr(error->message, ==, A "opt.k64: there are more than 64 options");
        }
}

static gboolean
read_annotations(const char *dir, Annotations **ret, GError **error)
{
        g_autoptr(ConfigJson) json = config_json_new(dir);
        return annotations_read(json, ret, error);
}

static void
test_read(void)
{
        char *dir = tempdir_new();
        g_autoptr(GError) error = NULL;
        g_autofree char *path = g_build_filename(dir, "config.json", NULL);
        Annotations *a = NULL;
        /* No file, an empty one, a directory, a FIFO: no annotations and no error. */
        g_assert_true(read_annotations(dir, &a, &error) && !a);
        tempdir_put(dir, "config.json", "");
        g_assert_true(read_annotations(dir, &a, &error) && !a);
        g_assert_cmpint(unlink(path), ==, 0);
        g_assert_cmpint(mkfifo(path, 0600), ==, 0);
        g_assert_true(read_annotations(dir, &a, &error) && !a);
        g_assert_cmpint(unlink(path), ==, 0);
        tempdir_put(dir, "config.json", IN(P "driver\":\"x\""));
        g_assert_true(read_annotations(dir, &a, &error));
        g_assert_cmpstr(a->driver, ==, "x");
        annotations_free(a);
        g_assert_cmpint(truncate(path, (64 << 20) + 1), ==, 0);
        g_assert_false(read_annotations(dir, &a, &error));
        g_assert_nonnull(strstr(error->message, "config.json has more than 67108864 bytes"));
        tempdir_remove(dir);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/config/annotations/good", test_good);
        g_test_add_func("/config/annotations/bad", test_bad);
        g_test_add_func("/config/annotations/duplicates", test_duplicates);
        g_test_add_func("/config/annotations/limits", test_limits);
        g_test_add_func("/config/annotations/read", test_read);
        return g_test_run();
}
