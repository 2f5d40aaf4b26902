/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/process.h"
#include "base/worker.h"

#include "valgrind.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* System calls that a sandboxed child does not need. */
static int
write_file(const void *arg)
{
        return open("/dev/null", O_WRONLY | O_CLOEXEC) < 0 ? errno : 0;
}

static int
start_process(const void *arg)
{
        pid_t pid = fork();
        if (pid == 0)
                _exit(0);
        return pid < 0 ? errno : 0;
}

static int
look_up_name(const void *arg)
{
        struct addrinfo *list = NULL;
        return getaddrinfo("localhost", NULL, NULL, &list);
}

static int
do_nothing(const void *arg)
{
        return 0;
}

static int
status_of(int (*run)(const void *), Sandbox sandbox)
{
        int status = -1;
        ProcessSpec spec = {.run = run, .confined = true, .sandbox = sandbox};
        pid_t pid = process_start(&spec, NULL);
        g_assert_cmpint(pid, >, 0);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        return status;
}

static void
test_forbidden_call(void)
{
        for (Sandbox s = SANDBOX_COMPRESSOR; s < SANDBOX_RESOLVER; s++) {
                g_assert_cmpint(status_of(do_nothing, s), ==, 0);
                int status = status_of(write_file, s);
                g_assert_true(WIFSIGNALED(status));
                g_assert_cmpint(WTERMSIG(status), ==, SIGSYS);
                g_assert_true(WIFSIGNALED(status_of(start_process, s)));
        }
        g_assert_cmpint(status_of(write_file, SANDBOX_NONE), ==, 0);
}

/* The resolver works; other calls that an NSS module might make fail. */
static void
test_resolver(void)
{
        g_assert_cmpint(status_of(look_up_name, SANDBOX_RESOLVER), ==, 0);
        g_assert_cmpint(WEXITSTATUS(status_of(write_file, SANDBOX_RESOLVER)), ==, EPERM);
        g_assert_cmpint(WEXITSTATUS(status_of(start_process, SANDBOX_RESOLVER)), ==, EPERM);
}

static size_t
break_out(const void *arg, char *answer)
{
        (void)write_file(NULL);
        answer[0] = 'x';
        return 1;
}

static void
on_answer(const char *answer, size_t len, void *data)
{
        *(ssize_t *)data = (ssize_t)len;
}

/* A worker that was killed counts as one without an answer. */
static void
test_worker(void)
{
        const WorkerKind kind = {"worker", break_out, SANDBOX_CLIENT};
        ssize_t len = -1;
        Worker w = {.func = on_answer, .data = &len};
        g_assert_cmpint(worker_start(&w, &kind, NULL, 0, 0), ==, 0);
        while (len < 0)
                loop_iterate(true);
        g_assert_cmpint(len, ==, 0);
        g_assert_cmpint(waitpid(-1, NULL, 0), >, 0);
}

static void
test_without_filters(void)
{
        g_test_skip(sandbox_is_supported() ? "valgrind: it has no pidfd_open(2)"
                                           : "this build has no filters");
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        if (!sandbox_is_supported() || valgrind_lacks(SYS_pidfd_open)) {
                g_test_add_func("/sandbox/all", test_without_filters);
                return g_test_run();
        }
        g_test_add_func("/sandbox/forbidden-call", test_forbidden_call);
        g_test_add_func("/sandbox/resolver", test_resolver);
        g_test_add_func("/sandbox/worker", test_worker);
        return g_test_run();
}
