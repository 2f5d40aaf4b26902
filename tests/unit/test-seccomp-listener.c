/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "seccomp/notify_listener.h"

#include "base/fd.h"
#include "base/sockpath.h"
#include "loop.h"
#include "tempdir.h"
#include "valgrind.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST  (g_getenv("TEST_PLUGIN_FIRST"))
#define SECOND (g_getenv("TEST_PLUGIN_SECOND"))

typedef struct {
        char *dir;
        char *socket_path;
        SeccompListener *listener;
} Fixture;

static SeccompListener *
listen_with(Fixture *f, const char *plugins, GError **error)
{
        SeccompConfig config = {
                .socket_path = f->socket_path, .plugins = plugins, .name = "nm", .bundle = "/b"};
        return seccomp_listener_new(&config, error);
}

static void
set_up(Fixture *f, const char *deeper)
{
        f->dir = tempdir_new();
        g_autofree char *parent = g_build_filename(f->dir, deeper, NULL);
        g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
        f->socket_path = g_build_filename(parent, "seccomp.sock", NULL);
        g_autofree char *log = g_build_filename(f->dir, "log", NULL);
        g_setenv("TEST_PLUGIN_LOG", log, TRUE);
        g_autofree char *plugins = g_strjoin(":", FIRST, SECOND, NULL);
        g_autoptr(GError) error = NULL;
        f->listener = listen_with(f, plugins, &error);
        g_assert_no_error(error);
}

static void
tear_down(Fixture *f)
{
        seccomp_listener_free(f->listener);
        tempdir_remove(f->dir);
        g_free(f->socket_path);
}

static int
connect_to(const char *path)
{
        SockPath sp;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(sockpath_init(&sp, path), ==, 0);
        g_assert_cmpint(connect(fd, (struct sockaddr *)&sp.addr, sp.len), ==, 0);
        sockpath_done(&sp);
        return fd;
}

/* Sends a state in JSON with a descriptor, as a runtime does. */
static void
send_state(int via, int fd)
{
        char text[] =
                "{\"ociVersion\":\"1.0.2\",\"fds\":[\"seccompFd\"],\"pid\":1,\"metadata\":\"\",\"state\":{}}";
        char control[CMSG_SPACE(sizeof fd)] = {0};
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

static const int watched[] = {SYS_getppid, SYS_getpgid, SYS_getsid, SYS_getpriority, SYS_sched_getscheduler,
                              SYS_getegid};

/* Installs a filter that passes the calls above to the holder of the returned descriptor; returns -errno on
 * failure. */
static int
install_filter(void)
{
        struct sock_filter code[2 * G_N_ELEMENTS(watched) + 2];
        size_t n = 0;
        code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
        for (size_t i = 0; i < G_N_ELEMENTS(watched); i++) {
                code[n++] =
                        (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)watched[i], 0, 1);
                code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
        }
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
        return fd < 0 ? -errno : (int)fd;
}

typedef struct {
        int filter; /* 0 or -errno */
        long value[G_N_ELEMENTS(watched)];
        int error[G_N_ELEMENTS(watched)];
} Report;

/* The container: installs the filter, passes its descriptor on, makes the calls, reports the results. */
static void
run_container(const char *socket_path, int report_fd)
{
        Report report = {0};
        int via = connect_to(socket_path);
        int fd = install_filter();
        if (fd < 0) {
                report.filter = fd;
        } else {
                send_state(via, fd);
                close(fd);
                close(via);
                for (size_t i = 0; i < G_N_ELEMENTS(watched); i++) {
                        errno = 0;
                        report.value[i] = syscall(watched[i], 0, 0);
                        report.error[i] = errno;
                }
        }
        (void)!write(report_fd, &report, sizeof report);
        _exit(0);
}

static void
on_report(GIOCondition revents, void *done)
{
        *(gboolean *)done = TRUE;
}

/* Runs a container to its end. Returns FALSE if this kernel does not allow such a filter. */
static gboolean
container_report(Fixture *f, Report *ret)
{
        int ends[2];
        gboolean done = FALSE;
        Watch report;
        g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        pid_t pid = fork();
        if (pid == 0)
                run_container(f->socket_path, ends[1]);
        fd_close(&ends[1]);
        watch_init(&report, ends[0], WATCH_PRIORITY_IO, on_report, &done);
        watch_arm(&report, G_IO_IN);
        while (!done)
                g_assert_true(loop_wait(20 * G_USEC_PER_SEC));
        watch_done(&report);
        g_assert_cmpint(read(ends[0], ret, sizeof *ret), ==, sizeof *ret);
        fd_close(&ends[0]);
        g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
        loop_serve();
        return ret->filter == 0;
}

static void
assert_report(const Report *report, long getsid)
{
        static const long values[] = {1111, 3333, 0, -1, -1, -1};
        static const int errors[] = {0, 0, 0, EUCLEAN, EDOM, ENOTSUP};
        for (size_t i = 0; i < G_N_ELEMENTS(watched); i++) {
                g_assert_cmpint(report->value[i], ==, watched[i] == SYS_getsid ? getsid : values[i]);
                g_assert_cmpint(report->error[i], ==, errors[i]);
        }
}

/* It works for several processes, and descriptors are closed when the processes exit. */
static void
test_answers(void)
{
        Fixture f;
        Report report;
        set_up(&f, "");
        loop_serve(); /* opens the descriptors of the loop */
        guint before = tempdir_count("/proc/self/fd");
        for (int i = 0; i < 2; i++) {
                if (!container_report(&f, &report)) {
                        g_test_skip("this kernel refuses a seccomp filter with a listener");
                        break;
                }
                assert_report(&report, getsid(0));
                g_assert_cmpuint(tempdir_count("/proc/self/fd"), ==, before);
        }
        tear_down(&f);
}

static void
test_plugin_life(void)
{
        Fixture f;
        set_up(&f, "");
        seccomp_listener_free(g_steal_pointer(&f.listener));
        g_autofree char *log = tempdir_get(f.dir, "log");
        g_assert_cmpstr(log, ==,
                        "0 start - nm /b /b/config.json\n1 start - nm /b /b/config.json\n"
                        "0 stop - nm /b /b/config.json\n1 stop - nm /b /b/config.json\n");
        tear_down(&f);
}

static void
test_socket_file(void)
{
        Fixture f;
        char deeper[512];
        for (size_t i = 0; i < sizeof deeper; i++)
                deeper[i] = i % 100 == 99 ? '/' : 'd';
        deeper[sizeof deeper - 1] = '\0';
        set_up(&f, deeper);
        struct stat st;
        g_assert_cmpint(stat(f.socket_path, &st), ==, 0);
        g_assert_cmpuint(st.st_mode, ==, S_IFSOCK | 0700);
        fd_close(&(int){connect_to(f.socket_path)});

        /* A socket left behind by a killed monitor is replaced. */
        seccomp_listener_free(f.listener);
        g_assert_cmpint(stat(f.socket_path, &st), ==, -1);
        tempdir_put("/", f.socket_path, "");
        f.listener = listen_with(&f, FIRST, NULL);
        g_assert_nonnull(f.listener);
        fd_close(&(int){connect_to(f.socket_path)});
        tear_down(&f);
}

/* Peers that send nothing, invalid data or wrong descriptors leave nothing behind. */
static void
test_strange_peers(void)
{
        Fixture f;
        set_up(&f, "");
        guint before = tempdir_count("/proc/self/fd");
        int silent = connect_to(f.socket_path);
        int chatty = connect_to(f.socket_path);
        g_autofree char *much = g_strnfill(100 * 1000, 'x');
        g_assert_cmpint(send(chatty, much, 100 * 1000, MSG_DONTWAIT), >, 0);
        int ends[2];
        char byte;
        g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        send_state(chatty, ends[1]);
        fd_close(&ends[1]);
        loop_serve();
        g_assert_cmpint(read(ends[0], &byte, 1), ==, 0);
        fd_close(&ends[0]);
        fd_close(&silent);
        fd_close(&chatty);
        loop_serve();
        g_assert_cmpuint(tempdir_count("/proc/self/fd"), ==, before);
        tear_down(&f);
}

static void
many_peers(void)
{
        Fixture f;
        set_up(&f, "");
        int fds[300];
        char byte;
        for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
                fds[i] = connect_to(f.socket_path);
                loop_serve();
        }
        g_assert_cmpint(recv(fds[0], &byte, 1, MSG_DONTWAIT), ==, -1);
        g_assert_cmpint(recv(fds[299], &byte, 1, MSG_DONTWAIT), ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
                fd_close(&fds[i]);
        loop_serve();
        tear_down(&f);
}

static void
test_many_peers(void)
{
        if (g_test_subprocess()) {
                many_peers();
                return;
        }
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        g_test_trap_assert_stderr("*Too many connections to *");
}

static void
assert_refused(Fixture *f, const char *plugins, const char *part)
{
        g_autoptr(GError) error = NULL;
        g_assert_null(listen_with(f, plugins, &error));
        g_assert_nonnull(error);
        if (!strstr(error->message, part))
                g_error("\"%s\" is not in \"%s\"", part, error->message);
}

static void
test_refusals(void)
{
        Fixture f;
        set_up(&f, "");
        g_autofree char *second_missing = g_strconcat(FIRST, ":/nonexistent.so", NULL);
        seccomp_listener_free(g_steal_pointer(&f.listener));
        g_unsetenv("CONMON_SECCOMP_NOTIFY_PLUGINS");
        assert_refused(&f, NULL, "--seccomp-notify-plugins");
        assert_refused(&f, "", "CONMON_SECCOMP_NOTIFY_PLUGINS");
        assert_refused(&f, "/nonexistent.so", "/nonexistent.so");
        assert_refused(&f, second_missing, "/nonexistent.so");
        assert_refused(&f, "libm.so.6", "run_oci_seccomp_notify_handle_request");
        g_setenv("TEST_PLUGIN_VERSION", "2", TRUE);
        assert_refused(&f, FIRST, "version 2");
        g_unsetenv("TEST_PLUGIN_VERSION");
        g_setenv("TEST_PLUGIN_REFUSES", "1", TRUE);
        assert_refused(&f, FIRST, "failed to start");
        g_unsetenv("TEST_PLUGIN_REFUSES");
        g_assert_false(g_file_test(f.socket_path, G_FILE_TEST_EXISTS));

        g_free(f.socket_path);
        f.socket_path = g_strdup("/nonexistent/seccomp.sock");
        assert_refused(&f, FIRST, "/nonexistent/seccomp.sock");
        tear_down(&f);
}

static void
test_environment(void)
{
        Fixture f;
        set_up(&f, "");
        seccomp_listener_free(f.listener);
        g_setenv("CONMON_SECCOMP_NOTIFY_PLUGINS", FIRST, TRUE);
        g_autoptr(GError) error = NULL;
        f.listener = listen_with(&f, NULL, &error);
        g_assert_no_error(error);
        g_unsetenv("CONMON_SECCOMP_NOTIFY_PLUGINS");
        tear_down(&f);
}

int
main(int argc, char **argv)
{
        if (valgrind_lacks(SYS_seccomp))
                return skip_all("valgrind: it has no seccomp(2)");
        g_test_init(&argc, &argv, NULL);
        seccomp_listener_free(NULL);
        g_test_add_func("/seccomp-listener/answers", test_answers);
        g_test_add_func("/seccomp-listener/plugin-life", test_plugin_life);
        g_test_add_func("/seccomp-listener/socket-file", test_socket_file);
        g_test_add_func("/seccomp-listener/strange-peers", test_strange_peers);
        g_test_add_func("/seccomp-listener/many-peers", test_many_peers);
        g_test_add_func("/seccomp-listener/refusals", test_refusals);
        g_test_add_func("/seccomp-listener/environment", test_environment);
        return g_test_run();
}
