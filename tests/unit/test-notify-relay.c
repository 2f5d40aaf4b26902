/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/notify_relay.h"

#include "base/fd.h"
#include "base/sockpath.h"
#include "loop.h"
#include "tempdir.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static void
assert_filter_len(const char *in, size_t len, const char *expected)
{
        g_autofree char *text = g_malloc(len + 1);
        memcpy(text, in, len);
        size_t left = notify_filter(text, len);
        g_assert_cmpmem(text, left, expected, strlen(expected));
}

static void
assert_filter(const char *in, const char *expected)
{
        assert_filter_len(in, strlen(in), expected);
}

/* One row for each known assignment. */
static void
test_filter_assignments(void)
{
        static const char *const passed[] = {"READY=1",
                                             "RELOADING=1",
                                             "STOPPING=1",
                                             "WATCHDOG=1",
                                             "WATCHDOG=trigger",
                                             "STATUS=up = good",
                                             "STATUS=",
                                             "ERRNO=2",
                                             "BUSERROR=org.x",
                                             "MONOTONIC_USEC=77",
                                             "EXTEND_TIMEOUT_USEC=5000000"};
        static const char *const dropped[] = {"MAINPID=1",
                                              "MAINPIDFDID=1",
                                              "FDSTORE=1",
                                              "FDSTOREREMOVE=1",
                                              "FDNAME=x",
                                              "FDPOLL=0",
                                              "BARRIER=1",
                                              "NOTIFYACCESS=all",
                                              "WATCHDOG_USEC=1",
                                              "READY=0",
                                              "READY=11",
                                              "READY",
                                              "READY=",
                                              " READY=1",
                                              "ready=1",
                                              "WATCHDOG=triggers",
                                              "RELOADING=",
                                              "STOPPING=10",
                                              "STATUS",
                                              "ERRNO",
                                              "XSTATUS=1",
                                              "X_MINE=1",
                                              "EXIT_STATUS=3",
                                              "=",
                                              ""};
        for (size_t i = 0; i < G_N_ELEMENTS(passed); i++)
                assert_filter(passed[i], passed[i]);
        for (size_t i = 0; i < G_N_ELEMENTS(dropped); i++)
                assert_filter(dropped[i], "");
}

static void
test_filter_lines(void)
{
        assert_filter("READY=1\n", "READY=1");
        assert_filter("MAINPID=7\nREADY=1\nSTATUS=a b\n", "READY=1\nSTATUS=a b");
        assert_filter("READY=1\r\nSTOPPING=1\r\n", "READY=1\nSTOPPING=1");
        assert_filter("\n\n\rREADY=1\n\n\nSTATUS=x\n\n", "READY=1\nSTATUS=x");
        assert_filter("STATUS=x\rREADY=1", "STATUS=x\nREADY=1");
        assert_filter("FDSTORE=1\nBARRIER=1\n", "");
        assert_filter("\n", "");
        assert_filter_len("READY=1\0STATUS=x", 16, "READY=1");
        assert_filter_len("READY=1\n\0", 9, "READY=1");
        assert_filter_len("\0READY=1", 8, "");
}

/* A bundle, a host that listens, and a client like the one in a container. */
typedef struct {
        char *dir;
        char *bundle;
        char *host_path;
        int host;
        NotifyRelay *relay;
        int client;
} Fixture;

static int
bound_socket(const char *path)
{
        SockPath sp;
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_assert_cmpint(sockpath_init(&sp, path), ==, 0);
        g_assert_cmpint(bind(fd, (struct sockaddr *)&sp.addr, sp.len), ==, 0);
        sockpath_done(&sp);
        return fd;
}

static int
connected_client(const char *path)
{
        SockPath sp;
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_assert_cmpint(sockpath_init(&sp, path), ==, 0);
        g_assert_cmpint(connect(fd, (struct sockaddr *)&sp.addr, sp.len), ==, 0);
        sockpath_done(&sp);
        return fd;
}

/* `deeper` is a relative directory of any length that contains the bundle and the host's socket. */
static void
set_up(Fixture *f, const char *deeper, const char *abstract)
{
        f->dir = tempdir_new();
        f->bundle = g_build_filename(f->dir, deeper, "bundle", NULL);
        f->host_path = abstract ? g_strdup(abstract) : g_build_filename(f->dir, deeper, "host.sock", NULL);
        g_autofree char *notify = g_build_filename(f->bundle, "notify", NULL);
        g_assert_cmpint(g_mkdir_with_parents(notify, 0755), ==, 0);
        f->host = bound_socket(f->host_path);
        g_autoptr(GError) error = NULL;
        f->relay = notify_relay_new(f->bundle, f->host_path, &error);
        g_assert_no_error(error);
        g_autofree char *path = g_build_filename(notify, "notify.sock", NULL);
        f->client = connected_client(path);
}

static void
tear_down(Fixture *f)
{
        notify_relay_free(f->relay);
        fd_close(&f->client);
        fd_close(&f->host);
        tempdir_remove(f->dir);
        g_free(f->bundle);
        g_free(f->host_path);
}

static void
say(Fixture *f, const char *text)
{
        g_assert_cmpint(send(f->client, text, strlen(text), 0), ==, (ssize_t)strlen(text));
}

static void
assert_heard(Fixture *f, const char *expected)
{
        static char buf[256 * 1024];
        ssize_t n = recv(f->host, buf, sizeof buf, MSG_DONTWAIT);
        if (!expected) {
                g_assert_cmpint(n, ==, -1);
                g_assert_cmpint(errno, ==, EAGAIN);
                return;
        }
        g_assert_cmpint(n, >=, 0);
        g_assert_cmpmem(buf, (size_t)n, expected, strlen(expected));
}

static void
test_relay(void)
{
        Fixture f;
        set_up(&f, "", NULL);
        say(&f, "MAINPID=7\nREADY=1\nSTATUS=hello\n");
        say(&f, "MAINPID=7\n");
        say(&f, "");
        say(&f, "STOPPING=1");
        loop_serve();
        assert_heard(&f, "READY=1\nSTATUS=hello");
        assert_heard(&f, "STOPPING=1");
        assert_heard(&f, NULL);
        tear_down(&f);
}

static void
test_names(void)
{
        char deeper[512];
        for (size_t i = 0; i < sizeof deeper; i++)
                deeper[i] = i % 100 == 99 ? '/' : 'd';
        deeper[sizeof deeper - 1] = '\0';
        g_autofree char *abstract = g_strdup_printf("@conmon-test-%d", (int)getpid());
        for (int i = 0; i < 3; i++) {
                Fixture f;
                set_up(&f, i == 0 ? deeper : "", i == 1 ? abstract : NULL);
                say(&f, "READY=1");
                loop_serve();
                assert_heard(&f, "READY=1");
                tear_down(&f);
        }
}

/* All users in the container may send, with any umask; a socket of an earlier run is replaced. */
static void
test_socket_file(void)
{
        Fixture f;
        mode_t before = umask(0077);
        set_up(&f, "", NULL);
        g_autofree char *path = g_build_filename(f.bundle, "notify", "notify.sock", NULL);
        struct stat st;
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpuint(st.st_mode, ==, S_IFSOCK | 0777);
        g_assert_cmpuint(umask(before), ==, 0077);

        g_autoptr(GError) error = NULL;
        NotifyRelay *second = notify_relay_new(f.bundle, f.host_path, &error);
        g_assert_no_error(error);
        int client = connected_client(path);
        g_assert_cmpint(send(client, "READY=1", 7, 0), ==, 7);
        loop_serve();
        assert_heard(&f, "READY=1");
        notify_relay_free(second);
        fd_close(&client);
        g_assert_cmpint(stat(path, &st), ==, 0);
        tear_down(&f);
}

static void
test_cannot_bind(void)
{
        char *dir = tempdir_new();
        g_autoptr(GError) error = NULL;
        g_assert_null(notify_relay_new(dir, "@nobody", &error));
        g_assert_nonnull(error);
        g_assert_nonnull(strstr(error->message, "/notify/notify.sock"));
        tempdir_remove(dir);
}

/* While the host's socket is missing, only the messages of that time are lost. */
static void
come_and_go(void)
{
        Fixture f;
        set_up(&f, "", NULL);
        for (int i = 0; i < 3; i++) {
                fd_close(&f.host);
                g_assert_cmpint(unlink(f.host_path), ==, 0);
                say(&f, "STATUS=nobody listens");
                say(&f, "STATUS=still nobody");
                loop_serve();
                f.host = bound_socket(f.host_path);
                say(&f, "READY=1");
                loop_serve();
                assert_heard(&f, "READY=1");
                assert_heard(&f, NULL);
        }
        /* The host is restarted between two messages: the second one still arrives. */
        fd_close(&f.host);
        g_assert_cmpint(unlink(f.host_path), ==, 0);
        f.host = bound_socket(f.host_path);
        say(&f, "STATUS=again");
        loop_serve();
        assert_heard(&f, "STATUS=again");
        tear_down(&f);
}

/* The loss is reported once, not for every message. */
static void
test_host_comes_and_goes(void)
{
        char *dir = tempdir_new();
        tempdir_put(dir, "stderr", "");
        g_autofree char *path = g_build_filename(dir, "stderr", NULL);
        autofd int file = open(path, O_WRONLY | O_CLOEXEC);
        autofd int before = dup(STDERR_FILENO);
        g_assert_cmpint(dup2(file, STDERR_FILENO), ==, STDERR_FILENO);
        come_and_go();
        g_assert_cmpint(dup2(before, STDERR_FILENO), ==, STDERR_FILENO);
        g_autofree char *said = tempdir_get(dir, "stderr");
        g_assert_true(g_str_has_prefix(said, "[conmon:w]: Dropped a notification of the container"));
        g_assert_true(g_str_has_suffix(said, ": No such file or directory\n"));
        g_assert_true(strchr(said, '\n') == said + strlen(said) - 1);
        tempdir_remove(dir);
}

static void
test_sizes(void)
{
        Fixture f;
        set_up(&f, "", NULL);
        g_autofree char *filling = g_strnfill(64 * 1024 - strlen("STATUS=\nREADY=1\nA=1"), 'x');
        g_autofree char *most = g_strdup_printf("STATUS=%s\nREADY=1\nA=1", filling);
        g_autofree char *kept = g_strndup(most, strlen(most) - 4);
        g_assert_cmpuint(strlen(most), ==, 64 * 1024);
        g_autofree char *more = g_strdup_printf("STATUS=%s\nREADY=1\nFDSTORE=1", filling);
        g_assert_cmpuint(strlen(more), >, 64 * 1024);
        say(&f, most);
        say(&f, more);
        say(&f, "READY=1");
        loop_serve();
        assert_heard(&f, kept);
        assert_heard(&f, "READY=1");
        assert_heard(&f, NULL);
        tear_down(&f);
}

/* Sends until the socket is full. Returns the number of sent messages. */
static int
send_all(Fixture *f, int from)
{
        for (int n = from;; n++) {
                char text[32];
                int len = g_snprintf(text, sizeof text, "STATUS=%d", n);
                if (send(f->client, text, (size_t)len, 0) < 0) {
                        loop_serve();
                        if (send(f->client, text, (size_t)len, 0) < 0)
                                return n;
                }
        }
}

/* A host that does not read delays the container's messages, not the monitor, and loses none. */
static void
test_host_is_slow(void)
{
        Fixture f;
        set_up(&f, "", NULL);
        int sent = send_all(&f, 0);
        g_assert_cmpint(sent, >, 10);
        loop_serve();
        for (int n = 0; n < sent; n++) {
                g_autofree char *expected = g_strdup_printf("STATUS=%d", n);
                assert_heard(&f, expected);
                loop_serve();
        }
        assert_heard(&f, NULL);
        say(&f, "READY=1");
        loop_serve();
        assert_heard(&f, "READY=1");
        tear_down(&f);
}

/* The host's socket is closed while a message waits for it. */
static void
test_slow_host_is_restarted(void)
{
        Fixture f;
        set_up(&f, "", NULL);
        (void)send_all(&f, 0);
        g_assert_cmpint(unlink(f.host_path), ==, 0);
        int old = f.host;
        f.host = bound_socket(f.host_path);
        fd_close(&old);
        loop_serve();
        char buf[32];
        g_assert_cmpint(recv(f.host, buf, sizeof buf, MSG_DONTWAIT), >, 0);
        tear_down(&f);
}

static void
test_free_forwards_the_rest(void)
{
        Fixture f;
        set_up(&f, "", NULL);
        say(&f, "MAINPID=1");
        say(&f, "STATUS=last words");
        say(&f, "STOPPING=1");
        notify_relay_free(g_steal_pointer(&f.relay));
        assert_heard(&f, "STATUS=last words");
        assert_heard(&f, "STOPPING=1");
        tear_down(&f);

        set_up(&f, "", NULL);
        (void)send_all(&f, 0);
        tear_down(&f);
}

static void
send_descriptor(int via, int fd)
{
        char control[CMSG_SPACE(sizeof fd)] = {0};
        char text[] = "BARRIER=1";
        struct iovec iov = {.iov_base = text, .iov_len = strlen(text)};
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
        g_assert_cmpint(sendmsg(via, &msg, 0), ==, (ssize_t)strlen(text));
}

/* systemd-notify passes one end of a pipe and waits until all copies are closed. */
static void
test_descriptors_are_closed(void)
{
        Fixture f;
        set_up(&f, "", NULL);
        int ends[2];
        char byte;
        g_assert_cmpint(pipe2(ends, O_NONBLOCK | O_CLOEXEC), ==, 0);
        guint before = tempdir_count("/proc/self/fd");
        send_descriptor(f.client, ends[1]);
        fd_close(&ends[1]);
        g_assert_cmpint(read(ends[0], &byte, 1), ==, -1);
        loop_serve();
        g_assert_cmpint(read(ends[0], &byte, 1), ==, 0);
        assert_heard(&f, NULL);
        g_assert_cmpuint(tempdir_count("/proc/self/fd"), ==, before - 1);
        fd_close(&ends[0]);
        tear_down(&f);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/notify-relay/filter-assignments", test_filter_assignments);
        g_test_add_func("/notify-relay/filter-lines", test_filter_lines);
        g_test_add_func("/notify-relay/relay", test_relay);
        g_test_add_func("/notify-relay/names", test_names);
        g_test_add_func("/notify-relay/socket-file", test_socket_file);
        g_test_add_func("/notify-relay/cannot-bind", test_cannot_bind);
        g_test_add_func("/notify-relay/host-comes-and-goes", test_host_comes_and_goes);
        g_test_add_func("/notify-relay/sizes", test_sizes);
        g_test_add_func("/notify-relay/host-is-slow", test_host_is_slow);
        g_test_add_func("/notify-relay/slow-host-is-restarted", test_slow_host_is_restarted);
        g_test_add_func("/notify-relay/free-forwards-the-rest", test_free_forwards_the_rest);
        g_test_add_func("/notify-relay/descriptors-are-closed", test_descriptors_are_closed);
        return g_test_run();
}
