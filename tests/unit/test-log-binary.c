/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* The binary driver, with loggers that are shell scripts. */

#include "net-fixture.h"
#include "valgrind.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

typedef struct {
        char *dir;
        char *script;
        char *paths[2];
        char *drivers[2];
        char *options[4];
        LogConfig config;
        Log *log;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
        f->dir = tempdir_new();
        f->paths[0] = (char *)"none";
        f->script = g_build_filename(f->dir, "logger", NULL);
        f->config = log_fixture_config(f->paths);
        f->config.bundle = f->dir;
}

static void
tear_down(Fixture *f, gconstpointer data)
{
        log_free(f->log);
        while (waitpid(-1, NULL, 0) > 0)
                continue;
        g_free(f->drivers[0]);
        g_free(f->script);
        tempdir_remove(f->dir);
}

static void
start(Fixture *f, const char *script, const char *query)
{
        g_autofree char *text = g_strdup_printf("#!/bin/sh\ncd %s\n%s\n", f->dir, script);
        g_assert_true(g_file_set_contents(f->script, text, -1, NULL));
        g_assert_cmpint(g_chmod(f->script, 0755), ==, 0);
        f->drivers[0] = g_strdup_printf("binary://%s%s", f->script, query);
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
}

/* Waits until a file in the directory has this content. */
static void
expect_file(Fixture *f, const char *name, const char *expected)
{
        gint64 end = g_get_monotonic_time() + NET_WAIT_USEC;
        for (;;) {
                g_autofree char *text = tempdir_get(f->dir, name);
                if (g_strcmp0(text, expected) == 0)
                        return;
                if (g_get_monotonic_time() > end)
                        g_assert_cmpstr(text, ==, expected);
                net_run(5);
        }
}

static void
on_drained(void *data)
{
        *(bool *)data = true;
}

static void
finish(Fixture *f)
{
        bool done = false;
        log_finish_local(f->log, G_MAXINT64);
        log_drain(f->log, on_drained, &done);
        while (!done)
                loop_iterate(true);
}

static void
test_contract(Fixture *f, gconstpointer data)
{
        start(f,
              "printf '%s\\n' \"$@\" >args\n"
              "env | grep CONTAINER | sort >env; env | grep -c . >count\n"
              "ls /proc/$$/fd | tr '\\n' ' ' >fds\n"
              "echo $(cut -d ' ' -f 5 /proc/$$/stat) $$ >group\n"
              "exec 5>&-\n"
              "cat <&3 >out & cat <&4 >err & wait",
              "?a=b%20c&d&e=1+2");
        log_fixture_write(f->log, STREAM_STDOUT, "one\ntw");
        log_fixture_write(f->log, STREAM_STDERR, "err\n");
        log_fixture_write(f->log, STREAM_STDOUT, "o\n\ntail");
        finish(f);
        expect_file(f, "out", "one\ntwo\n\ntail");
        expect_file(f, "err", "err\n");
        expect_file(f, "args", "a\nb c\nd\n\ne\n1 2\n");
        expect_file(f, "env", "CONTAINER_ID=" TEST_CID "\nCONTAINER_NAMESPACE=default\n");
        g_autofree char *group = tempdir_get(f->dir, "group");
        g_auto(GStrv) ids = g_strsplit(g_strstrip(group), " ", 2);
        g_assert_cmpstr(ids[0], ==, ids[1]);
        g_autofree char *fds = tempdir_get(f->dir, "fds");
        /* 10 or 255 is the shell's descriptor of the script. */
        g_assert_true(g_str_has_prefix(fds, "0 1 10 2 3 4 5 ") || g_str_has_prefix(fds, "0 1 2 255 3 4 5 "));
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "out", "bytes"), ==, 17);
}

/* The next logger gets the data that a crashed one has not read; the container is not affected. */
static void
test_restart(Fixture *f, gconstpointer data)
{
        start(f, "exec 5>&-; read -r line <&3; echo \"$line\" >>out; exit 1", "");
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        expect_file(f, "out", "one\n");
        log_fixture_write(f->log, STREAM_STDOUT, "two\nthree\n");
        expect_file(f, "out", "one\ntwo\nthree\n");
        g_autofree char *status = net_status(f->log, f->dir);
        g_assert_nonnull(strstr(status, "\"starts\":"));
        g_assert_null(strstr(status, "\"starts\":1,"));
        finish(f);
}

/* If the container ends before a crashed logger is restarted, the restart happens at once, and once. */
static void
test_restart_at_the_end(Fixture *f, gconstpointer data)
{
        start(f,
              "echo up >>out; [ -e died ] || exec touch died; exec 5>&-; cat <&3 >>out; while [ ! -e go ]; "
              "do sleep 0.01; done",
              "");
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        expect_file(f, "died", "");
        for (bool down = false; !down;) {
                net_run(1);
                g_autofree char *status = net_status(f->log, f->dir);
                down = !strstr(status, "\"starts\":1,") || strstr(status, "\"pid\":0,");
        }
        log_finish_local(f->log, G_MAXINT64);
        net_run(300);
        tempdir_put(f->dir, "go", "");
        finish(f);
        expect_file(f, "out", "up\nup\none\n");
        g_autofree char *status = net_status(f->log, f->dir);
        g_assert_nonnull(strstr(status, "\"starts\":2,"));
}

/* A logger that does not exit is killed, after a SIGTERM. */
static void
test_stop(Fixture *f, gconstpointer data)
{
        f->options[0] = (char *)"drain-timeout=100ms";
        start(f, "trap 'echo term >>out; exit' TERM; exec 5>&-; echo up >>out; while :; do sleep 0.05; done",
              "");
        expect_file(f, "out", "up\n");
        finish(f);
        log_free(f->log);
        f->log = NULL;
        expect_file(f, "out", "up\nterm\n");
}

/* A logger that does not read does not block the container. */
static void
test_does_not_read(Fixture *f, gconstpointer data)
{
        f->options[0] = (char *)"drain-timeout=100ms";
        f->options[1] = (char *)"mode=non-blocking";
        f->options[2] = (char *)"max-buffer-size=256k";
        start(f, "exec 5>&-; exec sleep 10", "");
        g_autofree char *line = g_strnfill(999, 'x');
        g_autofree char *text = g_strconcat(line, "\n", NULL);
        for (int i = 0; i < 1000; i++)
                log_fixture_write(f->log, STREAM_STDOUT, text);
        g_assert_true(log_wants(f->log, STREAM_STDOUT));
        finish(f);
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "queue-full", "records"), >, 0);
        g_assert_cmpuint(net_count(status, "at-end", "records"), >, 0);
}

static void
test_refused(Fixture *f, gconstpointer data)
{
        static const char *const cases[][2] = {
                {"binary", "Log driver binary can't be given as binary:; it must be of the form "
                           "binary:///PATH?KEY=VALUE&KEY=VALUE"},
                {"binary://host/path",
                 "Log driver binary can't be given as binary://host/path; it must be of the form "
                 "binary:///PATH?KEY=VALUE&KEY=VALUE"},
                {"binary:///nonexistent/x",
                 "Log driver binary: the logger /nonexistent/x can't be executed: No such file or directory"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                char *drivers[] = {(char *)cases[i][0], NULL};
                g_autofree char *message = log_fixture_refusal(&f->config, drivers, NULL);
                g_assert_cmpstr(message, ==, cases[i][1]);
        }
}

int
main(int argc, char **argv)
{
        if (valgrind_lacks(SYS_pidfd_open))
                return skip_all("valgrind: it has no pidfd_open(2)");
        log_fixture_set_up();
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
        g_test_init(&argc, &argv, NULL);
        g_test_add("/log-binary/contract", Fixture, NULL, set_up, test_contract, tear_down);
        g_test_add("/log-binary/restart", Fixture, NULL, set_up, test_restart, tear_down);
        g_test_add("/log-binary/restart-at-the-end", Fixture, NULL, set_up, test_restart_at_the_end,
                   tear_down);
        g_test_add("/log-binary/stop", Fixture, NULL, set_up, test_stop, tear_down);
        g_test_add("/log-binary/does-not-read", Fixture, NULL, set_up, test_does_not_read, tear_down);
        g_test_add("/log-binary/refused", Fixture, NULL, set_up, test_refused, tear_down);
        return g_test_run();
}
