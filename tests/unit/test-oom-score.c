#include "proc/oom_score.h"

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

/* Runs a check in a child, so that the score of the test itself stays what it was. */
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

/* B79, B80: -1000 where that is allowed, and the value from before, to the letter, afterwards. */
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
        g_assert_cmpuint(before.len, ==, strlen(raised));
        g_assert_cmpmem(before.text, before.len, raised, strlen(raised));
        int protected_score = own_score();
        g_assert_true(protected_score == -1000 || protected_score == start + 7);

        /* A child has a score of its own that may be raised by anybody. */
        pid_t pid = fork();
        if (pid == 0) {
                tempdir_put("/proc/self", "oom_score_adj", "900");
                oom_score_restore(&before);
                _exit(own_score() == start + 7 ? 0 : 1);
        }
        int status;
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
        g_assert_cmpint(own_score(), ==, protected_score);
}

static void
test_round_trip(void)
{
        in_child(check_round_trip);
}

static void
check_unknown(void)
{
        int start = own_score();
        oom_score_restore(&(OomScore){0});
        g_assert_cmpint(own_score(), ==, start);
}

static void
test_unknown_is_left_alone(void)
{
        in_child(check_unknown);
}

/* B97: not being allowed to is no reason for a message. */
static void
test_quiet(void)
{
        if (g_test_subprocess()) {
                OomScore before;
                oom_score_protect(&before);
                oom_score_restore(&before);
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
        g_test_add_func("/oom-score/unknown-is-left-alone", test_unknown_is_left_alone);
        g_test_add_func("/oom-score/quiet", test_quiet);
        return g_test_run();
}
