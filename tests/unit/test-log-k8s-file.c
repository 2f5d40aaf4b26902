/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log-fixture.h"

#include <glib/gstdio.h>
#include <sys/stat.h>

/* A temporary directory, the configuration of a log in it, and the log. */
typedef struct {
        char *dir;
        char *path;
        char *paths[2];
        LogConfig config;
        Log *log;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
        f->dir = tempdir_new();
        f->path = g_build_filename(f->dir, "ctr.log", NULL);
        f->paths[0] = f->path;
        f->config = log_fixture_config(f->paths);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
        log_free(f->log);
        g_free(f->path);
        tempdir_remove(f->dir);
}

static void
assert_file(const Fixture *f, const char *name, const char *text)
{
        g_autofree char *content = tempdir_get(f->dir, name);
        g_assert_cmpstr(content, ==, text);
}

static void
test_format(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "hello\n\nb");
        log_fixture_write(f->log, STREAM_STDERR, "err\r\n");
        log_fixture_write(f->log, STREAM_STDOUT, "c\n");
        log_fixture_write(f->log, STREAM_STDOUT, "tail");
        log_finish_local(f->log, G_MAXINT64);
        assert_file(f, "ctr.log",
                    TEST_CRI("stdout", "F") "hello\n" TEST_CRI("stdout", "F") "\n"
                    TEST_CRI("stdout", "P") "b\n"
                    TEST_CRI("stderr", "F") "err\r\n" TEST_CRI("stdout", "F") "c\n"
                    TEST_CRI("stdout", "P") "tail\n");
}

static void
test_unfinished_line_waits(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start(&f->config);
        g_assert_cmpuint(log_write(f->log, STREAM_STDOUT, "one\ntw", 6, true, TEST_NS), ==, 4);
        g_assert_cmpuint(log_write(f->log, STREAM_STDOUT, "two\n", 4, true, TEST_NS), ==, 4);
        log_flush(f->log);
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "one\n" TEST_CRI("stdout", "F") "two\n");
}

static void
test_no_record_is_too_long(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start(&f->config);
        g_autofree char *line = g_strnfill(40000, 'x');
        log_fixture_write(f->log, STREAM_STDOUT, line);
        log_fixture_write(f->log, STREAM_STDOUT, "\n");
        g_autofree char *expected =
                g_strdup_printf("%s%.16384s\n%s%.16384s\n%s%.7232s\n%s\n", TEST_CRI("stdout", "P"), line,
                                TEST_CRI("stdout", "P"), line, TEST_CRI("stdout", "P"), line,
                                TEST_CRI("stdout", "F"));
        assert_file(f, "ctr.log", expected);
}

static void
test_appends(Fixture *f, gconstpointer data)
{
        tempdir_put(f->dir, "ctr.log", "old\n");
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "new\n");
        assert_file(f, "ctr.log", "old\n" TEST_CRI("stdout", "F") "new\n");
}

/* Records of 51 bytes, so three fit into 200. */
static void
test_size_max(Fixture *f, gconstpointer data)
{
        f->config.size_max = 200;
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "line1\nline2\n");
        log_fixture_write(f->log, STREAM_STDOUT, "line3\n");
        assert_file(f, "ctr.log",
                    TEST_CRI("stdout", "F") "line1\n" TEST_CRI("stdout", "F") "line2\n"
                    TEST_CRI("stdout", "F") "line3\n");
        log_fixture_write(f->log, STREAM_STDOUT, "line4\n");
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "line4\n");
        log_fixture_write(f->log, STREAM_STDOUT, "line5\nline6\nline7\nline8\n");
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "line7\n" TEST_CRI("stdout", "F") "line8\n");
        g_assert_cmpuint(tempdir_count(f->dir), ==, 1);
}

static void
test_size_max_edges(Fixture *f, gconstpointer data)
{
        f->config.size_max = 102;
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "line1\nline2\n");
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "line1\n" TEST_CRI("stdout", "F") "line2\n");
        g_autofree char *line = g_strnfill(300, 'y');
        g_autofree char *expected = g_strconcat(TEST_CRI("stdout", "P"), line, "\n", NULL);
        log_fixture_write(f->log, STREAM_STDOUT, line);
        assert_file(f, "ctr.log", expected);
}

static void
test_old_content_counts(Fixture *f, gconstpointer data)
{
        g_autofree char *old = g_strnfill(150, 'o');
        tempdir_put(f->dir, "ctr.log", old);
        f->config.size_max = 200;
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "line1\n");
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "line1\n");
}

static void
test_global_max(Fixture *f, gconstpointer data)
{
        f->config.global_max = 100;
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "line1\nline2\nline3\n");
        log_fixture_write(f->log, STREAM_STDOUT, "line4\n");
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "line1\n" TEST_CRI("stdout", "F") "line2\n");
}

/* The global limit includes the bytes of earlier files. */
static void
test_both_limits(Fixture *f, gconstpointer data)
{
        f->config.size_max = 60;
        f->config.global_max = 103;
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "line1\nline2\nline3\nline4\n");
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "line3\n");
}

/* 13 records, three per file, two backups. */
static void
test_rotate(Fixture *f, gconstpointer data)
{
        f->config.size_max = 160;
        f->config.rotate = true;
        f->config.max_files = 2;
        f->log = log_fixture_start(&f->config);
        for (int i = 1; i <= 13; i++) {
                g_autofree char *line = g_strdup_printf("rec%02d\n", i);
                log_fixture_write(f->log, STREAM_STDOUT, line);
        }
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "rec13\n");
        assert_file(f, "ctr.log.1",
                    TEST_CRI("stdout", "F") "rec10\n" TEST_CRI("stdout", "F") "rec11\n"
                    TEST_CRI("stdout", "F") "rec12\n");
        assert_file(f, "ctr.log.2",
                    TEST_CRI("stdout", "F") "rec07\n" TEST_CRI("stdout", "F") "rec08\n"
                    TEST_CRI("stdout", "F") "rec09\n");
        g_assert_cmpuint(tempdir_count(f->dir), ==, 3);
}

static void
test_rotate_one_backup(Fixture *f, gconstpointer data)
{
        f->config.size_max = 60;
        f->config.rotate = true;
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "line1\nline2\nline3\n");
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "line3\n");
        assert_file(f, "ctr.log.1", TEST_CRI("stdout", "F") "line2\n");
        g_assert_cmpuint(tempdir_count(f->dir), ==, 2);
}

static void
test_reopen_renamed(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        g_autofree char *moved = g_build_filename(f->dir, "moved", NULL);
        g_assert_cmpint(g_rename(f->path, moved), ==, 0);
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        log_reopen(f->log);
        struct stat st;
        g_assert_cmpint(stat(f->path, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 07777, ==, 0640);
        log_fixture_write(f->log, STREAM_STDOUT, "three\n");
        assert_file(f, "moved", TEST_CRI("stdout", "F") "one\n" TEST_CRI("stdout", "F") "two\n");
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "three\n");
}

static void
test_reopen_in_place(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        log_reopen(f->log);
        assert_file(f, "ctr.log", "");
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "two\n");
}

static void
test_reopen_rotates(Fixture *f, gconstpointer data)
{
        f->config.rotate = true;
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        log_reopen(f->log);
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        assert_file(f, "ctr.log.1", TEST_CRI("stdout", "F") "one\n");
        assert_file(f, "ctr.log", TEST_CRI("stdout", "F") "two\n");
}

#define ADD(name, func) g_test_add("/log/k8s-file/" name, Fixture, NULL, set_up, func, tear_down)

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        log_fixture_set_up();
        ADD("format", test_format);
        ADD("unfinished-line-waits", test_unfinished_line_waits);
        ADD("long-line", test_no_record_is_too_long);
        ADD("appends", test_appends);
        ADD("size-max", test_size_max);
        ADD("size-max-edges", test_size_max_edges);
        ADD("old-content-counts", test_old_content_counts);
        ADD("global-max", test_global_max);
        ADD("both-limits", test_both_limits);
        ADD("rotate", test_rotate);
        ADD("rotate-one-backup", test_rotate_one_backup);
        ADD("reopen-renamed", test_reopen_renamed);
        ADD("reopen-in-place", test_reopen_in_place);
        ADD("reopen-rotates", test_reopen_rotates);
        return g_test_run();
}
