/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/oom_score.h"

#include "base/process.h"

#include "tempdir.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int
own_score(void)
{
        g_autofree char *text = tempdir_get("/proc/self", "oom_score_adj");
        g_assert_nonnull(text);
        return atoi(text);
}

/* Runs a check in a child, so that the score of the test itself does not change. */
static void
in_child(void (*check)(void))
{
        pid_t pid = fork();
        if (pid == 0) {
                check();
                _exit(0);
        }
        int status;
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
}

static int
compare_score(const void *arg)
{
        return own_score() == *(const int *)arg ? 0 : 1;
}

/* -1: not one of the expected values. */
static int
score_of_child(const char *wanted)
{
        int value = wanted ? atoi(wanted) : MAX(own_score(), 0), status;
        pid_t pid = process_start(
                &(ProcessSpec){.run = compare_score, .arg = &value, .oom_score = wanted}, NULL);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        return status == 0 ? value : -1;
}

/* -1000 if that is permitted; afterwards exactly the previous value. */
static void
check_round_trip(void)
{
        int start = own_score();
        g_autofree char *raised = g_strdup_printf("%d", start + 7);
        tempdir_put("/proc/self", "oom_score_adj", raised);
        g_assert_cmpint(own_score(), ==, start + 7);

        OomScore before;
        memset(&before, 'x', sizeof before);
        oom_score_protect(&before);
        g_assert_cmpstr(oom_score_text(&before), ==, raised);
        int protected_score = own_score();
        g_assert_true(protected_score == -1000 || protected_score == start + 7);

        g_assert_cmpint(score_of_child(oom_score_text(&before)), ==, start + 7);
        /* Children do not inherit the protection. */
        g_assert_cmpint(score_of_child(NULL), ==, MAX(protected_score, 0));
        g_assert_cmpint(own_score(), ==, protected_score);
}

static void
test_round_trip(void)
{
        in_child(check_round_trip);
}

static void
test_unknown(void)
{
        g_assert_null(oom_score_text(&(OomScore){0}));
}

/* There is no message if lowering the score is not permitted. */
static void
test_quiet(void)
{
        if (g_test_subprocess()) {
                OomScore before;
                oom_score_protect(&before);
                return;
        }
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();
        g_test_trap_assert_stderr("");
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/oom-score/round-trip", test_round_trip);
        g_test_add_func("/oom-score/unknown", test_unknown);
        g_test_add_func("/oom-score/quiet", test_quiet);
        return g_test_run();
}
