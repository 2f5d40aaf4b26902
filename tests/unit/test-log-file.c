/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log-fixture.h"
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Destinations that fail. Each case has a second sink, an ordinary file, which must not be affected. */
typedef struct {
        char *dir;
        char *path; /* of the failing destination */
        char *good;
        char *paths[2];
        char *drivers[2];
        char *options[5];
        LogConfig config;
        Log *log;
        GString *sent; /* all lines */
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
        f->dir = tempdir_new();
        f->path = g_build_filename(f->dir, "bad", NULL);
        f->good = g_build_filename(f->dir, "good", NULL);
        f->paths[0] = f->good;
        f->drivers[0] = g_strconcat("k8s-file:", f->path, NULL);
        f->config = log_fixture_config(f->paths);
        f->config.bundle = f->dir;
        f->sent = g_string_new(NULL);
}

static void
start(Fixture *f)
{
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
        log_free(f->log);
        g_autofree char *good = tempdir_get(f->dir, "good");
        g_assert_true(g_str_equal(good ? good : "", f->sent->str));
        g_free(f->path);
        g_free(f->good);
        g_free(f->drivers[0]);
        g_string_free(f->sent, TRUE);
        tempdir_remove(f->dir);
}

static void
write_line(Fixture *f, const char *line)
{
        g_autofree char *text = g_strconcat(line, "\n", NULL);
        g_string_append_printf(f->sent, TEST_CRI("stdout", "F") "%s\n", line);
        log_fixture_write(f->log, STREAM_STDOUT, text);
}

/* Numbered lines of 100 bytes, of which 1000 don't fit into a pipe or a queue. */
static void
write_lines(Fixture *f, int first, int last)
{
        g_autofree char *fill = g_strnfill(93, '.');
        for (int i = first; i <= last; i++) {
                g_autofree char *line = g_strdup_printf("%06d %s", i, fill);
                write_line(f, line);
        }
}

static int
open_reader(const Fixture *f)
{
        int fd = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        return fd;
}

/* Reads while the log runs, until the data contains `enough`. */
static void
read_until(int fd, GString *text, const char *enough)
{
        gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        while (!strstr(text->str, enough) && g_get_monotonic_time() < deadline) {
                char buf[4096];
                ssize_t n = read(fd, buf, sizeof buf);
                if (n > 0)
                        g_string_append_len(text, buf, n);
                else
                        loop_wait_briefly();
        }
        if (!strstr(text->str, enough))
                g_error("did not get %s", enough);
}

/* Returns a number from the status of the second sink. */
static int64_t
status_number(Fixture *f, const char *name, const char *what)
{
        g_autofree char *path = NULL, *json = NULL;
        g_assert_true(log_describe(f->log, false, "", &path, &json));
        const char *at = strstr(json, "/bad\"");
        g_assert_nonnull(at);
        g_autofree char *object = g_strdup_printf("\"%s\":{", name),
                        *member = g_strdup_printf("\"%s\":", what);
        at = strstr(at, object);
        g_assert_nonnull(at);
        at = strstr(at, member);
        g_assert_nonnull(at);
        return g_ascii_strtoll(at + strlen(member), NULL, 10);
}

static void
assert_adds_up(Fixture *f)
{
        static const char *const units[] = {"records", "bytes"};
        for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
                g_assert_cmpint(status_number(f, "in", units[i]), ==,
                                status_number(f, "out", units[i]) + status_number(f, "queued", units[i]) +
                                        status_number(f, "queue-full", units[i]) +
                                        status_number(f, "at-end", units[i]));
}

/* Checks that lines are complete and in order without duplicates, and that markers report missing ones. */
static int
count_lines(const char *text, int *ret_announced)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        int n = 0, last = -1;
        for (char **line = lines; **line; line++) {
                g_assert_true(g_str_has_prefix(*line, TEST_CRI("stdout", "F")) ||
                              strstr(*line, " stderr F "));
                const char *announcement = strstr(*line, "conmon: ");
                if (announcement) {
                        g_assert_true(g_str_has_suffix(*line, " dropped: queue full"));
                        *ret_announced += atoi(announcement + 8);
                        continue;
                }
                g_assert_cmpuint(strlen(*line), ==, 45 + 100);
                int number = atoi(*line + 45);
                g_assert_cmpint(number, >, last);
                last = number;
                n++;
        }
        return n;
}

static void
set_flag(void *data)
{
        *(bool *)data = true;
}

static void
drain(Fixture *f)
{
        bool done = false;
        gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        log_finish_local(f->log, G_MAXINT64);
        log_drain(f->log, set_flag, &done);
        while (!done && g_get_monotonic_time() < deadline)
                (void)loop_iterate(true);
        g_assert_true(done);
}

static void
test_fifo_without_reader(Fixture *f, gconstpointer data)
{
        g_assert_cmpint(mkfifo(f->path, 0600), ==, 0);
        start(f);
        write_lines(f, 1, 10);
        int fd = open_reader(f);
        g_autoptr(GString) text = g_string_new(NULL);
        read_until(fd, text, "000010 ");
        g_assert_true(g_str_equal(text->str, f->sent->str));
        assert_adds_up(f);
        (void)close(fd);
}

/* Without a reader, records beyond the queue are dropped, and the rest at the end; no waiting, and no useless
 * wake-ups. */
static void
test_fifo_never_read(Fixture *f, gconstpointer data)
{
        g_assert_cmpint(mkfifo(f->path, 0600), ==, 0);
        f->options[0] = (char *)"max-buffer-size=256k";
        start(f);
        g_assert_false(loop_iterate(false));
        write_lines(f, 1, 4000);
        g_assert_true(log_wants(f->log, STREAM_STDOUT));
        int64_t queued = status_number(f, "queued", "records");
        g_assert_cmpint(queued, >, 1000);
        g_assert_cmpint(queued + status_number(f, "queue-full", "records"), ==, 4000);
        g_assert_cmpint(status_number(f, "queue", "bytes"), <=, 256 * 1024);
        gint64 start_usec = g_get_monotonic_time();
        drain(f);
        g_assert_cmpint(g_get_monotonic_time() - start_usec, <, G_USEC_PER_SEC);
        g_assert_cmpint(status_number(f, "at-end", "records"), ==, queued);
        assert_adds_up(f);
}

static void
test_fifo_slow_reader(Fixture *f, gconstpointer data)
{
        g_assert_cmpint(mkfifo(f->path, 0600), ==, 0);
        int fd = open_reader(f), announced = 0;
        f->options[0] = (char *)"mode=non-blocking";
        f->options[1] = (char *)"max-buffer-size=256k";
        start(f);
        write_lines(f, 1, 10000);
        g_assert_cmpint(status_number(f, "queue-full", "records"), >, 5000);
        g_autoptr(GString) text = g_string_new(NULL);
        read_until(fd, text, "dropped: queue full\n");
        write_lines(f, 10001, 10003);
        read_until(fd, text, "010003 ");
        int n = count_lines(text->str, &announced);
        g_assert_cmpint(n + announced, ==, 10003);
        g_assert_cmpint(status_number(f, "out", "records"), ==, n);
        assert_adds_up(f);
        (void)close(fd);
}

/* The reader closes the FIFO within a record: the next one begins with a complete record. */
static void
test_fifo_reader_gone(Fixture *f, gconstpointer data)
{
        g_assert_cmpint(mkfifo(f->path, 0600), ==, 0);
        int fd = open_reader(f), announced = 0;
        start(f);
        write_lines(f, 1, 600);
        char buf[1000];
        g_assert_cmpint(read(fd, buf, sizeof buf), ==, sizeof buf);
        (void)close(fd);
        write_lines(f, 601, 602);
        fd = open_reader(f);
        g_autoptr(GString) text = g_string_new(NULL);
        read_until(fd, text, "000602 ");
        g_assert_cmpint(count_lines(text->str, &announced), >, 100);
        g_assert_cmpint(announced, ==, 0);
        assert_adds_up(f);
        (void)close(fd);
}

static void
test_fifo_blocking(Fixture *f, gconstpointer data)
{
        g_assert_cmpint(mkfifo(f->path, 0600), ==, 0);
        f->options[0] = (char *)"mode=blocking";
        int fd = open_reader(f), announced = 0, n = 0;
        start(f);
        while (log_wants(f->log, STREAM_STDOUT)) {
                n++;
                write_lines(f, n, n);
                g_assert_cmpint(n, <, 10000);
        }
        g_autoptr(GString) text = g_string_new(NULL);
        read_until(fd, text, "000600 ");
        g_autofree char *last = g_strdup_printf("%06d ", n);
        read_until(fd, text, last);
        g_assert_true(log_wants(f->log, STREAM_STDOUT));
        g_assert_cmpint(count_lines(text->str, &announced), ==, n);
        g_assert_cmpint(announced, ==, 0);
        (void)close(fd);
}

/* At the container's end unread data gets some time, and is then counted as dropped. */
static void
test_fifo_at_the_end(Fixture *f, gconstpointer data)
{
        g_assert_cmpint(mkfifo(f->path, 0600), ==, 0);
        f->options[0] = (char *)"drain-timeout=50ms";
        int fd = open_reader(f);
        start(f);
        write_lines(f, 1, 1000);
        int64_t queued = status_number(f, "queued", "records");
        g_assert_cmpint(queued, >, 100);
        drain(f);
        g_assert_cmpint(status_number(f, "at-end", "records"), ==, queued);
        assert_adds_up(f);
        (void)close(fd);
}

static void
test_full_device(Fixture *f, gconstpointer data)
{
        g_free(f->drivers[0]);
        f->drivers[0] = g_strdup("k8s-file:/dev/full");
        start(f);
        write_lines(f, 1, 5000);
        g_assert_true(log_wants(f->log, STREAM_STDOUT));
        g_autofree char *path = NULL, *json = NULL;
        g_assert_true(log_describe(f->log, false, "", &path, &json));
        g_assert_nonnull(strstr(json, "\"last\":\"No space left on device\""));
        drain(f);
}

static void
set_file_size(rlim_t max)
{
        struct rlimit limit;
        g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &limit), ==, 0);
        limit.rlim_cur = max;
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

/* A disk that is full within a record. RLIMIT_FSIZE has the same effect on a write, but applies to all files,
 * so the other sink is removed here. */
static void
test_short_write(Fixture *f, gconstpointer data)
{
        f->paths[0] = (char *)"none";
        start(f);
        set_file_size(1000);
        write_lines(f, 1, 20);
        g_autofree char *torn = tempdir_get(f->dir, "bad");
        g_assert_cmpuint(strlen(torn), ==, 1000);
        set_file_size(RLIM_INFINITY);
        write_lines(f, 21, 21);
        gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        while (status_number(f, "queued", "records") > 0 && g_get_monotonic_time() < deadline)
                (void)loop_iterate(true);
        g_autofree char *text = tempdir_get(f->dir, "bad");
        g_assert_true(g_str_equal(text, f->sent->str));
        g_string_truncate(f->sent, 0);
}

/* Truncating the log makes room: the rest of a partially written record alone would be invalid. */
static void
test_short_write_and_truncation(Fixture *f, gconstpointer data)
{
        f->paths[0] = (char *)"none";
        start(f);
        set_file_size(1000);
        write_lines(f, 1, 20);
        g_assert_cmpint(truncate(f->path, (off_t)2 * 146), ==, 0);
        set_file_size(RLIM_INFINITY);
        write_lines(f, 21, 21);
        gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        while (status_number(f, "queued", "records") > 0 && g_get_monotonic_time() < deadline)
                (void)loop_iterate(true);
        g_string_erase(f->sent, 2 * 146, 4 * 146);
        g_autofree char *text = tempdir_get(f->dir, "bad");
        g_assert_cmpstr(text, ==, f->sent->str);
        g_string_truncate(f->sent, 0);
}

static void
test_short_write_and_truncation_and_reopen(Fixture *f, gconstpointer data)
{
        g_autofree char *away = g_build_filename(f->dir, "away", NULL);
        f->paths[0] = (char *)"none";
        start(f);
        set_file_size(1000);
        write_lines(f, 1, 10);
        g_assert_cmpint(truncate(f->path, (off_t)2 * 146), ==, 0);
        set_file_size(RLIM_INFINITY);
        g_assert_cmpint(g_rename(f->path, away), ==, 0);
        log_reopen(f->log);
        g_autofree char *old = tempdir_get(f->dir, "away"), *new = tempdir_get(f->dir, "bad");
        g_assert_cmpuint(strlen(old), ==, 2 * 146);
        g_assert_cmpstr(new, ==, f->sent->str + 6 * 146);
        g_string_truncate(f->sent, 0);
}

/* If the container ends before there is room again, the file has no incomplete record. */
static void
test_short_write_at_the_end(Fixture *f, gconstpointer data)
{
        int announced = 0;
        f->paths[0] = (char *)"none";
        start(f);
        set_file_size(1000);
        write_lines(f, 1, 20);
        drain(f);
        set_file_size(RLIM_INFINITY);
        g_autofree char *text = tempdir_get(f->dir, "bad");
        g_assert_cmpint(count_lines(text, &announced), ==, 6);
        g_assert_cmpuint(strlen(text), ==, 6 * 146);
        g_assert_cmpint(status_number(f, "at-end", "records"), ==, 14);
        assert_adds_up(f);
        g_string_truncate(f->sent, 0);
}

/* A reopen while a record is partially written: it is complete in the new file, and removed from the old
 * one. */
static void
test_short_write_and_reopen(Fixture *f, gconstpointer data)
{
        g_autofree char *away = g_build_filename(f->dir, "away", NULL);
        int announced = 0;
        f->paths[0] = (char *)"none";
        start(f);
        set_file_size(1000);
        write_lines(f, 1, 10);
        set_file_size(RLIM_INFINITY);
        g_assert_cmpint(g_rename(f->path, away), ==, 0);
        log_reopen(f->log);
        g_autofree char *old = tempdir_get(f->dir, "away"), *new = tempdir_get(f->dir, "bad");
        g_assert_cmpint(count_lines(old, &announced), ==, 6);
        g_assert_cmpint(count_lines(new, &announced), ==, 4);
        g_assert_cmpint(announced, ==, 0);
        g_string_truncate(f->sent, 0);
}

/* On a reopen, the reader of a FIFO sees no end and no duplicates. */
static void
test_fifo_reopened(Fixture *f, gconstpointer data)
{
        g_assert_cmpint(mkfifo(f->path, 0600), ==, 0);
        int fd = open_reader(f), announced = 0;
        f->paths[0] = (char *)"none";
        start(f);
        write_lines(f, 1, 600);
        log_reopen(f->log);
        write_lines(f, 601, 602);
        g_autoptr(GString) text = g_string_new(NULL);
        read_until(fd, text, "000602 ");
        g_assert_cmpint(count_lines(text->str, &announced), ==, 602);
        g_string_truncate(f->sent, 0);
        (void)close(fd);
}

/* A file that has replaced a FIFO can be rotated. */
static void
test_fifo_replaced(Fixture *f, gconstpointer data)
{
        g_assert_cmpint(mkfifo(f->path, 0600), ==, 0);
        f->paths[0] = (char *)"none";
        f->options[0] = (char *)"max-size=1k";
        start(f);
        g_assert_cmpint(g_remove(f->path), ==, 0);
        tempdir_put(f->dir, "bad", "");
        log_reopen(f->log);
        write_lines(f, 1, 8);
        int announced = 0;
        g_autofree char *text = tempdir_get(f->dir, "bad");
        g_assert_cmpint(count_lines(text, &announced), ==, 2);
        g_string_truncate(f->sent, 0);
}

/* A name that is too long for a temporary suffix: the old file is kept, with one message. */
static void
test_reopen_impossible(Fixture *f, gconstpointer data)
{
        g_autofree char *name = g_strnfill(252, 'x'), *said_path = g_build_filename(f->dir, "said", NULL),
                        *path = g_build_filename(f->dir, name, NULL),
                        *away = g_build_filename(f->dir, "away", NULL);
        g_free(f->drivers[0]);
        f->drivers[0] = g_strconcat("k8s-file:", path, NULL);
        f->paths[0] = (char *)"none";
        start(f);
        write_lines(f, 1, 2);
        g_assert_cmpint(g_rename(path, away), ==, 0);
        int stderr_fd = dup(STDERR_FILENO), said_fd = open(said_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        g_assert_cmpint(dup2(said_fd, STDERR_FILENO), ==, STDERR_FILENO);
        log_reopen(f->log);
        log_reopen(f->log);
        g_assert_cmpint(dup2(stderr_fd, STDERR_FILENO), ==, STDERR_FILENO);
        (void)close(stderr_fd);
        (void)close(said_fd);
        write_lines(f, 3, 30);
        g_autofree char *text = tempdir_get(f->dir, "away"), *said = tempdir_get(f->dir, "said");
        g_assert_cmpstr(text, ==, f->sent->str);
        const char *first = strstr(said, "xxx: File name too long; the old one is kept\n");
        g_assert_nonnull(first);
        g_assert_null(strstr(strchr(first, '\n'), "the old one is kept"));
        g_string_truncate(f->sent, 0);
}

/* The first record after max-age causes a rotation; without a record there is none. */
static void
test_max_age(Fixture *f, gconstpointer data)
{
        f->options[0] = (char *)"max-age=1s";
        f->options[1] = (char *)"max-file=2";
        start(f);
        write_lines(f, 1, 2);
        g_usleep(1100 * 1000);
        g_autofree char *before = tempdir_get(f->dir, "bad");
        g_assert_cmpstr(before, ==, f->sent->str);
        g_assert_null(tempdir_get(f->dir, "bad.1"));
        write_lines(f, 3, 3);
        g_autofree char *old = tempdir_get(f->dir, "bad.1"), *new = tempdir_get(f->dir, "bad");
        g_assert_cmpstr(old, ==, before);
        g_assert_cmpstr(new, ==, f->sent->str + strlen(before));
}

/* The age of an existing file is that of the file system, or unknown. */
static void
test_max_age_of_found_file(Fixture *f, gconstpointer data)
{
        tempdir_put(f->dir, "bad", "found\n");
        g_usleep(1100 * 1000);
        f->options[0] = (char *)"max-age=1s";
        f->options[1] = (char *)"max-file=2";
        start(f);
        g_usleep(1100 * 1000);
        write_lines(f, 1, 1);
        g_autofree char *old = tempdir_get(f->dir, "bad.1"), *new = tempdir_get(f->dir, "bad");
        g_assert_cmpstr(old, ==, "found\n");
        g_assert_cmpstr(new, ==, f->sent->str);
}

static void
test_device(Fixture *f, gconstpointer data)
{
        g_free(f->drivers[0]);
        f->drivers[0] = g_strdup("k8s-file:/dev/null");
        f->options[0] = (char *)"max-size=1k";
        start(f);
        write_lines(f, 1, 100);
        log_reopen(f->log);
        g_string_truncate(f->sent, 0); /* the other one is a new file now */
        write_lines(f, 101, 110);
        struct stat st;
        g_assert_cmpint(stat("/dev/null", &st), ==, 0);
        g_assert_true(S_ISCHR(st.st_mode));
}

static int
count_mappings(void)
{
        g_autofree char *maps = NULL;
        g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
        int n = 0;
        for (const char *at = maps; (at = strchr(at, '\n')); at++)
                n++;
        return n;
}

/* After some time without output, buffers are released and no timer is left. */
static void
test_quiet(Fixture *f, gconstpointer data)
{
        const gint64 while_quiet = 3 * G_USEC_PER_SEC / 2;
        start(f);
        g_assert_false(loop_wait(while_quiet));
        int mappings = count_mappings();
        write_lines(f, 1, 100);
        g_assert_cmpint(count_mappings(), >, mappings);
        g_assert_true(loop_wait(20 * G_USEC_PER_SEC));
        for (int i = 0; loop_wait(while_quiet); i++)
                g_assert_cmpint(i, <, 20);
        g_assert_cmpint(count_mappings(), <=, mappings);
        write_lines(f, 101, 110);
}

#define ADD(name, func) g_test_add("/log/file/" name, Fixture, NULL, set_up, func, tear_down)

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        log_fixture_set_up();
        (void)signal(SIGXFSZ, SIG_IGN);
        ADD("fifo-without-reader", test_fifo_without_reader);
        ADD("fifo-never-read", test_fifo_never_read);
        ADD("fifo-slow-reader", test_fifo_slow_reader);
        ADD("fifo-reader-gone", test_fifo_reader_gone);
        ADD("fifo-blocking", test_fifo_blocking);
        ADD("fifo-at-the-end", test_fifo_at_the_end);
        ADD("full-device", test_full_device);
        ADD("short-write", test_short_write);
        ADD("short-write-and-truncation", test_short_write_and_truncation);
        ADD("short-write-and-truncation-and-reopen", test_short_write_and_truncation_and_reopen);
        ADD("short-write-at-the-end", test_short_write_at_the_end);
        ADD("short-write-and-reopen", test_short_write_and_reopen);
        ADD("fifo-reopened", test_fifo_reopened);
        ADD("fifo-replaced", test_fifo_replaced);
        ADD("reopen-impossible", test_reopen_impossible);
        ADD("max-age", test_max_age);
        ADD("max-age-of-found-file", test_max_age_of_found_file);
        ADD("device", test_device);
        ADD("quiet", test_quiet);
        return g_test_run();
}
