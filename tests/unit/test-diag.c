/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/diag.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Replaces stderr by a pipe. */
static int
catch_stderr(int *ret_saved)
{
        int fds[2];
        g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
        *ret_saved = dup(STDERR_FILENO);
        g_assert_cmpint(dup2(fds[1], STDERR_FILENO), ==, STDERR_FILENO);
        fd_close(&fds[1]);
        g_assert_cmpint(fd_set_nonblock(fds[0], true), ==, 0);
        return fds[0];
}

/* Restores stderr, and returns the captured output. */
static char *
release_stderr(int from, int saved)
{
        char text[8192];
        ssize_t n = fd_read(from, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
        g_assert_cmpint(dup2(saved, STDERR_FILENO), ==, STDERR_FILENO);
        fd_close(&saved);
        fd_close(&from);
        return g_strdup(text);
}

/* Writes one message of each level. */
static void
check_shown(DiagLevel level, const char *expected)
{
        int saved, from = catch_stderr(&saved);
        diag_set_level(level);
        diag_error("one %d", 1);
        diag_warn("two %s", "words");
        diag_info("three");
        diag_debug("four");
        diag_trace("five");
        g_autofree char *text = release_stderr(from, saved);
        g_assert_cmpstr(text, ==, expected);
        g_assert_cmpint(diag_level(), ==, level);
}

static void
test_default_level(void)
{
        g_assert_cmpint(diag_level(), ==, DIAG_WARNING);
}

static void
test_levels(void)
{
        check_shown(DIAG_ERROR, "[conmon:e]: one 1\n");
        check_shown(DIAG_WARNING, "[conmon:e]: one 1\n[conmon:w]: two words\n");
        check_shown(DIAG_INFO, "[conmon:e]: one 1\n[conmon:w]: two words\n[conmon:i]: three\n");
        check_shown(DIAG_DEBUG, "[conmon:e]: one 1\n[conmon:w]: two words\n[conmon:i]: three\n"
                                "[conmon:d]: four\n");
        check_shown(DIAG_TRACE, "[conmon:e]: one 1\n[conmon:w]: two words\n[conmon:i]: three\n"
                                "[conmon:d]: four\n[conmon:d]: five\n");
}

static void
test_level_names(void)
{
        static const struct {
                const char *name;
                DiagLevel level;
        } names[] = {
                {"panic", DIAG_ERROR},     {"fatal", DIAG_ERROR}, {"error", DIAG_ERROR},
                {"warn", DIAG_WARNING},    {"warning", DIAG_WARNING}, {"info", DIAG_INFO},
                {"debug", DIAG_DEBUG},     {"trace", DIAG_TRACE}, {"WARNING", DIAG_WARNING},
                {"Trace", DIAG_TRACE},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                DiagLevel level = (DiagLevel)-1;
                g_assert_true(diag_parse_level(names[i].name, &level));
                g_assert_cmpint(level, ==, names[i].level);
        }
}

static void
test_unknown_level(void)
{
        static const char *const wrong[] = {"", "err", "warnings", "3", " info", "info "};
        for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
                DiagLevel level = DIAG_INFO;
                g_assert_false(diag_parse_level(wrong[i], &level));
                g_assert_cmpint(level, ==, DIAG_INFO);
        }
}

static void
test_errno(void)
{
        int saved, from = catch_stderr(&saved);
        errno = ENOTTY;
        diag_error("text");
        g_assert_cmpint(errno, ==, ENOTTY);
        g_autofree char *text = release_stderr(from, saved);
        g_assert_cmpstr(text, ==, "[conmon:e]: text\n");
}

static void
test_long_message(void)
{
        g_autofree char *much = g_strnfill(5000, 'm');
        g_autofree char *expected = g_strdup_printf("[conmon:e]: %s\n", much);
        int saved, from = catch_stderr(&saved);
        diag_error("%s", much);
        g_autofree char *text = release_stderr(from, saved);
        g_assert_cmpstr(text, ==, expected);
}

/* A closed stderr does not end the program. */
static void
test_closed_stderr(void)
{
        int saved = dup(STDERR_FILENO);
        (void)close(STDERR_FILENO);
        diag_error("unseen");
        g_assert_cmpint(dup2(saved, STDERR_FILENO), ==, STDERR_FILENO);
        fd_close(&saved);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/diag/default-level", test_default_level);
        g_test_add_func("/diag/levels", test_levels);
        g_test_add_func("/diag/level-names", test_level_names);
        g_test_add_func("/diag/unknown-level", test_unknown_level);
        g_test_add_func("/diag/errno", test_errno);
        g_test_add_func("/diag/long-message", test_long_message);
        g_test_add_func("/diag/closed-stderr", test_closed_stderr);
        return g_test_run();
}
