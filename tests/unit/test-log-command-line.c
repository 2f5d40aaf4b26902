/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "build-config.h"
#include "log-fixture.h"
#include "log/help.h"

#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The directory that the paths of the cases are relative to. */
static char *dir;

typedef struct {
        const char *paths[4];
        const char *error; /* NULL: success */
        const char *file;  /* the only files that must exist then */
} PathCase;

static const PathCase path_cases[] = {
        {{NULL}, "Log driver not provided. Use --log-path", NULL},
        {{""}, "log-path must not be empty", NULL},
        {{":"}, "log-path must not be empty", NULL},
        {{"::"}, "log-path must not be empty", NULL},
        {{"ctr.log"}, NULL, "ctr.log"},
        {{":ctr.log"}, NULL, "ctr.log"},
        {{":journald"}, NULL, "journald"},
        {{":none"}, NULL, "none"},
        {{"./none"}, NULL, "none"},
        {{"json-file"}, NULL, "json-file"},
        {{"K8S-FILE"}, NULL, "K8S-FILE"},
        {{"k8s-file:ctr.log"}, NULL, "ctr.log"},
        {{"k8s-file:a:b"}, NULL, "a:b"},
        {{":a:b"}, NULL, "a:b"},
        {{"k8s-file"}, "k8s-file requires a filename", NULL},
        {{"k8s-file:"}, "k8s-file requires a filename", NULL},
        {{"k8s-file::"}, "k8s-file requires a filename", NULL},
        {{"none"}, NULL, NULL},
        {{"off"}, NULL, NULL},
        {{"null"}, NULL, NULL},
        {{"none:"}, NULL, NULL},
        {{"off:x"}, NULL, NULL},
        {{"null:a:b"}, NULL, NULL},
        {{"passthrough"}, NULL, NULL},
        {{"passthrough:x"}, NULL, NULL},
        {{"foo:bar"}, "No such log driver foo", NULL},
        {{"foo:"}, "No such log driver foo", NULL},
        {{"a/b:c.log"}, "No such log driver a/b", NULL},
        {{"json-file:ctr.log"}, "No such log driver json-file", NULL},
        {{"ctr.log", "foo:", ""}, "No such log driver foo", NULL},
        {{"none", "", "foo:"}, "log-path must not be empty", NULL},
        {{"one", "two"}, NULL, "two"},
        {{"one", "none"}, NULL, "one"},
        {{"missing/ctr.log", "k8s-file"}, "k8s-file requires a filename", NULL},
        {{"missing/ctr.log"}, "Failed to open log file No such file or directory", NULL},
        {{"."}, "Failed to open log file Is a directory", NULL},
};

static void
check_paths(const PathCase *c)
{
        LogConfig config = log_fixture_config((char **)c->paths);
        g_autoptr(GError) error = NULL;
        Log *log = log_new(&config, &error);
        g_assert_cmpstr(error ? error->message : NULL, ==, c->error);
        g_assert_cmpint(log != NULL, ==, c->error == NULL);
        log_free(log);
        if (c->file) {
                struct stat st;
                g_assert_cmpint(lstat(c->file, &st), ==, 0);
                g_assert_cmpint(st.st_mode & 07777, ==, 0640);
                g_assert_cmpint(g_remove(c->file), ==, 0);
        }
        g_assert_cmpuint(tempdir_count("."), ==, 0);
}

static void
test_paths(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(path_cases); i++) {
                g_test_message("-l %s", path_cases[i].paths[0] ? path_cases[i].paths[0] : "(nothing)");
                check_paths(&path_cases[i]);
        }
}

static void
assert_error(const LogConfig *config, const char *sentence)
{
        g_autoptr(GError) error = NULL;
        g_assert_null(log_new(config, &error));
        g_assert_cmpstr(error ? error->message : "no error", ==, sentence);
}

static void
test_metadata(void)
{
        char *file[] = {(char *)"ctr.log", NULL}, *none[] = {(char *)"none", NULL};
        char *labels[] = {(char *)"A=b", NULL};
        LogConfig config = log_fixture_config(file);
        config.tag = "";
        assert_error(&config, "k8s-file doesn't support --log-tag");
        config.labels = labels;
        assert_error(&config, "k8s-file doesn't support --log-tag");
        config.tag = NULL;
        assert_error(&config, "k8s-file doesn't support --log-label");
        config.paths = none;
        log_free(log_fixture_start(&config));
        (void)g_remove("ctr.log");
}

static void
test_passthrough(void)
{
        char *paths[] = {(char *)"passthrough:x", NULL}, *file[] = {(char *)"ctr.log", NULL};
        LogConfig config = log_fixture_config(paths);
        Log *log = log_fixture_start(&config);
        g_assert_true(log_is_passthrough(log));
        log_free(log);
        config.paths = file;
        log = log_fixture_start(&config);
        g_assert_false(log_is_passthrough(log));
        log_free(log);
        (void)g_remove("ctr.log");
}

typedef struct {
        const char *drivers[3];
        const char *options[3];
        const char *error;
} DriverCase;

static const DriverCase driver_cases[] = {
        {{"k8s-file:ctr.log"}, {NULL}, NULL},
        {{"k8s-file:ctr.log"}, {"mode=blocking"}, NULL},
        {{"k8s-file:ctr.log"}, {"k8s-file.max-buffer-size=1m"}, NULL},
        {{"k8s-file"}, {NULL}, "k8s-file requires a filename"},
        {{"none:x"}, {NULL}, "Log driver none takes no argument (given as none:x)"},
        {{"k8s-file:ctr.log"},
         {"mode=fast"},
         "Log driver k8s-file: option mode can't be 'fast'; allowed: blocking, non-blocking, adaptive"},
        {{"k8s-file:ctr.log"},
         {"mode=blocking", "on-full=drop-oldest"},
         "Log driver k8s-file: mode=blocking and on-full=drop-oldest contradict each other"},
        {{"k8s-file:ctr.log"}, {"foo.mode=blocking"}, "--log-opt foo.mode=blocking: no such log driver foo"},
        {{"none"},
         {"k8s-file.mode=blocking"},
         "--log-opt k8s-file.mode=blocking: log driver k8s-file is not in use"},
        {{"fluentd"},
         {"fluentd-shared-key=x"},
         "Log driver fluentd: option fluentd-shared-key can't be given as such, because everybody could read "
         "the secret in the arguments; use fluentd-shared-key-file or fluentd-shared-key-env"},
        {{"k8s-file:ctr.log"},
         {"colour=red"},
         "--log-opt colour=red: no log driver in use has an option colour"},
        {{"k8s-file:ctr.log"},
         {"max-sise=1"},
         "--log-opt max-sise=1: no log driver in use has an option max-sise; did you mean max-size?"},
        {{"k8s-file:ctr.log", "fluentd"},
         {"max-file-size=1"},
         "--log-opt max-file-size=1: no log driver in use has an option max-file-size"},
        {{"k8s-file:ctr.log", "json-file:b"},
         {"max-sage=1"},
         "--log-opt max-sage=1: no log driver in use has an option max-sage; did you mean max-age?"},
        {{"none"}, {"max-size=1"}, "--log-opt max-size=1: log driver none has no options"},
        {{"k8s-file:ctr.log"},
         {"max-buffer-size=10"},
         "Log driver k8s-file: option max-buffer-size can't be '10'; allowed: a size such as 100k, 10m or "
         "1g, from 1k to 1g"},
        {{"fluentd"},
         {"fluentd-buffer-limit=10"},
         "Log driver fluentd: option fluentd-buffer-limit can't be '10'; allowed: a size such as 100k, 10m "
         "or 1g, from 1k to 1g"},
        {{"fluentd"},
         {"fluentd-address=host:notaport"},
         "Log driver fluentd: option fluentd-address can't be 'host:notaport'; allowed: tcp://HOST[:PORT], "
         "HOST[:PORT], tls://HOST[:PORT], unix://PATH"},
        {{"gelf"},
         {NULL},
         "Log driver gelf: gelf-address must be set, as udp://HOST:PORT, tcp://HOST:PORT or "
         "tls://HOST:PORT"},
        {{"loki"},
         {NULL},
         "Log driver loki: option loki-url must be set, as http://HOST[:PORT][/PATH] or "
         "https://HOST[:PORT][/PATH]"},
        {{"loki"},
         {"loki-batch-size=0"},
         "Log driver loki: option loki-batch-size can't be '0'; allowed: a size such as 100k, 10m or 1g, "
         "from 1 to 256m"},
        {{"local"},
         {NULL},
         "No such log driver local; json-file with max-size, max-file and compress does what Docker's does"},
        {{"awslogs"},
         {NULL},
         "No such log driver awslogs; an external logger can do it, as binary:///PROGRAM"},
        {{"json-file:ctr.log", "k8s-file:./ctr.log"},
         {NULL},
         "Log driver k8s-file: ./ctr.log is the file of json-file already; each log needs a file of its "
         "own"},
};

static void
test_drivers(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(driver_cases); i++) {
                const DriverCase *c = &driver_cases[i];
                LogConfig config = log_fixture_config(NULL);
                log_fixture_ask(&config, (char **)c->drivers, (char **)c->options);
                g_test_message("%s %s", c->drivers[0], c->options[0] ? c->options[0] : "");
                if (c->error)
                        assert_error(&config, c->error);
                else
                        log_free(log_fixture_start(&config));
                (void)g_remove("ctr.log");
        }
}

/* An option without DRIVER. does not apply to the drivers of -l. */
static void
test_option_scope(void)
{
        char *paths[] = {(char *)"a.log", NULL}, *drivers[] = {(char *)"k8s-file:b.log", NULL};
        char *bare[] = {(char *)"mode=blocking", NULL};
        LogConfig config = log_fixture_config(paths);
        log_fixture_ask(&config, NULL, bare);
        assert_error(&config, "--log-opt mode=blocking: without --log-driver it must name its driver, as in "
                              "k8s-file.mode=blocking");
        char *journal[] = {(char *)"journald", NULL};
        config.paths = journal;
        assert_error(&config, "--log-opt mode=blocking: without --log-driver it must name its driver, as in "
                              "journald.mode=blocking");
        config.paths = paths;
        log_fixture_ask(&config, drivers, bare);
        Log *log = log_fixture_start(&config);
        log_fixture_write(log, STREAM_STDOUT, "x\n");
        log_free(log);
        g_autofree char *a = log_fixture_read("a.log"), *b = log_fixture_read("b.log");
        g_assert_cmpstr(a, ==, TEST_CRI("stdout", "F") "x\n");
        g_assert_cmpstr(b, ==, a);
        (void)g_remove("a.log");
        (void)g_remove("b.log");
}

static void
assert_help(const char *value, const char *part)
{
        g_auto(GStrv) words = g_strsplit(value, ":", 2);
        g_autofree char *text = log_help(words[0], words[1]);
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, part));
}

/* A file that does not exist yet. ".." leaves the directory that a link leads to. */
static void
test_one_new_file_one_log(void)
{
        static const struct {
                const char *path;
                bool same;
        } cases[] = {{"json-file:deep/sub/a.log", true},
                     {"json-file:link/./a.log", true},
                     {"json-file:deep/sub/b.log", false},
                     {"json-file:link/../sub/a.log", true},
                     {"json-file:sub/a.log", false}};
        char *paths[] = {(char *)"k8s-file:link/a.log", NULL};
        g_assert_cmpint(g_mkdir_with_parents("deep/sub", 0700), ==, 0);
        g_assert_cmpint(g_mkdir("sub", 0700), ==, 0);
        g_assert_cmpint(symlink("deep/sub", "link"), ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                char *drivers[] = {(char *)cases[i].path, NULL};
                g_autoptr(GError) error = NULL;
                LogConfig config = log_fixture_config(paths);
                log_fixture_ask(&config, drivers, NULL);
                Log *log = log_new(&config, &error);
                g_test_message("%s", cases[i].path);
                g_assert_true(cases[i].same ? error && strstr(error->message, "already; each log needs")
                                            : !error);
                log_free(log);
                (void)g_remove("link/a.log");
                (void)g_remove("link/b.log");
                (void)g_remove("sub/a.log");
        }
        (void)g_remove("link");
        (void)g_rmdir("deep/sub");
        (void)g_rmdir("deep");
        (void)g_rmdir("sub");
}

/* With any spelling of the name, and through links. */
static void
test_one_file_one_log(void)
{
        char *paths[] = {(char *)"k8s-file:a.log", NULL}, *drivers[] = {(char *)"json-file:link", NULL};
        char *fifo[] = {(char *)"k8s-file:fifo", NULL}, *same_fifo[] = {(char *)"json-file:fifo", NULL};
        LogConfig config = log_fixture_config(paths);
        tempdir_put(dir, "a.log", "");
        g_assert_cmpint(symlink("a.log", "link"), ==, 0);
        log_fixture_ask(&config, drivers, NULL);
        assert_error(&config, "Log driver json-file: link is the file of k8s-file already; each log needs a "
                              "file of its own");
        g_assert_cmpint(mkfifo("fifo", 0600), ==, 0);
        config.paths = fifo;
        log_fixture_ask(&config, same_fifo, NULL);
        log_free(log_fixture_start(&config));
        (void)g_remove("a.log");
        (void)g_remove("link");
        (void)g_remove("fifo");
}

/* The help of every option says what applies if it is not set. */
static void
test_help_of_defaults(void)
{
        assert_help("k8s-file:help", "longer lines are split (from 64 to 1m; default 16384)\n");
        assert_help("syslog:help", "longer lines are split (from 64 to 1m; default 8000)\n");
        assert_help("k8s-file:help", "maximum size of a file; not set: unlimited (at least 1)\n");
        assert_help("syslog:help", "empty: RFC 3164 without host name\n");
        assert_help("fluentd:help",
                    "\n  fluentd-buffer-limit=SIZE\n        another name of max-buffer-size\n");
        assert_help("fluentd:help", "\n  fluentd-password-file=FILE\n");
        assert_help("json-file:help", "\n  redact-file=FILE\n");
}

static void
test_malformed_options(void)
{
        static const char *const malformed[] = {"mode", "=x", ""};
        g_autoptr(LogRequests) r = log_requests_new();
        for (size_t i = 0; i < G_N_ELEMENTS(malformed); i++) {
                g_autoptr(GError) error = NULL;
                g_autofree char *sentence =
                        g_strdup_printf("--log-opt %s is not of the form [DRIVER.]KEY=VALUE", malformed[i]);
                g_assert_false(log_requests_add_option(r, malformed[i], &error));
                g_assert_cmpstr(error->message, ==, sentence);
        }
}

/* Words of a command line, and the queue sizes of its sinks. */
typedef struct {
        const char *words[6]; /* with = or . an option, else a driver */
        const char *sizes;
} OrderCase;

static const OrderCase order_cases[] = {
        {{"k8s-file:a", "max-buffer-size=1k"}, "1024"},
        {{"max-buffer-size=1k", "k8s-file:a"}, "1024"},
        {{"max-buffer-size=1k", "k8s-file:a", "json-file:b"}, "1024 1024"},
        {{"k8s-file:a", "max-buffer-size=1k", "json-file:b"}, "1024 1048576"},
        {{"k8s-file:a", "json-file:b", "max-buffer-size=1k"}, "1048576 1024"},
        {{"max-buffer-size=2k", "k8s-file:a", "max-buffer-size=1k", "json-file:b"}, "1024 2048"},
        {{"k8s-file:a", "max-buffer-size=1k", "k8s-file:b", "max-buffer-size=2k"}, "1024 2048"},
        {{"k8s-file:a", "k8s-file:b", "k8s-file.max-buffer-size=2k"}, "2048 2048"},
        {{"k8s-file:a", "none", "max-buffer-size=2k"}, "2048"},
};

static void
test_order(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(order_cases); i++) {
                const OrderCase *c = &order_cases[i];
                LogConfig config = log_fixture_config(NULL);
                g_autoptr(LogRequests) given = log_requests_new(), r = log_requests_new();
                for (int k = 0; c->words[k]; k++) {
                        if (strchr(c->words[k], '='))
                                g_assert_true(log_requests_add_option(given, c->words[k], NULL));
                        else
                                (void)log_requests_add(given, c->words[k], LOG_SOURCE_COMMAND_LINE, NULL);
                }
                log_requests_add_command_line(r, given);
                config.requests = r;
                config.bundle = dir;
                Log *log = log_fixture_start(&config);
                g_autofree char *path = NULL, *status = NULL;
                g_assert_true(log_describe(log, false, "", &path, &status));
                log_free(log);
                g_autoptr(GString) sizes = g_string_new(NULL);
                for (const char *at = status; (at = strstr(at, "\"max\":")); at += 6)
                        g_string_append_printf(sizes, "%s%d", sizes->len ? " " : "", atoi(at + 6));
                g_test_message("case %zu", i);
                g_assert_cmpstr(sizes->str, ==, c->sizes);
                (void)g_remove("a");
                (void)g_remove("b");
        }
}

static void
test_help(void)
{
        assert_help("help", "\n  json-file:PATH       a file in Docker's format");
        assert_help("help", "\n  none ");
        assert_help("k8s-file:help",
                    "\n  mode=blocking|non-blocking|adaptive\n"
                    "        whether the container waits while the queue is full; adaptive: only while "
                    "the destination makes progress (default adaptive)\n");
        assert_help("json-file:help", "\n  labels=A,B,...\n");
        assert_help("json-file:help", "\n  max-size=SIZE\n        maximum size of a file; not "
                                      "set: unlimited (at least 1)\n");
        assert_help("json-file:help", "\n  include=TEXT\n");
        assert_help("none:help", "none ");
        g_assert_null(log_help("nope", "help"));
        g_assert_null(log_help("k8s-file", "helpful"));
        g_assert_null(log_help("k8s-file", NULL));
        g_assert_null(log_help("k8s-file", "./help"));
}

/* In a build without conmon-tls. */
static void
test_no_tls(void)
{
        static const char *const cases[][3] = {
                {"syslog", "syslog-address=tcp+tls://127.0.0.1:6514", "tcp+tls://127.0.0.1:6514"},
                {"fluentd", "fluentd-address=tls://127.0.0.1:24224", "tls://127.0.0.1:24224"},
                {"gelf", "gelf-address=tls://127.0.0.1:12201", "tls://127.0.0.1:12201"},
                {"loki", "loki-url=https://127.0.0.1:3100", "https://127.0.0.1:3100"},
        };
        char *paths[] = {(char *)"none", NULL};
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                LogConfig config = log_fixture_config(paths);
                char *drivers[] = {(char *)cases[i][0], NULL}, *options[] = {(char *)cases[i][1], NULL};
                g_autofree char *error = log_fixture_refusal(&config, drivers, options);
                g_autofree char *wanted =
                        g_strdup_printf("Log driver %s: '%s' needs TLS, which this conmon was built without",
                                        cases[i][0], cases[i][2]);
                g_assert_cmpstr(error, ==, wanted);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        log_fixture_set_up();
        dir = tempdir_new();
        g_assert_cmpint(g_chdir(dir), ==, 0);
        g_test_add_func("/log/command-line/paths", test_paths);
        g_test_add_func("/log/command-line/malformed-options", test_malformed_options);
        g_test_add_func("/log/command-line/order", test_order);
        g_test_add_func("/log/command-line/metadata", test_metadata);
        g_test_add_func("/log/command-line/passthrough", test_passthrough);
        g_test_add_func("/log/command-line/drivers", test_drivers);
        g_test_add_func("/log/command-line/option-scope", test_option_scope);
        g_test_add_func("/log/command-line/one-file-one-log", test_one_file_one_log);
        g_test_add_func("/log/command-line/one-new-file-one-log", test_one_new_file_one_log);
        g_test_add_func("/log/command-line/help", test_help);
        g_test_add_func("/log/command-line/help-of-defaults", test_help_of_defaults);
        g_unsetenv("CONMON_TLS");
        if (!*CONMON_TLS_PROGRAM)
                g_test_add_func("/log/command-line/no-tls", test_no_tls);
        int r = g_test_run();
        (void)g_chdir("/");
        tempdir_remove(dir);
        return r;
}
