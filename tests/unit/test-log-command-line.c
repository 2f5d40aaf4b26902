#include "log-fixture.h"

#include <glib/gstdio.h>
#include <sys/stat.h>

/* The directory that the paths of the cases are relative to. */
static char *dir;

typedef struct {
        const char *paths[4];
        const char *error; /* NULL: fine */
        const char *file;  /* that must exist then, and nothing else */
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
        {{"none:x"}, {NULL}, "Log driver none takes nothing behind its name (given as none:x)"},
        {{"k8s-file:ctr.log"},
         {"mode=fast"},
         "Log driver k8s-file: option mode can't be 'fast'; allowed: blocking, non-blocking"},
        {{"k8s-file:ctr.log"},
         {"mode=blocking", "on-full=drop-oldest"},
         "Log driver k8s-file: mode=blocking and on-full=drop-oldest contradict each other"},
        {{"k8s-file:ctr.log"}, {"mode"}, "--log-opt mode is not of the form [DRIVER.]KEY=VALUE"},
        {{"k8s-file:ctr.log"}, {"=x"}, "--log-opt =x is not of the form [DRIVER.]KEY=VALUE"},
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
};

static void
test_drivers(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(driver_cases); i++) {
                const DriverCase *c = &driver_cases[i];
                LogConfig config = log_fixture_config(NULL);
                config.drivers = (char **)c->drivers;
                config.options = (char **)c->options;
                g_test_message("%s %s", c->drivers[0], c->options[0] ? c->options[0] : "");
                if (c->error)
                        assert_error(&config, c->error);
                else
                        log_free(log_fixture_start(&config));
                (void)g_remove("ctr.log");
        }
}

/* Without DRIVER. an option is not for what -l names. */
static void
test_option_scope(void)
{
        char *paths[] = {(char *)"a.log", NULL}, *drivers[] = {(char *)"k8s-file:b.log", NULL};
        char *bare[] = {(char *)"mode=blocking", NULL};
        LogConfig config = log_fixture_config(paths);
        config.options = bare;
        assert_error(&config, "--log-opt mode=blocking: without --log-driver it must name its driver, as in "
                              "k8s-file.mode=blocking");
        config.drivers = drivers;
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
        g_autofree char *text = log_help(value);
        g_assert_nonnull(text);
        g_assert_nonnull(strstr(text, part));
}

static void
test_help(void)
{
        assert_help("help", "\n  json-file:PATH       a file in Docker's format");
        assert_help("help", "\n  none ");
        assert_help("k8s-file:help",
                    "\n  mode=blocking|non-blocking\n        whether the container waits while the queue "
                    "is full (default non-blocking)\n");
        assert_help("json-file:help", "\n  labels=A,B,...\n");
        assert_help("json-file:help", "\n  max-size=SIZE\n        size that a file may have\n");
        assert_help("json-file:help", "\n  include=TEXT\n");
        assert_help("none:help", "none ");
        g_assert_null(log_help("nope:help"));
        g_assert_null(log_help("k8s-file:helpful"));
        g_assert_null(log_help("k8s-file"));
        g_assert_null(log_help("k8s-file:./help"));
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        log_fixture_set_up();
        dir = tempdir_new();
        g_assert_cmpint(g_chdir(dir), ==, 0);
        g_test_add_func("/log/command-line/paths", test_paths);
        g_test_add_func("/log/command-line/metadata", test_metadata);
        g_test_add_func("/log/command-line/passthrough", test_passthrough);
        g_test_add_func("/log/command-line/drivers", test_drivers);
        g_test_add_func("/log/command-line/option-scope", test_option_scope);
        g_test_add_func("/log/command-line/help", test_help);
        int r = g_test_run();
        (void)g_chdir("/");
        tempdir_remove(dir);
        return r;
}
