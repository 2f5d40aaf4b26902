/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log-fixture.h"
#include "loop.h"
#include "valgrind.h"

#include "log/file/rotate.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A k8s-file log that keeps three files of three records each. */
typedef struct {
        char *dir;
        char *path;
        char *driver;
        char *drivers[2];
        char *options[4];
        LogConfig config;
        Log *log;
        int next; /* number of the next record */
} Fixture;

#define FILES 3

static void
set_up(Fixture *f, gconstpointer data)
{
        f->dir = tempdir_new();
        f->path = g_build_filename(f->dir, "ctr.log", NULL);
        f->driver = g_strconcat("k8s-file:", f->path, NULL);
        f->drivers[0] = f->driver;
        f->options[0] = (char *)"max-size=160";
        f->options[1] = (char *)"max-file=3";
        f->config = log_fixture_config(NULL);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
        log_free(f->log);
        g_free(f->path);
        g_free(f->driver);
        tempdir_remove(f->dir);
}

static int64_t
size_of(const Fixture *f, const char *name)
{
        g_autofree char *path = g_build_filename(f->dir, name, NULL);
        struct stat st;
        return lstat(path, &st) == 0 ? st.st_size : -1;
}

static int64_t
sum_of_sizes(const char *path)
{
        int64_t sum = 0;
        GDir *dir = g_dir_open(path, 0, NULL);
        for (const char *name; (name = g_dir_read_name(dir));) {
                g_autofree char *file = g_build_filename(path, name, NULL);
                struct stat st;
                if (lstat(file, &st) == 0 && S_ISREG(st.st_mode))
                        sum += st.st_size;
        }
        g_dir_close(dir);
        return sum;
}

static void
write_records(Fixture *f, int n)
{
        if (!f->log)
                f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        for (int i = 0; i < n; i++) {
                g_autofree char *line = g_strdup_printf("r%05d\n", f->next++);
                log_fixture_write(f->log, STREAM_STDOUT, line);
        }
}

/* Checks that the file has exactly the records first..last. */
static void
assert_records(const Fixture *f, const char *name, int first, int last)
{
        g_autoptr(GString) expected = g_string_new(NULL);
        for (int i = first; i <= last; i++)
                g_string_append_printf(expected, TEST_CRI("stdout", "F") "r%05d\n", i);
        g_autofree char *content = tempdir_get(f->dir, name);
        g_assert_cmpstr(content, ==, expected->str);
}

typedef bool (*Condition)(const Fixture *f, const char *name);

static bool
is_there(const Fixture *f, const char *name)
{
        return size_of(f, name) >= 0;
}

static bool
is_gone(const Fixture *f, const char *name)
{
        return size_of(f, name) < 0;
}

static void
wait_until(const Fixture *f, Condition condition, const char *name)
{
        gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        while (!condition(f, name) && g_get_monotonic_time() < deadline)
                loop_wait_briefly();
        g_assert_true(condition(f, name));
}

static void
test_shift(Fixture *f, gconstpointer data)
{
        write_records(f, 10);
        assert_records(f, "ctr.log", 9, 9);
        assert_records(f, "ctr.log.1", 6, 8);
        assert_records(f, "ctr.log.2", 3, 5);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 3);
}

/* Interrupted after .1 became .2: the next rotation fills the gap instead of dropping the oldest file. */
static void
test_gap(Fixture *f, gconstpointer data)
{
        f->options[1] = (char *)"max-file=4";
        write_records(f, 12);
        g_autofree char *one = g_build_filename(f->dir, "ctr.log.1", NULL);
        g_assert_cmpint(g_remove(one), ==, 0);
        tempdir_put(f->dir, "ctr.log.new", "left behind");
        write_records(f, 1);
        assert_records(f, "ctr.log", 12, 12);
        assert_records(f, "ctr.log.1", 9, 11);
        assert_records(f, "ctr.log.2", 3, 5);
        assert_records(f, "ctr.log.3", 0, 2);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 4);
}

/* Interrupted after the file got its second name. */
static void
test_second_name(Fixture *f, gconstpointer data)
{
        write_records(f, 3);
        g_autofree char *one = g_build_filename(f->dir, "ctr.log.1", NULL);
        g_assert_cmpint(link(f->path, one), ==, 0);
        write_records(f, 1);
        assert_records(f, "ctr.log", 3, 3);
        assert_records(f, "ctr.log.1", 0, 2);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 2);
}

static void
test_symlink(Fixture *f, gconstpointer data)
{
        g_autofree char *real = g_build_filename(f->dir, "real", NULL);
        g_assert_cmpint(g_mkdir(real, 0755), ==, 0);
        g_assert_cmpint(symlink("real/target.log", f->path), ==, 0);
        write_records(f, 10);
        g_assert_true(g_file_test(f->path, G_FILE_TEST_IS_SYMLINK));
        assert_records(f, "ctr.log", 9, 9);
        assert_records(f, "real/target.log", 9, 9);
        assert_records(f, "real/target.log.1", 6, 8);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 2);
        g_assert_cmpuint(tempdir_count(real), ==, 3);
        /* The target was renamed: it is created again in the same place. */
        g_autofree char *from = g_build_filename(real, "target.log", NULL),
                        *to = g_build_filename(real, "t", NULL);
        g_assert_cmpint(g_rename(from, to), ==, 0);
        log_reopen(f->log);
        write_records(f, 1);
        g_assert_true(g_file_test(f->path, G_FILE_TEST_IS_SYMLINK));
        assert_records(f, "real/target.log", 10, 10);
}

/* As kubelet does: a renamed file is not touched any more, neither at the size limit nor on a reopen. */
static void
test_renamed_away(Fixture *f, gconstpointer data)
{
        g_autofree char *away = g_build_filename(f->dir, "ctr.log.20261121-1", NULL);
        write_records(f, 2);
        g_assert_cmpint(g_rename(f->path, away), ==, 0);
        write_records(f, 3);
        assert_records(f, "ctr.log.20261121-1", 0, 2);
        assert_records(f, "ctr.log", 3, 4);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 2);
        g_assert_cmpint(g_rename(f->path, away), ==, 0);
        log_reopen(f->log);
        assert_records(f, "ctr.log", 0, -1);
        write_records(f, 1);
        assert_records(f, "ctr.log", 5, 5);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 2);
}

/* logrotate's `create`: a file with that name exists already, and becomes the youngest rotated file. */
static void
test_replaced(Fixture *f, gconstpointer data)
{
        write_records(f, 2);
        g_assert_cmpint(g_remove(f->path), ==, 0);
        tempdir_put(f->dir, "ctr.log", "somebody else's\n");
        log_reopen(f->log);
        write_records(f, 1);
        assert_records(f, "ctr.log", 2, 2);
        g_autofree char *old = tempdir_get(f->dir, "ctr.log.1");
        g_assert_cmpstr(old, ==, "somebody else's\n");
}

static void
test_truncated(Fixture *f, gconstpointer data)
{
        write_records(f, 3);
        g_assert_cmpint(truncate(f->path, 0), ==, 0);
        write_records(f, 3);
        assert_records(f, "ctr.log", 3, 5);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 1);
        write_records(f, 2);
        assert_records(f, "ctr.log", 6, 7);
        assert_records(f, "ctr.log.1", 3, 5);
        /* The new file is opened with O_APPEND as well: after truncation there is no hole. */
        g_assert_cmpint(truncate(f->path, 0), ==, 0);
        write_records(f, 1);
        assert_records(f, "ctr.log", 8, 8);
}

static void
test_new_directory(Fixture *f, gconstpointer data)
{
        g_autofree char *sub = g_build_filename(f->dir, "sub", NULL),
                        *old = g_build_filename(f->dir, "old", NULL);
        g_autofree char *driver = g_strconcat("k8s-file:", sub, "/ctr.log", NULL);
        f->drivers[0] = driver;
        g_assert_cmpint(g_mkdir(sub, 0755), ==, 0);
        write_records(f, 2);
        g_assert_cmpint(g_rename(sub, old), ==, 0);
        /* A path without a directory: the file's directory is used. */
        write_records(f, 2);
        assert_records(f, "old/ctr.log", 3, 3);
        assert_records(f, "old/ctr.log.1", 0, 2);
        g_assert_cmpint(g_mkdir(sub, 0755), ==, 0);
        log_reopen(f->log);
        write_records(f, 2);
        assert_records(f, "sub/ctr.log", 4, 5);
        assert_records(f, "old/ctr.log", 3, 3);
}

/* Without its directory the file can't be created; when the directory exists again, no record was lost. */
static void
test_no_directory(Fixture *f, gconstpointer data)
{
        g_autofree char *sub = g_build_filename(f->dir, "sub", NULL);
        g_autofree char *driver = g_strconcat("k8s-file:", sub, "/ctr.log", NULL);
        f->drivers[0] = driver;
        g_assert_cmpint(g_mkdir(sub, 0755), ==, 0);
        write_records(f, 3);
        tempdir_remove_tree(sub);
        write_records(f, 2);
        g_assert_cmpint(g_mkdir(sub, 0755), ==, 0);
        wait_until(f, is_there, "sub/ctr.log");
        write_records(f, 1);
        assert_records(f, "sub/ctr.log", 3, 5);
}

static void
test_no_descriptors(Fixture *f, gconstpointer data)
{
        struct rlimit before, none;
        write_records(f, 3);
        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
        none = before;
        none.rlim_cur = 3;
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
        write_records(f, 2);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
        wait_until(f, is_there, "ctr.log.1");
        assert_records(f, "ctr.log.1", 0, 2);
        assert_records(f, "ctr.log", 3, 4);
}

static void
test_reopening_is_made_up_for(Fixture *f, gconstpointer data)
{
        struct rlimit before, none;
        write_records(f, 1);
        g_assert_cmpint(g_remove(f->path), ==, 0);
        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
        none = before;
        none.rlim_cur = 3;
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
        log_reopen(f->log);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
        /* The caller gets the new file that it waits for even without output. */
        wait_until(f, is_there, "ctr.log");
}

static void
test_sum_over_restarts(Fixture *f, gconstpointer data)
{
        for (int i = 0; i < 40; i++) {
                write_records(f, i % 5);
                g_assert_cmpint(sum_of_sizes(f->dir), <=, 160 * FILES);
                g_clear_pointer(&f->log, log_free);
        }
        g_assert_cmpint(sum_of_sizes(f->dir), >, 160 * (FILES - 1));
}

/* A process that polls always finds the name, and never more bytes than the limit. */
static void
test_name_is_always_there(Fixture *f, gconstpointer data)
{
        int ends[2];
        write_records(f, 1);
        g_assert_cmpint(pipe(ends), ==, 0);
        pid_t pid = fork();
        if (pid == 0) {
                (void)close(ends[1]);
                (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
                char byte;
                int bad = 0;
                while (read(ends[0], &byte, 1) < 0)
                        bad |= access(f->path, F_OK) < 0;
                _exit(bad);
        }
        (void)close(ends[0]);
        write_records(f, 20000);
        (void)close(ends[1]);
        int status;
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
}

static char *
unzip(const Fixture *f, const char *name)
{
        g_autofree char *path = g_build_filename(f->dir, name, NULL);
        const char *argv[] = {"gzip", "-dc", path, NULL};
        char *out = NULL;
        int status = -1;
        g_autoptr(GError) error = NULL;
        (void)g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, NULL, &status,
                           &error);
        g_assert_no_error(error);
        g_assert_cmpint(status, ==, 0);
        return out;
}

/* Files of about 100 records compress well. */
static void
compress_set_up(Fixture *f)
{
        f->options[0] = (char *)"max-size=5200";
        f->options[2] = (char *)"compress=true";
}

static void
assert_unzipped(const Fixture *f, const char *name, int first, int last)
{
        g_autoptr(GString) expected = g_string_new(NULL);
        for (int i = first; i <= last; i++)
                g_string_append_printf(expected, TEST_CRI("stdout", "F") "r%05d\n", i);
        g_autofree char *content = unzip(f, name);
        g_assert_cmpstr(content, ==, expected->str);
}

static void
test_compress(Fixture *f, gconstpointer data)
{
        compress_set_up(f);
        write_records(f, 101);
        wait_until(f, is_gone, "ctr.log.1");
        assert_unzipped(f, "ctr.log.1.gz", 0, 99);
        g_assert_cmpint(size_of(f, "ctr.log.1.gz"), <, 1000);
        write_records(f, 100);
        wait_until(f, is_gone, "ctr.log.1");
        assert_unzipped(f, "ctr.log.1.gz", 100, 199);
        assert_unzipped(f, "ctr.log.2.gz", 0, 99);
        write_records(f, 100);
        wait_until(f, is_gone, "ctr.log.1");
        assert_unzipped(f, "ctr.log.2.gz", 100, 199);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 3);
        g_assert_cmpint(waitpid(-1, NULL, 0), >, 0);
}

/* Rotated again during compression: the result gets the file's current number. */
static void
test_compress_overtaken(Fixture *f, gconstpointer data)
{
        compress_set_up(f);
        write_records(f, 201);
        wait_until(f, is_there, "ctr.log.2.gz");
        wait_until(f, is_gone, "ctr.log.1");
        assert_unzipped(f, "ctr.log.2.gz", 0, 99);
        assert_unzipped(f, "ctr.log.1.gz", 100, 199);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 3);
        /* Three rotations in a row: the first file is dropped. */
        write_records(f, 400);
        wait_until(f, is_gone, "ctr.log.1");
        wait_until(f, is_gone, "ctr.log.2");
        assert_unzipped(f, "ctr.log.1.gz", 500, 599);
        assert_unzipped(f, "ctr.log.2.gz", 400, 499);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 3);
}

/* A new file without a rotation, because the old one was renamed: the numbers don't change. */
static void
test_compress_moved_away(Fixture *f, gconstpointer data)
{
        compress_set_up(f);
        g_autofree char *away = g_build_filename(f->dir, "away", NULL);
        write_records(f, 101);
        wait_until(f, is_gone, "ctr.log.1");
        write_records(f, 100);
        g_assert_cmpint(g_rename(f->path, away), ==, 0);
        log_reopen(f->log);
        wait_until(f, is_gone, "ctr.log.1");
        assert_unzipped(f, "ctr.log.1.gz", 100, 199);
        assert_unzipped(f, "ctr.log.2.gz", 0, 99);
        assert_records(f, "away", 200, 200);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 4);
}

/* A rotated file that is renamed by another process during compression is not touched. */
static void
test_compress_taken_away(Fixture *f, gconstpointer data)
{
        compress_set_up(f);
        g_autofree char *one = g_build_filename(f->dir, "ctr.log.1", NULL),
                        *away = g_build_filename(f->dir, "away", NULL);
        write_records(f, 101);
        g_assert_cmpint(g_rename(one, away), ==, 0);
        wait_until(f, is_gone, "ctr.log.gz.tmp");
        assert_records(f, "away", 0, 99);
        g_assert_cmpuint(tempdir_count(f->dir), ==, 2);
}

/* Files of an earlier run: an uncompressed file, one that was compressed but not removed, a partial
 * result. */
static void
test_compress_resumed(Fixture *f, gconstpointer data)
{
        compress_set_up(f);
        g_autofree char *text = g_strnfill(5000, 'x');
        tempdir_put(f->dir, "ctr.log.1", text);
        tempdir_put(f->dir, "ctr.log.2", text);
        tempdir_put(f->dir, "ctr.log.2.gz", "done");
        tempdir_put(f->dir, "ctr.log.gz.tmp", "begun");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        wait_until(f, is_there, "ctr.log.1.gz");
        wait_until(f, is_gone, "ctr.log.1");
        wait_until(f, is_gone, "ctr.log.2");
        wait_until(f, is_gone, "ctr.log.gz.tmp");
        g_autofree char *content = unzip(f, "ctr.log.1.gz"), *second = tempdir_get(f->dir, "ctr.log.2.gz");
        g_assert_cmpstr(content, ==, text);
        g_assert_cmpstr(second, ==, "done");
}

/* The maximum number of rotated files: not all names are checked. */
static void
test_compress_without_end(Fixture *f, gconstpointer data)
{
        compress_set_up(f);
        f->options[0] = (char *)"k8s-file.compress=true";
        f->options[1] = NULL;
        f->config.paths = f->drivers;
        f->config.size_max = 5200;
        f->config.rotate = true;
        f->config.max_files = G_MAXINT;
        f->log = log_fixture_start_with(&f->config, NULL, f->options);
        write_records(f, 201);
        assert_records(f, "ctr.log.2", 0, 99);
        assert_records(f, "ctr.log.1", 100, 199);
}

/* Interrupted between the two steps of a rotation: the current file is not compressed. */
static void
test_compress_second_name(Fixture *f, gconstpointer data)
{
        compress_set_up(f);
        g_autofree char *text = g_strnfill(5000, 'x'), *one = g_build_filename(f->dir, "ctr.log.1", NULL);
        tempdir_put(f->dir, "ctr.log", text);
        g_assert_cmpint(link(f->path, one), ==, 0);
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        g_assert_true(is_gone(f, "ctr.log.gz.tmp"));
}

static void
write_noise(Fixture *f, int n)
{
        static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/";
        g_autoptr(GRand) rand = g_rand_new_with_seed(7);
        if (!f->log)
                f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        for (int i = 0; i < n; i++) {
                char line[1001];
                for (int k = 0; k < 1000; k++)
                        line[k] = digits[g_rand_int(rand) % 64];
                line[1000] = '\0';
                log_fixture_write(f->log, STREAM_STDOUT, line);
                log_fixture_write(f->log, STREAM_STDOUT, "\n");
        }
}

static void
test_compress_in_vain(Fixture *f, gconstpointer data)
{
        compress_set_up(f);
        write_noise(f, 5);
        wait_until(f, is_gone, "ctr.log.gz.tmp");
        g_assert_true(is_there(f, "ctr.log.1"));
        g_assert_true(is_gone(f, "ctr.log.1.gz"));
}

/* With compression, too, the files stay within their limit with a fast container: here the result of the
 * child is handled only when the current file is full. */
static void
test_compress_sum(Fixture *f, gconstpointer data)
{
        compress_set_up(f);
        write_noise(f, 6);
        gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        while (size_of(f, "ctr.log.gz.tmp") < size_of(f, "ctr.log.1") / 2 &&
               g_get_monotonic_time() < deadline)
                g_usleep(1000);
        g_assert_cmpint(size_of(f, "ctr.log.gz.tmp"), ==, size_of(f, "ctr.log.1") / 2);
        for (int i = 0; i < 300; i++) {
                write_records(f, 1);
                g_assert_cmpint(sum_of_sizes(f->dir), <=, FILES * 5200);
        }
        g_assert_cmpint(sum_of_sizes(f->dir), >, (FILES - 1) * 5200);
}

/* Closing leaves no temporary file and no child process. */
static void
test_compress_stopped(Fixture *f, gconstpointer data)
{
        compress_set_up(f);
        write_records(f, 101);
        g_clear_pointer(&f->log, log_free);
        g_assert_true(is_gone(f, "ctr.log.gz.tmp"));
        assert_records(f, "ctr.log.1", 0, 99);
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        wait_until(f, is_gone, "ctr.log.1");
        assert_unzipped(f, "ctr.log.1.gz", 0, 99);
}

/* The child is killed when the log is closed. */
static void
test_compress_killed(Fixture *f, gconstpointer data)
{
        if (valgrind_lacks(SYS_pidfd_open)) {
                g_test_skip("valgrind: it has no pidfd_open(2)");
                return;
        }
        f->options[0] = (char *)"max-size=20g";
        f->options[2] = (char *)"compress=true";
        tempdir_put(f->dir, "ctr.log.1", "");
        g_autofree char *old = g_build_filename(f->dir, "ctr.log.1", NULL);
        g_assert_cmpint(truncate(old, INT64_C(10) << 30), ==, 0);
        /* Children of other tests have answered, but may not have exited yet. */
        while (waitpid(-1, NULL, 0) > 0)
                continue;
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        g_clear_pointer(&f->log, log_free);
        gint64 start = g_get_monotonic_time();
        int status;
        g_assert_cmpint(waitpid(-1, &status, 0), >, 0);
        g_assert_true(WIFSIGNALED(status));
        g_assert_cmpint(g_get_monotonic_time() - start, <, 5 * G_USEC_PER_SEC);
}

static void
limit_file_size(rlim_t max)
{
        struct rlimit limit = {.rlim_cur = max, .rlim_max = RLIM_INFINITY};
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &limit), ==, 0);
}

static void
move_away(Fixture *f, int number)
{
        g_autofree char *other = g_strdup_printf("%s/moved.%d", f->dir, number);
        (void)g_rename(f->path, other);
}

static void
write_random(Fixture *f, GRand *rand)
{
        g_autoptr(GString) text = g_string_new(NULL);
        for (int n = g_rand_int_range(rand, 1, 12); n > 0; n--)
                g_string_append_printf(text, "%06d%.*s\n", f->next++, g_rand_int_range(rand, 0, 40),
                                       "........................................");
        log_fixture_write(f->log, STREAM_STDOUT, text->str);
}

/* Counts the records of a file; checks that they are complete. */
static void
count_records(const Fixture *f, const char *name, int *counts)
{
        g_autofree char *content = tempdir_get(f->dir, name);
        g_auto(GStrv) lines = g_strsplit(content, "\n", -1);
        for (char **line = lines; *line; line++) {
                size_t head = strlen(TEST_CRI("stdout", "F"));
                if (!**line && !line[1])
                        break;
                if (strncmp(*line, TEST_CRI("stdout", "F"), head) != 0 ||
                    strspn(*line + head, "0123456789") != 6 ||
                    (*line)[head + 6 + strspn(*line + head + 6, ".")] != '\0')
                        g_error("%s: not a record: %s", name, *line);
                int number = atoi(*line + head);
                g_assert_cmpint(number, <, f->next);
                counts[number]++;
        }
}

static void
run_random(Fixture *f, guint32 seed)
{
        static const rlim_t limits[] = {RLIM_INFINITY, RLIM_INFINITY, 100, 300, 500, 650};
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        /* For both kinds of files: from -l, where each reopen creates a new file, and from --log-driver. */
        f->config.paths = seed % 4 < 2 ? f->drivers : NULL;
        log_fixture_ask(&f->config, seed % 4 < 2 ? NULL : f->drivers, seed % 4 < 2 ? NULL : f->options);
        f->next = 0;
        f->log = log_fixture_start(&f->config);
        for (int i = 0; i < 150; i++) {
                int what = g_rand_int_range(rand, 0, 100);
                if (what < 50)
                        write_random(f, rand);
                else if (what < 70)
                        limit_file_size(limits[g_rand_int_range(rand, 0, G_N_ELEMENTS(limits))]);
                else if (what < 80)
                        log_reopen(f->log);
                else if (what < 90)
                        move_away(f, i);
                else
                        (void)loop_iterate(false);
        }
        limit_file_size(RLIM_INFINITY);
        if (seed % 2) {
                move_away(f, 1000);
                log_reopen(f->log);
        }
        log_finish_local(f->log, G_MAXINT64);
        g_clear_pointer(&f->log, log_free);
        g_autofree int *counts = g_new0(int, f->next);
        GDir *dir = g_dir_open(f->dir, 0, NULL);
        for (const char *name; (name = g_dir_read_name(dir));)
                count_records(f, name, counts);
        g_dir_close(dir);
        for (int i = 0; i < f->next; i++)
                if (counts[i] != 1)
                        g_error("record %d of %d occurs %d times", i, f->next, counts[i]);
}

/* Random operations: each record is in one of the files, once and complete. */
static void
test_random(Fixture *f, gconstpointer data)
{
        f->options[0] = (char *)"max-size=700";
        f->options[1] = (char *)"max-file=10000";
        f->config.size_max = 700;
        f->config.max_files = 9999;
        f->config.rotate = true;
        f->config.sync_at_end = false;
        (void)signal(SIGXFSZ, SIG_IGN);
        for (guint32 seed = 1; seed <= 8; seed++) {
                run_random(f, seed);
                tempdir_remove_tree(f->dir);
                g_assert_cmpint(g_mkdir(f->dir, 0700), ==, 0);
        }
}

#define ADD(name, func) g_test_add("/log/rotate/" name, Fixture, NULL, set_up, func, tear_down)

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        log_fixture_set_up();
        ADD("shift", test_shift);
        ADD("gap", test_gap);
        ADD("second-name", test_second_name);
        ADD("symlink", test_symlink);
        ADD("renamed-away", test_renamed_away);
        ADD("replaced", test_replaced);
        ADD("truncated", test_truncated);
        ADD("new-directory", test_new_directory);
        ADD("no-directory", test_no_directory);
        ADD("no-descriptors", test_no_descriptors);
        ADD("reopening-is-made-up-for", test_reopening_is_made_up_for);
        ADD("sum-over-restarts", test_sum_over_restarts);
        ADD("name-is-always-there", test_name_is_always_there);
        ADD("compress", test_compress);
        ADD("compress-overtaken", test_compress_overtaken);
        ADD("compress-moved-away", test_compress_moved_away);
        ADD("compress-taken-away", test_compress_taken_away);
        ADD("compress-resumed", test_compress_resumed);
        ADD("compress-without-end", test_compress_without_end);
        ADD("compress-second-name", test_compress_second_name);
        ADD("compress-in-vain", test_compress_in_vain);
        ADD("compress-sum", test_compress_sum);
        ADD("compress-stopped", test_compress_stopped);
        ADD("compress-killed", test_compress_killed);
        ADD("random", test_random);
        return g_test_run();
}
