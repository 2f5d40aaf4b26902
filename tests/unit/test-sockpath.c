#include "base/sockpath.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stddef.h>
#include <string.h>
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

/* A path below a fresh directory that has `len` characters; the caller frees it. */
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
}

/* Number of open descriptors, to see that a failure leaves none behind. */
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

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/sockpath/lengths", test_lengths);
        g_test_add_func("/sockpath/very-long", test_very_long);
        g_test_add_func("/sockpath/abstract", test_abstract);
        g_test_add_func("/sockpath/errors", test_errors);
        g_test_add_func("/sockpath/cloexec", test_cloexec);
        return g_test_run();
}
