/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/runtime.h"

#include "valgrind.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static void
check_argv(const RuntimeCommand *command, const char *want)
{
        GPtrArray *argv = runtime_argv(command);
        g_autofree char *got = g_strjoinv(" ", (char **)argv->pdata);
        g_assert_cmpstr(got, ==, want);
        g_ptr_array_unref(argv);
}

static RuntimeCommand
command(RuntimeAction action)
{
        static char log[] = "--log", file[] = "file", fds[] = "--preserve-fds", one[] = "1";
        static char *args[] = {log, file, NULL}, *opts[] = {fds, one, NULL};
        return (RuntimeCommand){
                .action = action,
                .runtime = "/rt",
                .args = args,
                .opts = opts,
                .cid = "CID",
                .bundle = "/b",
                .pidfile = "/p",
                .restore_path = "/cp",
                .process_spec = "/spec",
        };
}

static void
test_plain(void)
{
        RuntimeCommand c = {.action = RUNTIME_CREATE,
                            .runtime = "rt",
                            .cid = "c",
                            .bundle = "b",
                            .pidfile = "p"};
        check_argv(&c, "rt create --bundle b --pid-file p c");
}

static void
test_create(void)
{
        RuntimeCommand c = command(RUNTIME_CREATE);
        check_argv(&c, "/rt --log file create --bundle /b --pid-file /p --preserve-fds 1 CID");
        c.systemd_cgroup = c.no_pivot = c.no_new_keyring = true;
        c.console_socket = "/s";
        check_argv(&c, "/rt --systemd-cgroup --log file create --bundle /b --pid-file /p --no-pivot "
                       "--no-new-keyring --preserve-fds 1 --console-socket /s CID");
}

static void
test_restore(void)
{
        RuntimeCommand c = command(RUNTIME_RESTORE);
        c.no_pivot = true;
        check_argv(&c, "/rt --log file restore --bundle /b --pid-file /p --no-pivot --detach --image-path "
                       "/cp --work-path /b --preserve-fds 1 CID");
}

static void
test_exec(void)
{
        RuntimeCommand c = command(RUNTIME_EXEC);
        c.systemd_cgroup = c.no_pivot = c.no_new_keyring = true;
        c.console_socket = "/s";
        check_argv(&c, "/rt --log file exec --pid-file /p --process /spec --detach --preserve-fds 1 "
                       "--console-socket /s CID");
}

/* ---- starting it ---- */

/* The output on its stdout or stderr until it exits. */
static char *
output_of(RuntimeProcess *p, int fd, pid_t *ret_pid, int *ret_status)
{
        int ends[2];
        char text[65536];
        sigset_t none;
        const OomScore unknown = {0};
        (void)sigemptyset(&none);
        g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        p->mask = &none;
        p->score = &unknown;
        p->stdio[fd] = ends[1];
        *ret_pid = runtime_spawn(p);
        g_assert_cmpint(*ret_pid, >, 0);
        (void)close(ends[1]);
        ssize_t n, len = 0;
        while ((n = read(ends[0], text + len, sizeof text - (size_t)len)) > 0)
                len += n;
        (void)close(ends[0]);
        g_assert_cmpint(waitpid(*ret_pid, ret_status, 0), ==, *ret_pid);
        return g_strndup(text, (size_t)len);
}

/* Both occurrences are replaced: getenv(3) finds the first, but another program may use the last. */
static void
test_listen_pid_twice(void)
{
        char first[] = "LISTEN_PID=1", between[] = "A=b", second[] = "LISTEN_PID=22222222222222222222";
        char *twice[] = {first, between, second, NULL}, **saved = environ;
        char path[] = "/usr/bin/env", *argv[] = {path, NULL};
        RuntimeProcess p = {.argv = argv, .stdio = {-1, -1, -1}, .replace_listen_pid = true};
        pid_t pid = 0;
        int status = 0;
        environ = twice;
        g_autofree char *text = output_of(&p, STDOUT_FILENO, &pid, &status);
        environ = saved;
        g_autofree char *want = g_strdup_printf("A=b\nLISTEN_PID=%d\n", pid);
        g_assert_cmpstr(text, ==, want);
        g_assert_cmpint(status, ==, 0);
}

static void
test_missing_program(void)
{
        char path[] = "/nonexistent/runtime", *argv[] = {path, NULL};
        RuntimeProcess p = {.argv = argv, .stdio = {-1, -1, -1}};
        pid_t pid = 0;
        int status = 0;
        g_autofree char *text = output_of(&p, STDERR_FILENO, &pid, &status);
        g_assert_cmpint(WEXITSTATUS(status), ==, 127);
        if (!valgrind_lacks(SYS_pidfd_open))
                g_assert_cmpstr(text, ==, "[conmon:e]: Failed to execute the runtime /nonexistent/runtime: "
                                          "No such file or directory\n");
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/runtime/plain", test_plain);
        g_test_add_func("/runtime/create", test_create);
        g_test_add_func("/runtime/restore", test_restore);
        g_test_add_func("/runtime/exec", test_exec);
        g_test_add_func("/runtime/listen-pid-twice", test_listen_pid_twice);
        g_test_add_func("/runtime/missing-program", test_missing_program);
        return g_test_run();
}
