/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/sockpath.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Binds, connects and sends a datagram through the address. */
static void
check_usable(const char *path)
{
        autofd int server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        autofd int client = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        SockPath there, here;
        char byte;
        g_assert_cmpint(sockpath_init(&there, path), ==, 0);
        g_assert_cmpint(bind(server, (struct sockaddr *)&there.addr, there.len), ==, 0);
        sockpath_done(&there);
        g_assert_cmpint(sockpath_init(&here, path), ==, 0);
        g_assert_cmpint(connect(client, (struct sockaddr *)&here.addr, here.len), ==, 0);
        sockpath_done(&here);
        g_assert_cmpint(write(client, "k", 1), ==, 1);
        g_assert_cmpint(read(server, &byte, 1), ==, 1);
        g_assert_cmpint(byte, ==, 'k');
}

/* A path of `len` characters in a new directory; the caller frees it. */
static char *
make_path(size_t len)
{
        g_autofree char *top = g_dir_make_tmp("test-sock-XXXXXX", NULL);
        GString *path = g_string_new(top);
        while (path->len + 60 < len) {
                g_string_append(path, "/a-directory-with-a-name-of-some-length");
                g_assert_cmpint(g_mkdir(path->str, 0755), ==, 0);
        }
        g_string_append_c(path, '/');
        while (path->len < len)
                g_string_append_c(path, 's');
        return g_string_free(path, FALSE);
}

static void
remove_path(const char *path)
{
        g_autofree char *at = g_strdup(path);
        for (; strstr(at, "test-sock-"); *strrchr(at, '/') = '\0')
                g_assert_cmpint(g_remove(at), ==, 0);
}

static void
test_lengths(void)
{
        for (size_t len = 105; len <= 110; len++) {
                g_autofree char *path = make_path(len);
                SockPath sp;
                g_assert_cmpint(sockpath_init(&sp, path), ==, 0);
                g_assert_cmpint(sp.dirfd >= 0, ==, len > 107);
                sockpath_done(&sp);
                g_assert_cmpint(sp.dirfd, ==, -1);
                check_usable(path);
                g_assert_true(g_file_test(path, G_FILE_TEST_EXISTS));
                remove_path(path);
        }
}

static void
test_very_long(void)
{
        g_autofree char *path = make_path(700);
        check_usable(path);
        remove_path(path);
}

static void
test_abstract(void)
{
        g_autofree char *path = g_strdup_printf("@conmon-test-%d", (int)getpid());
        SockPath sp;
        g_assert_cmpint(sockpath_init(&sp, path), ==, 0);
        g_assert_cmpint(sp.addr.sun_path[0], ==, '\0');
        g_assert_cmpuint(sp.len, ==, offsetof(struct sockaddr_un, sun_path) + strlen(path));
        check_usable(path);
        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));

        g_autofree char *longest = g_strdup_printf("@%0*d", (int)sizeof sp.addr.sun_path - 1, (int)getpid());
        check_usable(longest);
}

/* The number of open descriptors, to check that a failure leaves none behind. */
static guint
count_descriptors(void)
{
        guint n = 0;
        for (int fd = 0; fd < 256; fd++)
                if (fcntl(fd, F_GETFD) >= 0)
                        n++;
        return n;
}

static void
test_errors(void)
{
        SockPath sp;
        guint before = count_descriptors();
        g_autofree char *name = g_strnfill(120, 'n');
        g_autofree char *missing = g_strdup_printf("/nonexistent/%s", name);
        g_autofree char *too_long = g_strdup_printf("/tmp/%s", name);
        name[sizeof sp.addr.sun_path] = '\0';
        g_autofree char *abstract = g_strdup_printf("@%s", name);
        g_assert_cmpint(sockpath_init(&sp, missing), ==, -ENOENT);
        g_assert_cmpint(sockpath_init(&sp, too_long), ==, -ENAMETOOLONG);
        g_assert_cmpint(sp.dirfd, ==, -1);
        g_assert_cmpint(sockpath_init(&sp, abstract), ==, -ENAMETOOLONG);
        g_assert_cmpuint(count_descriptors(), ==, before);
}

static void
test_cloexec(void)
{
        g_autofree char *path = make_path(200);
        SockPath sp;
        g_assert_cmpint(sockpath_init(&sp, path), ==, 0);
        g_assert_cmpint(fcntl(sp.dirfd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
        sockpath_done(&sp);
        check_usable(path);
        remove_path(path);
}

static const char *listening_at; /* the path of the socket of the running test */

/* Replaces the C library's function. A client that waits for the name and connects at once must be
 * accepted. */
int
listen(int fd, int backlog)
{
        autofd int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        SockPath sp;
        int r = sockpath_init(&sp, listening_at);
        if (r == 0 && listening_at[0] != '@') {
                g_assert_cmpint(connect(client, (struct sockaddr *)&sp.addr, sp.len), ==, -1);
                g_assert_cmpint(errno, ==, ENOENT);
        }
        sockpath_done(&sp);
        return (int)syscall(SYS_listen, fd, backlog);
}

static void
check_listens(const char *path)
{
        autofd int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        SockPath sp;
        listening_at = path;
        autofd int server = sockpath_listen(SOCK_STREAM, path, 1);
        g_assert_cmpint(server, >=, 0);
        g_assert_cmpint(sockpath_init(&sp, path), ==, 0);
        g_assert_cmpint(connect(client, (struct sockaddr *)&sp.addr, sp.len), ==, 0);
        sockpath_done(&sp);
}

static void
check_only_entry(const char *path)
{
        struct stat st;
        g_autofree char *dir_path = g_path_get_dirname(path);
        g_autofree char *name = g_path_get_basename(path);
        g_autoptr(GDir) dir = g_dir_open(dir_path, 0, NULL);
        g_assert_cmpstr(g_dir_read_name(dir), ==, name);
        g_assert_null(g_dir_read_name(dir));
        g_assert_cmpint(lstat(path, &st), ==, 0);
        g_assert_cmpuint(st.st_mode, ==, S_IFSOCK | 0700);
}

static void
test_listens_before_its_name(void)
{
        static const size_t lengths[] = {60, 100, 107, 108, 700};
        mode_t mask = umask(0);
        for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
                g_autofree char *path = make_path(lengths[i]);
                check_listens(path);
                check_only_entry(path);
                remove_path(path);
        }
        (void)umask(mask);
        g_autofree char *abstract = g_strdup_printf("@conmon-test-%d", (int)getpid());
        check_listens(abstract);
}

/* The longest name that fits into an address, with a short and a long directory. */
static void
test_listens_at_a_long_name(void)
{
        for (int deep = 0; deep <= 1; deep++) {
                g_autofree char *top = make_path(deep ? 200 : 0);
                g_autofree char *dir = g_path_get_dirname(top);
                g_autofree char *name = g_strnfill(deep ? 90 : 107 - strlen(dir) - 1, 'n');
                g_autofree char *path = g_build_filename(dir, name, NULL);
                check_listens(path);
                check_only_entry(path);
                remove_path(path);
        }
}

static void
test_replaces_a_stale_socket(void)
{
        g_autofree char *path = make_path(60);
        autofd int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        SockPath sp;
        g_assert_cmpint(sockpath_init(&sp, path), ==, 0);
        g_assert_cmpint(bind(stale, (struct sockaddr *)&sp.addr, sp.len), ==, 0);
        sockpath_done(&sp);
        fd_close(&stale);
        listening_at = "/nonexistent/name"; /* where the stale socket is until it is replaced */
        autofd int server = sockpath_listen(SOCK_STREAM, path, 1);
        g_assert_cmpint(server, >=, 0);
        check_only_entry(path);
        remove_path(path);
}

/* A directory can't be replaced; no temporary socket is left. */
static void
test_failure_leaves_nothing(void)
{
        g_autofree char *path = make_path(60);
        listening_at = "/nonexistent/name";
        g_assert_cmpint(g_mkdir(path, 0755), ==, 0);
        g_assert_cmpint(sockpath_listen(SOCK_STREAM, path, 1), ==, -EISDIR);
        remove_path(path); /* would fail for a directory that is not empty */
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/sockpath/lengths", test_lengths);
        g_test_add_func("/sockpath/very-long", test_very_long);
        g_test_add_func("/sockpath/abstract", test_abstract);
        g_test_add_func("/sockpath/errors", test_errors);
        g_test_add_func("/sockpath/cloexec", test_cloexec);
        g_test_add_func("/sockpath/listens-before-its-name", test_listens_before_its_name);
        g_test_add_func("/sockpath/listens-at-a-long-name", test_listens_at_a_long_name);
        g_test_add_func("/sockpath/replaces-a-stale-socket", test_replaces_a_stale_socket);
        g_test_add_func("/sockpath/failure-leaves-nothing", test_failure_leaves_nothing);
        return g_test_run();
}
