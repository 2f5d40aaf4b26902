/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/line_fifo.h"

#include "base/fd.h"
#include "base/watch.h"
#include "tempdir.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
collect(const char *line, void *data)
{
        g_string_append_printf(data, "<%s>", line);
}

/* Writes the text in pieces of each size. */
static void
check_lines(const char *text, size_t len, const char *want)
{
        for (size_t piece = 1; piece <= len; piece++) {
                LineBuffer b = {0};
                g_autoptr(GString) got = g_string_new(NULL);
                for (size_t at = 0; at < len; at += piece)
                        line_buffer_feed(&b, text + at, MIN(piece, len - at), collect, got);
                g_assert_cmpstr(got->str, ==, want);
        }
}

static void
test_lines(void)
{
        check_lines("one\ntwo\n", 8, "<one><two>");
        check_lines("one\n\ntwo", 8, "<one><>");
        check_lines("a\0b\nc\n", 6, "<a><c>");
}

static void
test_long_lines(void)
{
        g_autoptr(GString) text = g_string_new("1 2 2 ");
        g_autoptr(GString) got = g_string_new(NULL);
        LineBuffer b = {0};
        for (int i = 0; i < 65536; i++)
                g_string_append_c(text, '#');
        g_string_append(text, "\nnext\n");
        line_buffer_feed(&b, text->str, text->len, collect, got);
        g_assert_cmpstr(got->str, ==, "<next>");
}

static void
test_longest_line(void)
{
        for (size_t len = LINE_MAX_LEN - 1; len <= LINE_MAX_LEN + 1; len++) {
                g_autofree char *line = g_strnfill(len, 'x');
                g_autofree char *text = g_strdup_printf("%s\nend\n", line);
                g_autofree char *want =
                        len <= LINE_MAX_LEN ? g_strdup_printf("<%s><end>", line) : g_strdup("<end>");
                check_lines(text, len + 5, want);
        }
}

static void
iterate_until(GString *got, size_t len)
{
        gint64 end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
        while (got->len < len && g_get_monotonic_time() < end)
                loop_iterate(false);
}

static void
test_fifo(void)
{
        char *dir = tempdir_new();
        g_autofree char *path = g_build_filename(dir, "ctl", NULL);
        g_autoptr(GString) got = g_string_new(NULL);
        g_autoptr(GError) error = NULL;
        struct stat st;
        g_assert_true(g_file_set_contents(path, "stale", -1, NULL));
        LineFifo *fifo = line_fifo_new(dir, "ctl", collect, got, &error);
        g_assert_no_error(error);
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_true(S_ISFIFO(st.st_mode));

        /* Writers open and close the FIFO, before and after the start. */
        for (int i = 0; i < 3; i++) {
                autofd int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
                g_assert_cmpint(fd, >=, 0);
                g_assert_cmpint(fd_write_all(fd, "1 2 3\n", 6), ==, 0);
                if (i == 1)
                        line_fifo_start(fifo);
        }
        iterate_until(got, 21);
        g_assert_cmpstr(got->str, ==, "<1 2 3><1 2 3><1 2 3>");
        g_assert_false(loop_iterate(false));
        line_fifo_free(fifo);
        g_assert_cmpint(unlink(path), ==, 0);
        tempdir_remove(dir);
}

typedef struct {
        LineFifo *fifo;
        GString *got;
} Holder;

static void
collect_and_hold(const char *line, void *data)
{
        Holder *h = data;
        collect(line, h->got);
        if (strcmp(line, "hold") == 0)
                line_fifo_hold(h->fifo);
}

static void
test_hold(void)
{
        char *dir = tempdir_new();
        g_autofree char *path = g_build_filename(dir, "ctl", NULL);
        g_autoptr(GString) got = g_string_new(NULL);
        Holder h = {.got = got};
        h.fifo = line_fifo_new(dir, "ctl", collect_and_hold, &h, NULL);
        autofd int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        g_assert_cmpint(fd_write_all(fd, "1\nhold\n2\nhold\n3\nun", 18), ==, 0);
        line_fifo_start(h.fifo);
        iterate_until(got, 9);
        g_assert_cmpint(fd_write_all(fd, "finished\n", 9), ==, 0);
        g_assert_false(loop_iterate(false));
        g_assert_cmpstr(got->str, ==, "<1><hold>");
        line_fifo_resume(h.fifo);
        iterate_until(got, 18);
        g_assert_cmpstr(got->str, ==, "<1><hold><2><hold>");
        line_fifo_resume(h.fifo);
        iterate_until(got, 33);
        g_assert_cmpstr(got->str, ==, "<1><hold><2><hold><3><unfinished>");
        line_fifo_free(h.fifo);
        g_assert_cmpint(unlink(path), ==, 0);
        tempdir_remove(dir);
}

static void
collect_and_iterate(const char *line, void *data)
{
        Holder *h = data;
        collect(line, h->got);
        if (strcmp(line, "loop") == 0)
                iterate_until(h->got, 24);
        g_string_append_c(h->got, ';');
}

/* While a line is delivered the loop delivers the next ones, whether they were read with it or later. */
static void
test_loop_during_a_line(void)
{
        char *dir = tempdir_new();
        g_autofree char *path = g_build_filename(dir, "ctl", NULL);
        g_autoptr(GString) got = g_string_new(NULL);
        Holder h = {.got = got};
        h.fifo = line_fifo_new(dir, "ctl", collect_and_iterate, &h, NULL);
        autofd int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        g_assert_cmpint(fd_write_all(fd, "1\nloop\n2\nloop\n3\n4\n", 18), ==, 0);
        line_fifo_start(h.fifo);
        iterate_until(got, 29);
        g_assert_cmpstr(got->str, ==, "<1>;<loop><2>;<loop><3>;<4>;;;");
        g_assert_false(loop_iterate(false));
        line_fifo_free(h.fifo);
        g_assert_cmpint(unlink(path), ==, 0);
        tempdir_remove(dir);
}

static void
test_missing_directory(void)
{
        g_autoptr(GError) error = NULL;
        g_assert_null(line_fifo_new("/nonexistent/dir", "ctl", collect, NULL, &error));
        g_assert_nonnull(strstr(error->message, "/nonexistent/dir/ctl"));
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/line-fifo/lines", test_lines);
        g_test_add_func("/line-fifo/long-lines", test_long_lines);
        g_test_add_func("/line-fifo/longest-line", test_longest_line);
        g_test_add_func("/line-fifo/fifo", test_fifo);
        g_test_add_func("/line-fifo/hold", test_hold);
        g_test_add_func("/line-fifo/loop-during-a-line", test_loop_during_a_line);
        g_test_add_func("/line-fifo/missing-directory", test_missing_directory);
        return g_test_run();
}
