/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/exit_files.h"

#include "tempdir.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
write_exit_files(const char *persist_dir, const char *exit_dir, const char *cid, int code)
{
        Errands *e = errands_new();
        errands_grant(e, 60 * G_USEC_PER_SEC);
        exit_files_add(e, persist_dir, exit_dir, cid, code);
        errands_run(e);
        errands_free(e);
}

static void
write_oom_files(const char *persist_dir, const char *bundle)
{
        Errands *e = errands_new();
        errands_grant(e, 60 * G_USEC_PER_SEC);
        oom_files_add(e, persist_dir, bundle);
        errands_run(e);
        errands_free(e);
}

static void
assert_file(const char *dir, const char *name, const char *expected)
{
        g_autofree char *text = tempdir_get(dir, name);
        g_assert_cmpstr(text, ==, expected);
}

static void
test_both_records(void)
{
        char *persist = tempdir_new();
        char *exits = tempdir_new();
        write_exit_files(persist, exits, "c1", 3);
        assert_file(persist, "exit", "3");
        assert_file(exits, "c1", "3");
        write_exit_files(persist, exits, "c1", EXIT_CODE_UNKNOWN);
        assert_file(persist, "exit", "-1");
        assert_file(exits, "c1", "-1");
        g_assert_cmpuint(tempdir_count(persist), ==, 1);
        g_assert_cmpuint(tempdir_count(exits), ==, 1);
        tempdir_remove(persist);
        tempdir_remove(exits);
}

static void
test_directories_are_optional(void)
{
        char *dir = tempdir_new();
        write_exit_files(NULL, dir, "c1", 137);
        assert_file(dir, "c1", "137");
        write_exit_files(dir, NULL, "c1", 0);
        assert_file(dir, "exit", "0");
        write_exit_files(NULL, NULL, "c1", 0);
        write_oom_files(NULL, NULL);
        g_assert_cmpuint(tempdir_count(dir), ==, 2);
        tempdir_remove(dir);
}

/* Writes the file in a child process whose stderr goes to a file. Returns that output. */
static char *
stderr_of(const char *persist, const char *second, gboolean oom)
{
        char *dir = tempdir_new();
        g_autofree char *err = g_build_filename(dir, "stderr", NULL);
        pid_t pid = fork();
        if (pid == 0) {
                g_assert_nonnull(freopen(err, "w", stderr));
                if (oom)
                        write_oom_files(persist, second);
                else
                        write_exit_files(persist, second, "c1", 5);
                _exit(0);
        }
        int status;
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
        char *text = tempdir_get(dir, "stderr");
        tempdir_remove(dir);
        return text;
}

static void
test_one_failure_leaves_the_other(void)
{
        char *dir = tempdir_new();
        g_autofree char *first = stderr_of("/nonexistent-persist", dir, FALSE);
        assert_file(dir, "c1", "5");
        g_assert_nonnull(strstr(first, "[conmon:e]: "));
        g_assert_nonnull(strstr(first, "/nonexistent-persist/exit"));

        g_autofree char *second = stderr_of(dir, "/nonexistent-exits", FALSE);
        assert_file(dir, "exit", "5");
        g_assert_nonnull(strstr(second, "/nonexistent-exits/c1"));

        g_autofree char *oom = stderr_of("/nonexistent-persist", dir, TRUE);
        assert_file(dir, "oom", "");
        g_assert_nonnull(strstr(oom, "/nonexistent-persist/oom"));
        g_assert_cmpuint(tempdir_count(dir), ==, 3);
        tempdir_remove(dir);
}

/* In both configured directories and nowhere else. */
static void
test_oom_files(void)
{
        char *cwd = tempdir_new();
        char *persist = tempdir_new();
        char *bundle = tempdir_new();
        g_autofree char *before = g_get_current_dir();
        g_assert_cmpint(chdir(cwd), ==, 0);
        write_oom_files(persist, bundle);
        write_oom_files(persist, bundle);
        g_assert_cmpint(chdir(before), ==, 0);
        assert_file(persist, "oom", "");
        assert_file(bundle, "oom", "");
        g_assert_cmpuint(tempdir_count(persist), ==, 1);
        g_assert_cmpuint(tempdir_count(bundle), ==, 1);
        g_assert_cmpuint(tempdir_count(cwd), ==, 0);
        tempdir_remove(cwd);
        tempdir_remove(persist);
        tempdir_remove(bundle);
}

static void
test_modes(void)
{
        char *dir = tempdir_new();
        mode_t before = umask(0022);
        write_exit_files(dir, NULL, "c1", 1);
        write_oom_files(dir, NULL);
        (void)umask(before);
        for (int i = 0; i < 2; i++) {
                struct stat st;
                g_autofree char *path = g_build_filename(dir, i ? "exit" : "oom", NULL);
                g_assert_cmpint(stat(path, &st), ==, 0);
                g_assert_cmpuint(st.st_mode & 07777, ==, 0644);
        }
        tempdir_remove(dir);
}

/* A link in place of the file is replaced; its target is not changed. */
static void
test_link_is_replaced(void)
{
        char *dir = tempdir_new();
        char *victims = tempdir_new();
        tempdir_put(victims, "victim", "precious");
        g_autofree char *victim = g_build_filename(victims, "victim", NULL);
        g_autofree char *link = g_build_filename(dir, "exit", NULL);
        g_assert_cmpint(symlink(victim, link), ==, 0);
        write_exit_files(dir, NULL, "c1", 9);
        assert_file(dir, "exit", "9");
        assert_file(victims, "victim", "precious");
        tempdir_remove(dir);
        tempdir_remove(victims);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/exit-files/both-records", test_both_records);
        g_test_add_func("/exit-files/directories-are-optional", test_directories_are_optional);
        g_test_add_func("/exit-files/one-failure-leaves-the-other", test_one_failure_leaves_the_other);
        g_test_add_func("/exit-files/oom-files", test_oom_files);
        g_test_add_func("/exit-files/modes", test_modes);
        g_test_add_func("/exit-files/link-is-replaced", test_link_is_replaced);
        return g_test_run();
}
