/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/oom_watch.h"

#include "base/diag.h"
#include "loop.h"
#include "tempdir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EVENTS(high, oom, kill) \
        "low 0\nhigh " #high "\nmax 0\noom " #oom "\noom_kill " #kill "\noom_group_kill 0\n"

static void
on_oom(void *data)
{
        ++*(int *)data;
}

static void
serve_until(const int *count, int wanted)
{
        while (*count < wanted)
                g_assert_true(loop_wait(10 * G_USEC_PER_SEC));
}

/* The kernel may delay a signal by 10 ms. */
static void
serve_signal(void)
{
        g_assert_true(loop_wait(10 * G_USEC_PER_SEC));
        loop_serve();
}

static void
test_counts(void)
{
        OomCounts c = oom_counts_parse("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n");
        g_assert_cmpuint(c.oom, ==, 4);
        g_assert_cmpuint(c.oom_kill, ==, 5);
        c = oom_counts_parse("oom_kill_disable 1\nunder_oom 2\noom_kill 3");
        g_assert_cmpuint(c.oom, ==, 0);
        g_assert_cmpuint(c.oom_kill, ==, 3);
        c = oom_counts_parse("oom\noom_kill\noomx 3\n oom 3\n\nsock_throttled oom 3\n");
        g_assert_cmpuint(c.oom, ==, 0);
        g_assert_cmpuint(c.oom_kill, ==, 0);
}

/* Either counter, but only changes since the start count. Regular files never signal a change. */
static void
test_v2_counter_moves(void)
{
        static const char *const after[] = {EVENTS(0, 3, 1), EVENTS(0, 2, 2), EVENTS(9, 4, 3)};
        for (size_t i = 0; i < G_N_ELEMENTS(after); i++) {
                char *dir = tempdir_new();
                int count = 0;
                tempdir_put(dir, "memory.events", EVENTS(0, 2, 1));
                OomWatch *w = oom_watch_new_in(dir, true, false, on_oom, &count);
                g_assert_nonnull(w);
                loop_serve();
                g_assert_cmpint(count, ==, 0);
                tempdir_put(dir, "memory.events", after[i]);
                oom_watch_check(w);
                g_assert_cmpint(count, ==, 1);
                tempdir_put(dir, "memory.events", EVENTS(0, 9, 9));
                loop_serve();
                oom_watch_check(w);
                g_assert_cmpint(count, ==, 1);
                oom_watch_free(w);
                tempdir_remove(dir);
        }
}

static void
test_v2_other_counters(void)
{
        char *dir = tempdir_new();
        int count = 0;
        tempdir_put(dir, "memory.events", EVENTS(0, 2, 1));
        OomWatch *w = oom_watch_new_in(dir, true, false, on_oom, &count);
        for (int i = 0; i < 50; i++) {
                tempdir_put(dir, "memory.events", i % 2 ? EVENTS(7, 2, 1) : EVENTS(8, 2, 1));
                oom_watch_check(w);
        }
        oom_watch_check(w);
        g_assert_cmpint(count, ==, 0);
        oom_watch_free(w);
        tempdir_remove(dir);
}

/* Events before the first read count if the cgroup was created for the container. */
static void
test_from_zero(void)
{
        for (int i = 0; i < 8; i++) {
                bool unified = i & 1, from_zero = i & 2, happened = i & 4;
                char *dir = tempdir_new();
                int count = 0;
                tempdir_put(dir, "memory.events", happened ? EVENTS(0, 0, 1) : EVENTS(1, 0, 0));
                tempdir_put(dir, "memory.oom_control", happened ? "oom_kill 1\n" : "oom_kill 0\n");
                OomWatch *w = oom_watch_new_in(dir, unified, from_zero, on_oom, &count);
                g_assert_nonnull(w);
                g_assert_cmpint(count, ==, 0);
                oom_watch_check(w);
                g_assert_cmpint(count, ==, from_zero && happened ? 1 : 0);
                oom_watch_free(w);
                tempdir_remove(dir);
        }
}

/* A version 2 cgroup, with or without the memory controller. */
static char *
new_unified_cgroup(void)
{
        static const char *const roots[] = {"/sys/fs/cgroup/unified", "/sys/fs/cgroup"};
        for (size_t i = 0; i < G_N_ELEMENTS(roots); i++) {
                g_autofree char *dir = g_strdup_printf("%s/conmon-test-%d", roots[i], (int)getpid());
                g_autofree char *events = g_build_filename(dir, "cgroup.events", NULL);
                if (mkdir(dir, 0755) == 0 && access(events, R_OK) == 0)
                        return g_steal_pointer(&dir);
                (void)rmdir(dir);
        }
        return NULL;
}

/* cgroup.events replaces memory.events: both signal changes in the same way. */
static void
watch_unified_cgroup(const char *cgroup, const char *dir)
{
        int count = 0;
        diag_set_level(DIAG_DEBUG);
        OomWatch *w = oom_watch_new_in(dir, true, true, on_oom, &count);
        g_assert_nonnull(w);
        loop_serve();
        for (int i = 0; i < 4; i++) {
                tempdir_put(cgroup, "cgroup.freeze", i % 2 ? "0" : "1");
                serve_signal();
        }
        g_assert_cmpint(rmdir(cgroup), ==, 0);
        oom_watch_check(w);
        oom_watch_check(w);
        loop_serve();
        g_assert_cmpint(count, ==, 0);
        oom_watch_free(w);
}

/* That an ordinary user makes no cgroups is no surprise. */
static void
skip(const char *why)
{
        g_test_skip(geteuid() == 0 ? why : "cgroups need root");
}

/* A file signals a change until it is read, and forever once its cgroup is removed, though the kernel wakes
 * nobody for that. */
static void
test_v2_signals(void)
{
        g_autofree char *cgroup = new_unified_cgroup();
        if (!cgroup) {
                skip("can't create a version 2 cgroup");
                return;
        }
        if (!g_test_subprocess()) {
                g_assert_cmpint(rmdir(cgroup), ==, 0);
                g_test_trap_subprocess(NULL, 0, 0);
                g_test_trap_assert_passed();
                g_test_trap_assert_stderr(
                        "?conmon:d]: Cgroup appears to have been removed: */memory.events\n");
                return;
        }
        char *dir = tempdir_new();
        g_autofree char *link = g_build_filename(dir, "memory.events", NULL);
        g_autofree char *events = g_build_filename(cgroup, "cgroup.events", NULL);
        g_assert_cmpint(symlink(events, link), ==, 0);
        watch_unified_cgroup(cgroup, dir);
        tempdir_remove(dir);
}

static void
test_v2_last_look(void)
{
        char *dir = tempdir_new();
        int count = 0;
        tempdir_put(dir, "memory.events", EVENTS(0, 0, 0));
        OomWatch *w = oom_watch_new_in(dir, true, false, on_oom, &count);
        tempdir_put(dir, "memory.events", EVENTS(0, 1, 1));
        oom_watch_check(w);
        g_assert_cmpint(count, ==, 1);
        loop_serve();
        oom_watch_check(w);
        g_assert_cmpint(count, ==, 1);
        oom_watch_free(w);
        tempdir_remove(dir);
}

static void
remove_file(const char *dir, const char *name)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);
        g_assert_cmpint(unlink(path), ==, 0);
}

/* If there is nothing to watch, that is no error, and not even a warning where it is normal. */
static void
test_nothing_to_watch(void)
{
        if (g_test_subprocess()) {
                g_assert_null(oom_watch_new_in("/nonexistent", true, false, on_oom, NULL));
                g_assert_null(oom_watch_new_in("/nonexistent", false, false, on_oom, NULL));
                g_assert_null(oom_watch_new(G_MAXINT, "c1", true, on_oom, NULL));
                oom_watch_check(NULL);
                oom_watch_free(NULL);
                return;
        }
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        g_test_trap_assert_stderr("");
}

/* A directory with the files of version 1. The eventfd that the watch registered is *ret_eventfd. */
static OomWatch *
watch_fake_v1(const char *dir, int *count, int *ret_eventfd)
{
        tempdir_put(dir, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
        tempdir_put(dir, "cgroup.event_control", "");
        OomWatch *w = oom_watch_new_in(dir, false, false, on_oom, count);
        g_assert_nonnull(w);
        g_autofree char *line = tempdir_get(dir, "cgroup.event_control");
        int oom_fd = -1;
        g_assert_cmpint(sscanf(line, "%d %d", ret_eventfd, &oom_fd), ==, 2);
        loop_serve();
        g_assert_cmpint(*count, ==, 0);
        return w;
}

static void
fire(int event_fd, uint64_t times)
{
        g_assert_cmpint(write(event_fd, &times, sizeof times), ==, sizeof times);
}

static void
test_v1_event(void)
{
        char *dir = tempdir_new();
        int count = 0;
        int event_fd = -1;
        OomWatch *w = watch_fake_v1(dir, &count, &event_fd);
        fire(event_fd, 1);
        loop_serve();
        g_assert_cmpint(count, ==, 1);
        oom_watch_check(w);
        g_assert_cmpint(count, ==, 1);
        oom_watch_free(w);
        tempdir_remove(dir);
}

static void
test_v1_last_look(void)
{
        char *dir = tempdir_new();
        int count = 0;
        int event_fd = -1;
        OomWatch *w = watch_fake_v1(dir, &count, &event_fd);
        fire(event_fd, 1);
        oom_watch_check(w);
        g_assert_cmpint(count, ==, 1);
        oom_watch_free(w);

        count = 0;
        w = watch_fake_v1(dir, &count, &event_fd);
        tempdir_put(dir, "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n");
        oom_watch_check(w);
        g_assert_cmpint(count, ==, 1);
        oom_watch_free(w);
        tempdir_remove(dir);
}

/* The removal of a cgroup is one event. */
static void
test_v1_cgroup_removed(void)
{
        for (uint64_t events = 1; events <= 2; events++) {
                char *dir = tempdir_new();
                int count = 0;
                int event_fd = -1;
                OomWatch *w = watch_fake_v1(dir, &count, &event_fd);
                remove_file(dir, "cgroup.event_control");
                remove_file(dir, "memory.oom_control");
                fire(event_fd, events);
                loop_serve();
                oom_watch_check(w);
                g_assert_cmpint(count, ==, events > 1 ? 1 : 0);
                oom_watch_free(w);
                tempdir_remove(dir);
        }
}

/* Registering fails, as in a kernel without the interface: the counter is still read at the end. */
static void
test_v1_without_events(void)
{
        char *dir = tempdir_new();
        int count = 0;
        tempdir_put(dir, "memory.oom_control", "oom_kill 5\n");
        OomWatch *w = oom_watch_new_in(dir, false, false, on_oom, &count);
        g_assert_nonnull(w);
        oom_watch_check(w);
        g_assert_cmpint(count, ==, 0);
        tempdir_put(dir, "memory.oom_control", "oom_kill 6\n");
        loop_serve();
        oom_watch_check(w);
        g_assert_cmpint(count, ==, 1);
        oom_watch_free(w);
        tempdir_remove(dir);
}

/* Creates a cgroup with 16 MiB of memory, with either version; NULL if that is not possible. It is created in
 * the root, so that limits of the test's own cgroup don't apply. */
static char *
real_cgroup(void)
{
        gboolean v2 = g_file_test("/sys/fs/cgroup/cgroup.controllers", G_FILE_TEST_EXISTS);
        char *dir = g_strdup_printf("/sys/fs/cgroup/%sconmon-test-%d", v2 ? "" : "memory/", (int)getpid());
        const char *limit = v2 ? "memory.max" : "memory.limit_in_bytes";
        g_autofree char *path = g_build_filename(dir, limit, NULL);
        if (mkdir(dir, 0755) == 0 && access(path, W_OK) == 0) {
                tempdir_put(dir, limit, "16777216");
                return dir;
        }
        (void)rmdir(dir);
        g_free(dir);
        return NULL;
}

static void
set_if_there(const char *dir, const char *name, const char *value)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);
        if (access(path, W_OK) == 0)
                tempdir_put(dir, name, value);
}

/* Starts a process in the cgroup. When `go` is readable it allocates `bytes` of memory and exits. */
static pid_t
start_eater(const char *cgroup, int go, size_t bytes)
{
        int joined[2];
        char byte;
        g_assert_cmpint(pipe(joined), ==, 0);
        pid_t pid = fork();
        if (pid == 0) {
                tempdir_put(cgroup, "cgroup.procs", "0");
                (void)!write(joined[1], "", 1);
                (void)!read(go, &byte, 1);
                char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                for (size_t at = 0; at < bytes; at += 4096)
                        memory[at] = 1;
                _exit(0);
        }
        g_assert_cmpint(read(joined[0], &byte, 1), ==, 1);
        close(joined[0]);
        close(joined[1]);
        return pid;
}

/* With the kernel's files: a process that exceeds the limit is an OOM, one that exits is not, and neither is
 * the removal of its cgroup. */
static void
check_real(const char *cgroup, size_t bytes, int wanted_signal, int wanted_count)
{
        int go[2];
        int count = 0;
        int status;
        g_assert_cmpint(pipe(go), ==, 0);
        pid_t pid = start_eater(cgroup, go[0], bytes);
        OomWatch *w = oom_watch_new(pid, "c1", true, on_oom, &count);
        g_assert_nonnull(w);
        g_assert_cmpint(write(go[1], "", 1), ==, 1);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(WIFSIGNALED(status) ? WTERMSIG(status) : 0, ==, wanted_signal);
        if (wanted_count)
                serve_until(&count, wanted_count);
        else
                g_assert_cmpint(rmdir(cgroup), ==, 0);
        loop_serve();
        oom_watch_check(w);
        g_assert_cmpint(count, ==, wanted_count);
        oom_watch_free(w);
        close(go[0]);
        close(go[1]);
}

static void
test_real_cgroup(void)
{
        g_autofree char *cgroup = real_cgroup();
        if (!cgroup) {
                skip("can't create a memory cgroup");
                return;
        }
        set_if_there(cgroup, "memory.swap.max", "0");
        set_if_there(cgroup, "memory.memsw.limit_in_bytes", "16777216");
        check_real(cgroup, 64 << 20, SIGKILL, 1);
        check_real(cgroup, 1 << 20, 0, 0);
}

/* A process was killed before the watch began, in a child of the container's cgroup, which counts it. */
static void
test_real_first_look(void)
{
        g_autofree char *cgroup = real_cgroup();
        if (!cgroup) {
                skip("can't create a memory cgroup");
                return;
        }
        int go[2], count = 0, status;
        g_autofree char *id = g_path_get_basename(cgroup);
        gboolean v2 = g_file_test("/sys/fs/cgroup/cgroup.controllers", G_FILE_TEST_EXISTS);
        g_autofree char *leaf = g_build_filename(cgroup, v2 ? "init.scope" : NULL, NULL);
        g_assert_true(mkdir(leaf, 0755) == 0 || !v2);
        set_if_there(cgroup, "memory.swap.max", "0");
        set_if_there(cgroup, "memory.memsw.limit_in_bytes", "16777216");
        g_assert_cmpint(pipe(go), ==, 0);
        pid_t victim = start_eater(leaf, go[0], 64 << 20);
        g_assert_cmpint(write(go[1], "", 1), ==, 1);
        g_assert_cmpint(waitpid(victim, &status, 0), ==, victim);
        g_assert_true(WIFSIGNALED(status));

        pid_t pid = start_eater(leaf, go[0], 4096);
        for (int is_new = 0; is_new <= 1; is_new++) {
                OomWatch *w = oom_watch_new(pid, id, is_new, on_oom, &count);
                g_assert_nonnull(w);
                oom_watch_check(w);
                g_assert_cmpint(count, ==, is_new);
                oom_watch_free(w);
        }
        g_assert_cmpint(write(go[1], "", 1), ==, 1);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        (void)rmdir(leaf);
        (void)rmdir(cgroup);
        close(go[0]);
        close(go[1]);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/oom-watch/counts", test_counts);
        g_test_add_func("/oom-watch/v2-counter-moves", test_v2_counter_moves);
        g_test_add_func("/oom-watch/v2-other-counters", test_v2_other_counters);
        g_test_add_func("/oom-watch/from-zero", test_from_zero);
        g_test_add_func("/oom-watch/v2-signals", test_v2_signals);
        g_test_add_func("/oom-watch/v2-last-look", test_v2_last_look);
        g_test_add_func("/oom-watch/nothing-to-watch", test_nothing_to_watch);
        g_test_add_func("/oom-watch/v1-event", test_v1_event);
        g_test_add_func("/oom-watch/v1-last-look", test_v1_last_look);
        g_test_add_func("/oom-watch/v1-cgroup-removed", test_v1_cgroup_removed);
        g_test_add_func("/oom-watch/v1-without-events", test_v1_without_events);
        g_test_add_func("/oom-watch/real-cgroup", test_real_cgroup);
        g_test_add_func("/oom-watch/real-first-look", test_real_first_look);
        return g_test_run();
}
