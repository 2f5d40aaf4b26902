/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/upgrade.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/trust.h"
#include "core/exec_exits.h"
#include "core/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long the new program may take to check the state. The monitor is blocked meanwhile: output waits in
 * the kernel's pipes. */
#define CHECK_MS 5000

/* How long it may take to take over. */
#define TAKE_OVER_MS 10000

#define ANSWER_MAX 4096

/* ---- the program ---- */

/* The path given to execve(2), unchanged: the meaning of ".." depends on symbolic links. A path that names a
 * descriptor does not identify the file. */
static char *
find_path(void)
{
        const char *path = (const char *)getauxval(AT_EXECFN);
        if (path && !g_str_has_prefix(path, "/dev/fd/") && !g_str_has_prefix(path, "/proc/"))
                return g_strdup(path);
        return g_file_read_link("/proc/self/exe", NULL);
}

static int
open_program(Monitor *m, GError **error)
{
        struct stat st;
        if (!m->program && !(m->program = find_path())) {
                error_set(error, CONMON_ERROR_FAILED, "the path of this program is not known");
                return -1;
        }
        autofd int fd = open(m->program, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0) {
                error_set_errno(error, errno, "failed to open the program %s", m->program);
                return -1;
        }
        const char *why = S_ISREG(st.st_mode) ? trust_find_stranger(&st, true) : "it is not a regular file";
        if (!why)
                return fd_steal(&fd);
        error_set(error, CONMON_ERROR_FAILED,
                  "the program %s is not trusted: %s (user %u, group %u, mode %04o)", m->program, why,
                  st.st_uid, st.st_gid, st.st_mode & 07777);
        return -1;
}

/* ---- the state ---- */

static StateWriter *
write_state(Monitor *m, int done, GError **error)
{
        char name[16 + 1] = "";
        g_autoptr(StateWriter) w = state_writer_new(error);
        if (!w)
                return NULL;
        (void)prctl(PR_GET_NAME, name);
        state_put_text(w, "program", m->program);
        state_put_text(w, "process-name", name);
        state_put_uint(w, "dumpable", prctl(PR_GET_DUMPABLE) == 1);
        state_put_fd(w, "done", done);
        monitor_save(m, w);
        return state_writer_finish(w, error) ? g_steal_pointer(&w) : NULL;
}

/* ---- the check ---- */

/* Reads until end of file or the deadline. Returns the length. */
static size_t
read_answer(int fd, char *answer)
{
        gint64 deadline = g_get_monotonic_time() + CHECK_MS * 1000;
        size_t len = 0;
        for (;;) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                gint64 left = (deadline - g_get_monotonic_time()) / 1000;
                int r = left > 0 ? poll(&p, 1, (int)left) : 0;
                if (r < 0 && errno == EINTR)
                        continue;
                ssize_t n = r > 0 ? fd_read(fd, answer + len, ANSWER_MAX - len) : 0;
                if (n <= 0)
                        break;
                len += (size_t)n;
        }
        answer[len] = '\0';
        return len;
}

/* Starts the new program, with the state as descriptor 3 and its own file as 4, and reads its answer. It
 * is reaped with the other children by the program that continues. */
static gboolean
ask(int program, int state, char *answer, GError **error)
{
        char path[] = "/proc/self/fd/4", option[] = UPGRADE_CHECK, number[] = "3";
        char *argv[] = {path, option, number, NULL};
        int ends[2], fds[] = {state, program}, failure = 0;
        if (pipe2(ends, O_CLOEXEC) < 0)
                return error_set_errno(error, errno, "failed to create a pipe");
        pid_t pid = process_start(
                &(ProcessSpec){
                        .argv = argv,
                        .stdio = {PROCESS_STDIO_NULL, ends[1]},
                        .fds = fds,
                        .n_fds = G_N_ELEMENTS(fds),
                        .dies_with_parent = true,
                        .confined = true,
                },
                &failure);
        (void)close(ends[1]);
        if (pid > 0 && failure == 0 && read_answer(ends[0], answer) == 0)
                (void)kill(pid, SIGKILL);
        (void)close(ends[0]);
        if (pid < 0 || failure > 0)
                return error_set_errno(error, pid < 0 ? pid : failure, "failed to execute it");
        return TRUE;
}

static gboolean
check_state(const Monitor *m, int program, int state, GError **error)
{
        char answer[ANSWER_MAX + 1] = "";
        g_autoptr(GError) failure = NULL;
        if (!ask(program, state, answer, &failure))
                return error_set(error, CONMON_ERROR_FAILED, "the program %s can't check the state: %s",
                                 m->program, failure->message);
        g_strchomp(answer);
        if (strcmp(answer, UPGRADE_CHECKED) == 0)
                return TRUE;
        if (!*answer)
                return error_set(
                        error, CONMON_ERROR_FAILED,
                        "the program %s did not report that it can continue: it has no live upgrade, "
                        "is not a monitor, or took too long",
                        m->program);
        return error_set(error, CONMON_ERROR_FAILED, "the program %s can't continue: %s", m->program, answer);
}

/* ---- the guard ---- */

/* Waits for the report of the new program. Returns true if it has taken over. Two monitors must not run at
 * once, so it keeps waiting after an error. */
static bool
wait_for_other(int done, char *said)
{
        gint64 deadline = g_get_monotonic_time() + TAKE_OVER_MS * 1000;
        ssize_t n = -EAGAIN;
        while (n < 0 && g_get_monotonic_time() < deadline) {
                struct pollfd p = {.fd = done, .events = POLLIN};
                int r = poll(&p, 1, (int)((deadline - g_get_monotonic_time()) / 1000));
                n = r > 0 ? fd_read(done, said, ANSWER_MAX) : -EAGAIN;
                if (n < 0)
                        g_usleep(1000);
        }
        said[MAX(n, 0)] = '\0';
        return n > 0 && said[0] == UPGRADE_DONE;
}

static void
make_sure_of_end(pid_t pid)
{
        while (getppid() == pid) {
                (void)kill(pid, SIGKILL);
                g_usleep(1000);
        }
}

/* Runs in the copy, which has no children. Returns if it must continue as the monitor, with a message that
 * says so. */
static char *
guard(const Monitor *m, pid_t original, int done)
{
        char said[ANSWER_MAX + 1] = "";
        g_autoptr(GError) error = NULL;
        if (wait_for_other(done, said))
                _exit(0);
        make_sure_of_end(original);
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
        health_check_lose_child(m->health);
        exec_exits_continue_in_copy(m);
        if (!launcher_write_pidfile(m->options, getpid(), &error))
                diag_error("Failed to write conmon pidfile: %s", error->message);
        return g_strdup_printf(
                "the program %s %s%s; a copy of the old one continues as process %d", m->program,
                *said ? "could not take over: " : "exited before it had taken over", said, (int)getpid());
}

/* ---- the execution ---- */

static void
set_inherited(const GArray *fds, int state, bool inherited)
{
        for (guint i = 0; i < fds->len; i++)
                (void)fd_set_cloexec(g_array_index(fds, int, i), !inherited);
        (void)fd_set_cloexec(state, !inherited);
}

/* Returns only on failure. */
static gboolean
execute(const Monitor *m, int program, int state, const GArray *fds, GError **error)
{
        g_autofree char *value = g_strdup_printf("%d", state);
        g_auto(GStrv) argv = options_command_line();
        g_auto(GStrv) environment = g_environ_setenv(g_get_environ(), UPGRADE_VARIABLE, value, TRUE);
        set_inherited(fds, state, true);
        int r = argv && fexecve(program, argv, environment) < 0 ? -errno : -ENOENT;
        set_inherited(fds, state, false);
        return error_set_errno(error, r, "failed to execute the program %s", m->program);
}

/* Returns an error message, in this process or in its copy, or does not return. */
static char *
start_guard_and_execute(const Monitor *m, int program, StateWriter *w, int state, int done[2])
{
        g_autoptr(GError) error = NULL;
        /* fork(2) copies only the calling thread, but the locks of all, and others could not be joined. */
        stand_in_rest(m->stand_in);
        errands_rest(m->errands);
        errands_rest(m->openings);
        pid_t original = getpid(), copy = fork();
        if (copy < 0)
                return g_strdup_printf("failed to make a copy of the monitor: %s", strerror(errno));
        if (copy == 0) {
                loop_close(); /* or changes would affect the set of the original */
                fd_close(&done[1]);
                return guard(m, original, done[0]);
        }
        (void)execute(m, program, state, state_writer_fds(w), &error);
        (void)kill(copy, SIGKILL);
        (void)waitpid(copy, NULL, 0);
        return g_strdup(error->message);
}

static char *
upgrade(Monitor *m)
{
        int done[2] = {-1, -1};
        g_autoptr(GError) error = NULL;
        autofd int program = open_program(m, &error);
        if (program < 0)
                return g_strdup(error->message);
        if (pipe2(done, O_CLOEXEC) < 0)
                return g_strdup_printf("failed to create a pipe: %s", strerror(errno));
        g_autoptr(StateWriter) w = write_state(m, done[1], &error);
        int state = w ? state_writer_fd(w) : -1;
        char *failure = w && check_state(m, program, state, &error)
                                ? start_guard_and_execute(m, program, w, state, done)
                                : g_strdup(error->message);
        fd_close(&done[0]);
        fd_close(&done[1]);
        return failure;
}

void
upgrade_run(void *monitor)
{
        request_answer(monitor, upgrade(monitor));
}
