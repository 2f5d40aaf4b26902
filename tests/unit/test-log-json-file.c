/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log-fixture.h"

#include <glib/gstdio.h>

/* A json-file log in a temporary directory. */
typedef struct {
        char *dir;
        char *driver;
        char *drivers[2];
        char *options[8];
        LogConfig config;
        Log *log;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
        f->dir = tempdir_new();
        f->driver = g_strdup_printf("json-file:%s/ctr.log", f->dir);
        f->drivers[0] = f->driver;
        f->config = log_fixture_config(NULL);
        f->config.name = "web";
}

static void
tear_down(Fixture *f, gconstpointer data)
{
        log_free(f->log);
        log_fixture_bundle(&f->config, NULL);
        g_free(f->driver);
        tempdir_remove(f->dir);
}

static void
assert_file(const Fixture *f, const char *text)
{
        g_autofree char *content = tempdir_get(f->dir, "ctr.log");
        g_assert_cmpstr(content, ==, text);
}

#define LINE(log, stream) \
        "{\"log\":\"" log "\",\"stream\":\"" stream "\",\"time\":\"2023-11-14T22:13:20.123456789Z\"}\n"

static void
test_format(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "hello\n\npart");
        log_fixture_write(f->log, STREAM_STDERR, "err\r\n");
        log_fixture_write(f->log, STREAM_STDOUT, "ial\n");
        assert_file(f, LINE("hello\\n", "stdout") LINE("\\n", "stdout")
                       LINE("part", "stdout") LINE("err\\r\\n", "stderr")
                               LINE("ial\\n", "stdout"));
}

static void
test_escapes(Fixture *f, gconstpointer data)
{
        static const char text[] = "\"\\\t\b<>&\x7f\x01\x1f\0z\n"
                                   "caf\xc3\xa9 \xe2\x80\xa8\xe2\x80\xa9 \xf0\x9f\x90\xa7\n"
                                   "\xff\xc3 \xe2\x80\xc3(\xed\xa0\x80\xf5\xc0\xaf\xc3\n"
                                   "0123456789abcdef0123456789abcdef\"0123456789abcde\xc3\xa9.\n"
                                   "123456789abcdef&123456789abcdef<123456789abcdef>\n"
                                   "0\\23456789abcdef01234567\b9abcdef0\0" "23456789abcdef\n";
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        (void)log_write(f->log, STREAM_STDOUT, text, sizeof text - 1, false, TEST_NS);
        log_flush(f->log);
        assert_file(f,
                    LINE("\\\"\\\\\\u0009\\u0008\\u003c\\u003e\\u0026\x7f\\u0001\\u001f\\u0000z\\n", "stdout")
                    LINE("caf\xc3\xa9 \\u2028\\u2029 \xf0\x9f\x90\xa7\\n", "stdout")
                    LINE("\\ufffd\\ufffd \\ufffd\\ufffd\\ufffd("
                         "\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\n", "stdout")
                    LINE("0123456789abcdef0123456789abcdef\\\"0123456789abcde\xc3\xa9.\\n", "stdout")
                    LINE("123456789abcdef\\u0026123456789abcdef\\u003c123456789abcdef\\u003e\\n", "stdout")
                    LINE("0\\\\23456789abcdef01234567\\u00089abcdef0\\u000023456789abcdef\\n", "stdout"));
}

static void
write_at(Fixture *f, const char *text, int64_t ns)
{
        g_assert_cmpuint(log_write(f->log, STREAM_STDOUT, text, strlen(text), false, ns), ==, strlen(text));
        log_flush(f->log);
}

static void
test_times(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        write_at(f, "a\n", INT64_C(1700000000000000000));
        write_at(f, "b\n", INT64_C(1700000000120000000));
        write_at(f, "c", INT64_C(1700000001000000000));
        write_at(f, "c", INT64_C(1700000002000000000));
        write_at(f, "c\nd\n", INT64_C(1700000003000000001));
        assert_file(f,
                    "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20Z\"}\n"
                    "{\"log\":\"b\\n\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:20.12Z\"}\n"
                    "{\"log\":\"c\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:21Z\"}\n"
                    "{\"log\":\"c\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:21Z\"}\n"
                    "{\"log\":\"c\\n\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:21Z\"}\n"
                    "{\"log\":\"d\\n\",\"stream\":\"stdout\",\"time\":\"2023-11-14T22:13:23.000000001Z\"}\n");
}

/* The longest record with only six-byte escapes: max_encoded_len is exact. */
static void
test_worst_case(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        g_autofree char *text = g_strnfill(60000, '\x01');
        log_fixture_write(f->log, STREAM_STDOUT, text);
        g_autofree char *content = tempdir_get(f->dir, "ctr.log");
        g_assert_cmpuint(strlen(content), ==, 60000 * 6 + 4 * (strlen(LINE("", "stdout"))));
}

static void
test_attributes(Fixture *f, gconstpointer data)
{
        char *labels[] = {(char *)"ZONE=a=b", (char *)"cmd=<1>", NULL};
        log_fixture_bundle(&f->config, f->dir);
        tempdir_put(f->dir, "config.json",
                    "{\"process\":{\"args\":[\"LANG=no\"],\"env\":[\"PATH=/"
                    "bin\",\"LANG=C.UTF-8\",\"X=a=\\\"b\\\"\\u0009\","
                    "\"NOVALUE\"]},\"annotations\":{\"org.x.team\":\"blue\",\"other\":\"no\",\"cmd\":"
                    "\"over\"}}");
        f->options[0] = (char *)"tag={{.Name}}/{{ .ID }}";
        f->options[1] = (char *)"labels=org.x.team,missing,cmd";
        f->options[2] = (char *)"env=X,LANG,NOVALUE,GONE";
        f->config.labels = labels;
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDERR, "x\n");
        assert_file(f,
                    "{\"log\":\"x\\n\",\"stream\":\"stderr\",\"attrs\":{\"LANG\":\"C.UTF-8\",\"X\":\"a="
                    "\\\"b\\\"\\u0009\","
                    "\"ZONE\":\"a=b\",\"cmd\":\"over\",\"org.x.team\":\"blue\",\"tag\":\"web/0123456789ab\"},"
                    "\"time\":\"2023-11-14T22:13:20.123456789Z\"}\n");
}

/* An expression matches any part of a name; items selected twice occur once. */
static void
test_chosen_attributes(Fixture *f, gconstpointer data)
{
        log_fixture_bundle(&f->config, f->dir);
        tempdir_put(f->dir, "config.json",
                    "{\"process\":{\"env\":[\"LANG=C\",\"MY_X=1\",\"b=var\"]},\"annotations\":"
                    "{\"org.x.team\":\"blue\",\"org.y\":\"no\",\"a.x.\":\"2\",\"b\":\"over\"}}");
        f->options[0] = (char *)"labels=b,org.x.team";
        f->options[1] = (char *)"labels-regex=\\.x\\.";
        f->options[2] = (char *)"env-regex=^(?i:my_|B$)";
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDERR, "x\n");
        assert_file(f,
                    "{\"log\":\"x\\n\",\"stream\":\"stderr\",\"attrs\":{\"MY_X\":\"1\",\"a.x.\":\"2\","
                    "\"b\":\"var\",\"org.x.team\":\"blue\"},\"time\":\"2023-11-14T22:13:20.123456789Z\"}\n");
}

/* Matching of some expressions takes exponential time; it is aborted then. */
static void
test_endless_expression(Fixture *f, gconstpointer data)
{
        g_autofree char *name = g_strnfill(40, 'a');
        g_autofree char *json = g_strdup_printf("{\"annotations\":{\"%s!\":\"\"}}", name);
        log_fixture_bundle(&f->config, f->dir);
        tempdir_put(f->dir, "config.json", json);
        f->options[0] = (char *)"labels-regex=^(a|aa|aaa)+$";
        g_autofree char *message = log_fixture_refusal(&f->config, f->drivers, f->options);
        g_assert_nonnull(strstr(message, " limit"));
}

static void
assert_log_with_tag(Fixture *f, const char *template, const char *tag)
{
        g_autofree char *option = g_strconcat("tag=", template, NULL);
        f->options[0] = template ? option : NULL;
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDERR, "x\n");
        g_autofree char *attrs = *tag ? g_strdup_printf("\"attrs\":{\"tag\":\"%s\"},", tag) : g_strdup("");
        g_autofree char *line = g_strdup_printf("{\"log\":\"x\\n\",\"stream\":\"stderr\",%s\"time\":\"2023-"
                                                "11-14T22:13:20.123456789Z\"}\n",
                                                attrs);
        assert_file(f, line);
        g_clear_pointer(&f->log, log_free);
        g_autofree char *path = g_build_filename(f->dir, "ctr.log", NULL);
        (void)g_remove(path);
}

static void
assert_tag(Fixture *f, const char *template, const char *tag)
{
        log_fixture_bundle(&f->config, f->dir);
        assert_log_with_tag(f, template, tag);
}

static void
test_tags(Fixture *f, gconstpointer data)
{
        assert_tag(f, NULL, "");
        assert_tag(f, "plain", "plain");
        assert_tag(f, "{{.FullID}}", TEST_CID);
        assert_tag(f, "{{.Hostname}}", g_get_host_name());
        f->config.tag = "{{not a template}}";
        assert_tag(f, NULL, "{{not a template}}");
        assert_tag(f, "x", "x");
        f->config.tag = NULL;
        tempdir_put(f->dir, "config.json", "{\"annotations\":{}}");
        assert_tag(f, "{{.ImageName}}", "");
        tempdir_put(f->dir, "config.json",
                    "{\"annotations\":{\"io.kubernetes.cri-o.ImageName\":\"img:1\",\"io.kubernetes.cri-o."
                    "ImageRef\":\"0123456789abcdef\",\"org.opencontainers.image.ref.name\":\"other\"}}");
        assert_tag(f, "{{.ImageName}} {{.ImageID}} {{.ImageFullID}}", "img:1 0123456789ab 0123456789abcdef");
        assert_tag(f, "{{.Command}}|{{.DaemonName}}|{{upper .Name}}", "||WEB");
        tempdir_put(f->dir, "config.json",
                    "{\"process\":{\"args\":[\"sleep\",\"1 0\"]},"
                    "\"annotations\":{\"io.container.manager\":\"libpod\"}}");
        assert_tag(f, "{{.Command}}|{{.DaemonName}}", "sleep 1 0|podman");
        f->config.name = NULL;
        assert_tag(f, "{{.Name}}", "0123456789ab");
}

static void
assert_refused(Fixture *f, const char *option, const char *expected)
{
        f->options[0] = (char *)option;
        g_autofree char *message = log_fixture_refusal(&f->config, f->drivers, f->options);
        g_autofree char *sentence = g_strdup_printf(expected, f->dir);
        g_assert_cmpstr(message, ==, sentence);
}

static void
test_refusals(Fixture *f, gconstpointer data)
{
        log_fixture_bundle(&f->config, f->dir);
        assert_refused(f, "tag={{.Daemon}}",
                       "Log option tag={{.Daemon}}: there is no field .Daemon; fields are .ID, .FullID, "
                       ".Name, .Hostname, .DaemonName, .Command, .ImageName, .ImageID and .ImageFullID");
        assert_refused(f, "tag={{.ID", "Log option tag={{.ID: a {{ has no }} where it should be");
        assert_refused(f, "env-regex=a(b",
                       "Log driver json-file: option labels-regex or env-regex can't be 'a(b', which is no "
                       "regular expression: missing "
                       "terminating )");
        assert_refused(f, "labels=a", "Failed to read %s/config.json: No such file or directory");
        tempdir_put(f->dir, "config.json", "{\"annotations\":{\"a\":}}");
        g_autofree char *message = log_fixture_refusal(&f->config, f->drivers, f->options);
        g_assert_true(g_str_has_prefix(message, "Failed to read "));
        assert_refused(f, "max-size=0",
                       "Log driver json-file: option max-size can't be '0'; allowed: a size such as 100k, "
                       "10m or 1g, at least 1");
        assert_refused(f, "max-file=2", "Log option max-file=2 has no effect without max-size or max-age");
        assert_refused(f, "compress=true",
                       "Log option compress=true needs max-size or max-age, and a max-file of at least 2");
        log_fixture_bundle(&f->config, NULL);
        assert_refused(f, "env=a",
                       "Log options for labels, env, the command and the image need the container's "
                       "config.json; "
                       "use --bundle");
        f->drivers[0] = (char *)"json-file";
        assert_refused(f, NULL, "json-file requires a filename");
        f->drivers[0] = (char *)"json-file:/nonexistent/x";
        assert_refused(f, NULL, "Failed to open log file /nonexistent/x: No such file or directory");
}

/* Options that need no config.json don't open it. */
static void
test_bundle_is_optional(Fixture *f, gconstpointer data)
{
        log_fixture_bundle(&f->config, "/nonexistent");
        assert_log_with_tag(f, "{{.ID}}", "0123456789ab");
}

#define ADD(name, func) g_test_add("/log/json-file/" name, Fixture, NULL, set_up, func, tear_down)

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        log_fixture_set_up();
        ADD("format", test_format);
        ADD("escapes", test_escapes);
        ADD("times", test_times);
        ADD("worst-case", test_worst_case);
        ADD("attributes", test_attributes);
        ADD("chosen-attributes", test_chosen_attributes);
        ADD("endless-expression", test_endless_expression);
        ADD("tags", test_tags);
        ADD("refusals", test_refusals);
        ADD("bundle-is-optional", test_bundle_is_optional);
        return g_test_run();
}
