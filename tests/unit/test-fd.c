/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static bool
is_open(int fd)
{
        return fcntl(fd, F_GETFD) >= 0;
}

static void
make_pipe(int fds[2])
{
        g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
}

static void
test_close(void)
{
        int fds[2];
        make_pipe(fds);
        int number = fds[0];
        errno = E2BIG;
        fd_close(&fds[0]);
        g_assert_cmpint(errno, ==, E2BIG);
        g_assert_cmpint(fds[0], ==, -1);
        g_assert_false(is_open(number));
        fd_close(&fds[0]);
        fd_close(&fds[1]);
}

static void
test_scope(void)
{
        int fds[2], kept;
        make_pipe(fds);
        {
                autofd int closed = fds[0];
                autofd int stolen = fds[1];
                kept = fd_steal(&stolen);
                g_assert_cmpint(stolen, ==, -1);
                g_assert_true(is_open(closed));
        }
        g_assert_false(is_open(fds[0]));
        g_assert_true(is_open(kept));
        fd_close(&kept);
}

static void
test_flags(void)
{
        int fds[2];
        make_pipe(fds);
        g_assert_cmpint(fd_set_cloexec(fds[0], false), ==, 0);
        g_assert_cmpint(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, ==, 0);
        g_assert_cmpint(fd_set_cloexec(fds[0], true), ==, 0);
        g_assert_cmpint(fcntl(fds[0], F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);

        int before = fcntl(fds[1], F_GETFL);
        g_assert_cmpint(fd_set_nonblock(fds[1], true), ==, 0);
        g_assert_cmpint(fcntl(fds[1], F_GETFL), ==, before | O_NONBLOCK);
        g_assert_cmpint(fd_set_nonblock(fds[1], false), ==, 0);
        g_assert_cmpint(fcntl(fds[1], F_GETFL), ==, before);

        int closed = fds[0];
        fd_close(&fds[0]);
        fd_close(&fds[1]);
        g_assert_cmpint(fd_set_cloexec(closed, true), ==, -EBADF);
        g_assert_cmpint(fd_set_nonblock(closed, true), ==, -EBADF);
}

/* More than fits into a pipe, so that the writer must continue after short writes. */
#define MUCH ((size_t)1 << 20)

static gpointer
read_to_end(gpointer data)
{
        GByteArray *all = g_byte_array_new();
        char part[1000];
        ssize_t n;
        while ((n = fd_read(GPOINTER_TO_INT(data), part, sizeof part)) > 0)
                g_byte_array_append(all, (guint8 *)part, (guint)n);
        g_assert_cmpint(n, ==, 0);
        return all;
}

static void
on_alarm(int signo)
{
}

/* Without SA_RESTART, so that blocking calls return EINTR. */
static void
interrupt_often(bool on)
{
        struct sigaction action = {.sa_handler = on_alarm};
        struct itimerval interval = {.it_interval.tv_usec = 200, .it_value.tv_usec = 200};
        struct itimerval never = {0};
        g_assert_cmpint(sigaction(SIGALRM, &action, NULL), ==, 0);
        g_assert_cmpint(setitimer(ITIMER_REAL, on ? &interval : &never, NULL), ==, 0);
}

static void
test_write_all(void)
{
        int fds[2];
        make_pipe(fds);
        g_autofree char *data = g_malloc(MUCH);
        for (size_t i = 0; i < MUCH; i++)
                data[i] = (char)(i * 31 + i / 251);
        interrupt_often(true);
        GThread *reader = g_thread_new("reader", read_to_end, GINT_TO_POINTER(fds[0]));
        g_assert_cmpint(fd_write_all(fds[1], data, MUCH), ==, 0);
        fd_close(&fds[1]);
        g_autoptr(GByteArray) all = g_thread_join(reader);
        interrupt_often(false);
        g_assert_cmpmem(all->data, all->len, data, MUCH);
        fd_close(&fds[0]);
}

static void
test_write_error(void)
{
        int fds[2];
        make_pipe(fds);
        fd_close(&fds[0]);
        signal(SIGPIPE, SIG_IGN);
        g_assert_cmpint(fd_write_all(fds[1], "x", 1), ==, -EPIPE);
        g_assert_cmpint(fd_write_all(fds[1], "", 0), ==, 0);
        fd_close(&fds[1]);
}

static void
test_read_error(void)
{
        char byte;
        autofd int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(fd_read(fd, &byte, 1), ==, -EISDIR);
}

static void
test_read_file(void)
{
        g_autofree char *dir = g_dir_make_tmp("test-fd-XXXXXX", NULL);
        g_autofree char *path = g_build_filename(dir, "file", NULL);
        g_autofree char *missing = g_build_filename(dir, "missing", NULL);
        g_autofree char *data = g_strnfill(10000, 'x');
        g_assert_true(g_file_set_contents(path, data, 10000, NULL));

        g_autofree char *all = NULL, *exact = NULL, *part = NULL, *none = NULL;
        size_t len = 0;
        g_assert_cmpint(fd_read_file(path, 20000, &all, &len), ==, 0);
        g_assert_cmpuint(len, ==, 10000);
        g_assert_cmpstr(all, ==, data);
        g_assert_cmpint(fd_read_file(path, 10000, &exact, &len), ==, 0);
        g_assert_cmpuint(len, ==, 10000);
        g_assert_cmpint(fd_read_file(path, 9999, &part, NULL), ==, -EFBIG);
        g_assert_cmpint(fd_read_file(path, 4096, &part, NULL), ==, -EFBIG);
        g_assert_null(part);
        g_assert_cmpint(fd_read_file(missing, 10, &none, &len), ==, -ENOENT);
        g_assert_cmpint(fd_read_file(dir, 10, &none, &len), ==, -EISDIR);
        g_assert_null(none);

        g_assert_true(g_file_set_contents(path, "", 0, NULL));
        g_autofree char *empty = NULL;
        g_assert_cmpint(fd_read_file(path, 10, &empty, &len), ==, 0);
        g_assert_cmpstr(empty, ==, "");
        g_assert_cmpuint(len, ==, 0);
        (void)g_unlink(path);
        (void)g_rmdir(dir);
}

static int
try_open(int dirfd, const char *name, int flags)
{
        autofd int fd = fd_open_beneath(dirfd, name, flags);
        g_assert_true(fd < 0 || (fcntl(fd, F_GETFD) & FD_CLOEXEC));
        return MIN(fd, 0);
}

static void
test_open_beneath(void)
{
        g_autofree char *dir = g_dir_make_tmp("conmon-test-XXXXXX", NULL);
        g_assert_nonnull(dir);
        autofd int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(mkdirat(dirfd, "directory", 0700), ==, 0);
        g_assert_cmpint(symlinkat("directory", dirfd, "link"), ==, 0);
        g_assert_cmpint(symlinkat("/etc/passwd", dirfd, "file"), ==, 0);
        g_assert_cmpint(try_open(dirfd, "directory", O_PATH | O_DIRECTORY), ==, 0);
        g_assert_cmpint(try_open(dirfd, "link", O_PATH | O_DIRECTORY), <, 0);
        g_assert_cmpint(try_open(dirfd, "file", O_RDONLY), ==, -ELOOP);
        g_assert_cmpint(try_open(dirfd, "missing", O_RDONLY), ==, -ENOENT);
        for (const char *const *name = (const char *const[]){"file", "link", NULL}; *name; name++)
                g_assert_cmpint(unlinkat(dirfd, *name, 0), ==, 0);
        g_assert_cmpint(unlinkat(dirfd, "directory", AT_REMOVEDIR), ==, 0);
        g_assert_cmpint(rmdir(dir), ==, 0);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/fd/close", test_close);
        g_test_add_func("/fd/scope", test_scope);
        g_test_add_func("/fd/flags", test_flags);
        g_test_add_func("/fd/write-all", test_write_all);
        g_test_add_func("/fd/write-error", test_write_error);
        g_test_add_func("/fd/read-error", test_read_error);
        g_test_add_func("/fd/read-file", test_read_file);
        g_test_add_func("/fd/open-beneath", test_open_beneath);
        return g_test_run();
}
