/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/fd.h"
#include "log/file/compressor.h"
#include "base/worker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
        char answer[WORKER_ANSWER_MAX + 1];
        bool done;
} Answer;

static void
on_answer(const char *answer, size_t len, void *data)
{
        Answer *a = data;
        memcpy(a->answer, answer, len);
        a->answer[len] = '\0';
        a->done = true;
}

static void
run_task(WorkerTask task, Answer *a)
{
        const WorkerKind kind = {.name = "a worker", .task = task};
        Worker w = {.func = on_answer, .data = a};
        g_assert_cmpint(worker_start(&w, &kind, NULL, 0, 0), ==, 0);
        while (!a->done)
                loop_iterate(true);
        g_assert_false(w.busy);
        g_assert_cmpint(waitpid(-1, NULL, 0), >, 0);
}

static char *
status_field(const char *status, const char *name)
{
        const char *at = strstr(status, name);
        g_assert_nonnull(at);
        at += strlen(name);
        return g_strstrip(g_strndup(at, strcspn(at, "\n")));
}

/* ---- rights of the process ---- */

static size_t
tell_status(const void *arg, char *answer)
{
        g_autofree char *text = NULL;
        return fd_read_file("/proc/self/status", WORKER_ANSWER_MAX, &text, NULL) == 0
                       ? g_strlcpy(answer, text, WORKER_ANSWER_MAX)
                       : 0;
}

static void
test_rights(void)
{
        Answer a = {.done = false};
        run_task(tell_status, &a);
        const char *const none[] = {"CapInh:", "CapPrm:", "CapEff:", "CapAmb:"};
        for (size_t i = 0; i < G_N_ELEMENTS(none); i++) {
                g_autofree char *value = status_field(a.answer, none[i]);
                g_assert_cmpstr(value, ==, "0000000000000000");
        }
        g_autofree char *sealed = status_field(a.answer, "NoNewPrivs:");
        g_assert_cmpstr(sealed, ==, "1");
}

static size_t
tell_limits(const void *arg, char *answer)
{
        struct rlimit core;
        int death = 0, fds = 0;
        for (int fd = STDERR_FILENO + 1; fd < 100; fd++)
                fds += fcntl(fd, F_GETFD) >= 0;
        (void)getrlimit(RLIMIT_CORE, &core);
        (void)prctl(PR_GET_PDEATHSIG, &death);
        return (size_t)snprintf(answer, WORKER_ANSWER_MAX, "%d %d %d", (int)core.rlim_cur, death, fds);
}

static void
test_limits(void)
{
        Answer a = {.done = false};
        run_task(tell_limits, &a);
        g_assert_cmpstr(a.answer, ==, "0 9 1"); /* the only descriptor is the one for the answer */
}

/* ---- the compressor ---- */

/* Returns the pid of a pidfd from /proc. */
static pid_t
pid_of(int pidfd)
{
        g_autofree char *path = g_strdup_printf("/proc/self/fdinfo/%d", pidfd), *text = NULL;
        g_assert_cmpint(fd_read_file(path, 4096, &text, NULL), ==, 0);
        g_autofree char *value = status_field(text, "Pid:");
        return atoi(value);
}

static void
on_compressed(const char *error, void *data)
{
        g_assert_null(error);
        *(bool *)data = true;
}

static void
wait_for_limit(pid_t pid, const char *wanted)
{
        g_autofree char *path = g_strdup_printf("/proc/%d/limits", pid);
        for (;;) {
                g_autofree char *text = NULL;
                g_assert_cmpint(fd_read_file(path, 4096, &text, NULL), ==, 0);
                g_autofree char *value = status_field(text, "Max open files");
                if (g_str_has_prefix(value, wanted))
                        return;
                g_usleep(1000);
        }
}

/* It reads data from the container: by then it can't open files. */
static void
test_compressor(void)
{
        bool done = false;
        int in[2];
        FILE *out = tmpfile();
        LogCompressor c = {.func = on_compressed, .data = &done};
        g_assert_cmpint(pipe2(in, O_CLOEXEC), ==, 0);
        g_assert_nonnull(out);
        g_assert_cmpint(log_compressor_start(&c, in[0], fileno(out), 65536), ==, 0);
        if (c.worker.pidfd >= 0)
                wait_for_limit(pid_of(c.worker.pidfd), "0 ");
        g_assert_cmpint(fd_write_all(in[1], "some text\n", 10), ==, 0);
        fd_close(&in[1]);
        while (!done)
                loop_iterate(true);
        g_assert_cmpint(lseek(fileno(out), 0, SEEK_END), >, 20);
        g_assert_cmpint(waitpid(-1, NULL, 0), >, 0);
        fd_close(&in[0]);
        (void)fclose(out);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/worker/rights", test_rights);
        g_test_add_func("/worker/limits", test_limits);
        g_test_add_func("/worker/compressor", test_compressor);
        return g_test_run();
}
