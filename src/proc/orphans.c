/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/orphans.h"

#include "base/diag.h"
#include "base/fd.h"
#include "base/process.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Maximum depth of descendants. */
#define ROUNDS_MAX 16

/* How long all of them may take to exit, as the kernel may be busy with them. */
#define END_USEC     (G_USEC_PER_SEC / 2)
#define END_TRY_USEC (5 * 1000)

/* As many numbers as there can be processes (PID_MAX_LIMIT in proc_sys_kernel(5)), each with a blank: a list
 * that is cut would end with the number of another process. */
#define LIST_MAX (4194304 * 8)

#define COMM_MAX  64
#define WORDS_MAX (2 << 20)

/* ---- lists of processes ---- */

static bool
contains(const GArray *pids, pid_t pid)
{
        for (guint i = 0; i < pids->len; i++)
                if (g_array_index(pids, pid_t, i) == pid)
                        return true;
        return false;
}

/* Adds the numbers in a file as /proc/PID/task/TID/children. */
static void
add_listed(GArray *pids, const char *path)
{
        g_autofree char *list = NULL;
        if (fd_read_file(path, LIST_MAX, &list, NULL) < 0)
                return;
        for (char *at = list, *end = NULL;; at = end) {
                pid_t pid = (pid_t)strtol(at, &end, 10);
                if (end == at)
                        return;
                if (!contains(pids, pid))
                        g_array_append_val(pids, pid);
        }
}

/* Of all threads of the process. */
static void
add_children(GArray *pids, pid_t pid)
{
        g_autofree char *tasks = g_strdup_printf("/proc/%d/task", pid);
        g_autoptr(GDir) dir = g_dir_open(tasks, 0, NULL);
        const char *name;
        while (dir && (name = g_dir_read_name(dir))) {
                g_autofree char *path = g_strdup_printf("%s/%s/children", tasks, name);
                add_listed(pids, path);
        }
}

static GArray *
own_children(void)
{
        GArray *pids = g_array_new(FALSE, FALSE, sizeof(pid_t));
        add_children(pids, getpid());
        return pids;
}

/* ---- bystanders ---- */

/* A pid alone may be reused. */
typedef struct {
        pid_t pid;
        guint64 start; /* in clock ticks since the system was started */
} Identity;

void
bystanders_record(Bystanders *b)
{
        siginfo_t info;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
                return; /* no children at all */
        g_autoptr(GArray) pids = own_children();
        b->list = g_array_new(FALSE, FALSE, sizeof(Identity));
        for (guint i = 0; i < pids->len; i++) {
                Identity one = {.pid = g_array_index(pids, pid_t, i)};
                one.start = process_started(one.pid);
                g_array_append_val(b->list, one);
        }
}

void
bystanders_done(Bystanders *b)
{
        g_clear_pointer(&b->list, g_array_unref);
}

void
bystanders_save(const Bystanders *b, StateWriter *w)
{
        for (guint i = 0; b->list && i < b->list->len; i++) {
                const Identity *one = &g_array_index(b->list, Identity, i);
                state_begin(w, "bystander");
                state_put_uint(w, "pid", (uint64_t)one->pid);
                state_put_uint(w, "start", one->start);
                state_end(w);
        }
}

void
bystanders_restore(Bystanders *b, StateReader *r)
{
        while (state_enter_next(r, "bystander")) {
                Identity one = {.pid = (pid_t)state_get_uint(r, "pid", INT32_MAX)};
                one.start = state_get_uint(r, "start", UINT64_MAX);
                state_leave(r);
                if (!b->list)
                        b->list = g_array_new(FALSE, FALSE, sizeof(Identity));
                g_array_append_val(b->list, one);
        }
}

static bool
is_bystander(const Bystanders *b, pid_t pid)
{
        for (guint i = 0; b->list && i < b->list->len; i++) {
                const Identity *one = &g_array_index(b->list, Identity, i);
                if (one->pid == pid && one->start == process_started(pid))
                        return true;
        }
        return false;
}

/* ---- killing ---- */

void
orphans_kill_tree(pid_t root)
{
        g_autoptr(GArray) tree = g_array_new(FALSE, FALSE, sizeof(pid_t));
        g_array_append_val(tree, root);
        /* A process that is stopped during fork(2) has its child only afterwards. */
        guint before = 0;
        for (int round = 0; before < tree->len && round < ROUNDS_MAX; round++) {
                before = tree->len;
                for (guint i = 0; i < tree->len; i++) {
                        (void)kill(g_array_index(tree, pid_t, i), SIGSTOP);
                        add_children(tree, g_array_index(tree, pid_t, i));
                }
        }
        for (guint i = 0; i < tree->len; i++)
                (void)kill(g_array_index(tree, pid_t, i), SIGKILL);
}

static bool
is_session_monitor(pid_t pid, const char *cid)
{
        g_autofree char *path = g_strdup_printf("/proc/%d/comm", pid), *comm = NULL, *own = NULL;
        g_autofree char *words_path = g_strdup_printf("/proc/%d/cmdline", pid), *words = NULL;
        size_t len = 0;
        bool exec = false, named = false;
        if (fd_read_file(path, COMM_MAX, &comm, NULL) < 0 ||
            fd_read_file("/proc/self/comm", COMM_MAX, &own, NULL) < 0 || strcmp(comm, own) != 0 ||
            fd_read_file(words_path, WORDS_MAX, &words, &len) < 0)
                return false;
        for (const char *word = words; word < words + len; word += strlen(word) + 1) {
                exec = exec || strcmp(word, "-e") == 0 || strcmp(word, "--exec") == 0;
                named = named || strcmp(word, cid) == 0;
        }
        return exec && named;
}

void
orphans_kill_sessions(const char *cid)
{
        g_autoptr(GArray) pids = own_children();
        for (guint i = 0; i < pids->len; i++) {
                g_autoptr(GArray) run = g_array_new(FALSE, FALSE, sizeof(pid_t));
                if (is_session_monitor(g_array_index(pids, pid_t, i), cid))
                        add_children(run, g_array_index(pids, pid_t, i));
                for (guint k = 0; k < run->len; k++)
                        orphans_kill_tree(g_array_index(run, pid_t, k));
        }
}

/* Leaves those in the list that were killed. A child can't have ended unseen: its pid is its own until it is
 * reaped. */
static void
kill_listed(GArray *pids, const Bystanders *b, bool failed)
{
        for (guint i = pids->len; i-- > 0;) {
                pid_t pid = g_array_index(pids, pid_t, i);
                if (getsid(pid) == getsid(0) || is_bystander(b, pid) || kill(pid, SIGKILL) < 0)
                        g_array_remove_index_fast(pids, i);
                else if (failed)
                        diag_warn("Process %d, which the failed runtime left behind, is killed", pid);
        }
}

/* Returns true if all have been reaped. */
static bool
reap_listed(GArray *pids, gint64 deadline)
{
        for (;;) {
                for (guint i = pids->len; i-- > 0;)
                        if (waitpid(g_array_index(pids, pid_t, i), NULL, WNOHANG) != 0)
                                g_array_remove_index_fast(pids, i);
                if (pids->len == 0)
                        return true;
                if (g_get_monotonic_time() >= deadline)
                        return false;
                g_usleep(END_TRY_USEC);
        }
}

void
orphans_kill(const Bystanders *b, bool failed)
{
        gint64 deadline = g_get_monotonic_time() + END_USEC;
        for (int i = 0; i < ROUNDS_MAX; i++) {
                g_autoptr(GArray) pids = own_children();
                kill_listed(pids, b, failed);
                if (pids->len == 0 || !reap_listed(pids, deadline))
                        return;
        }
}
