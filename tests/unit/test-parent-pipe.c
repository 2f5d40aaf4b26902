/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/parent_pipe.h"

#include "base/fd.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void
check_format(const char *text, const char *want)
{
        GString *line = parent_pipe_format("data", -1, text);
        g_assert_cmpstr(line->str, ==, want);
        g_string_free(line, TRUE);
}

static void
test_format(void)
{
        check_format(NULL, "{\"data\": -1}\n");
        check_format("", "{\"data\": -1}\n");
        check_format("runc: \"boom\" /x\ty\n",
                     "{\"data\": -1, \"message\": \"runc: \\\"boom\\\" \\/x\\ty\\n\"}\n");
        check_format("\x01\x1f\x7f\b\f\r\\",
                     "{\"data\": -1, \"message\": \"\\u0001\\u001f\\u007f\\b\\f\\r\\\\\"}\n");
        check_format("gr\xc3\xbc\xc3\x9f \xff", "{\"data\": -1, \"message\": \"gr\xc3\xbc\xc3\x9f \xff\"}\n");
}

/* For any text the line is complete and not too long. */
static void
test_length(void)
{
        static const char *const units[] = {"x",    "\n",
                                            "\x01", "\xe2\x82\xac",
                                            "\xff", "ab\"\xf0\x9f\x98\x80"};
        for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
                for (size_t shift = 0; shift < 8; shift++) {
                        g_autoptr(GString) text = g_string_new(NULL);
                        for (size_t n = 0; n < shift; n++)
                                g_string_append_c(text, 's');
                        while (text->len < 9000)
                                g_string_append(text, units[i]);
                        GString *line = parent_pipe_format("exit_code", -1, text->str);
                        g_assert_cmpuint(line->len, <=, PARENT_PIPE_LINE_MAX);
                        g_assert_cmpuint(line->len, >, PARENT_PIPE_LINE_MAX - 8);
                        g_assert_true(g_str_has_suffix(line->str, "\"}\n"));
                        if (i != 4)
                                g_assert_true(g_utf8_validate(line->str, (gssize)line->len, NULL));
                        g_string_free(line, TRUE);
                }
}

static void
test_one_record(void)
{
        int pair[2];
        char buf[PARENT_PIPE_LINE_MAX];
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), ==, 0);
        parent_pipe_send(&pair[0], "pid", 42, NULL);
        g_assert_cmpint(read(pair[1], buf, sizeof buf), ==, 12);
        g_assert_cmpint(memcmp(buf, "{\"pid\": 42}\n", 12), ==, 0);
        fd_close(&pair[0]);
        fd_close(&pair[1]);
}

static void
test_reader_gone(void)
{
        int pair[2];
        (void)signal(SIGPIPE, SIG_IGN);
        g_assert_cmpint(pipe(pair), ==, 0);
        fd_close(&pair[0]);
        parent_pipe_send(&pair[1], "pid", 42, NULL);
        g_assert_cmpint(pair[1], ==, -1);
        parent_pipe_send(&pair[1], "pid", 42, NULL);
}

static void
check_open(const char *value, int want, const char *text)
{
        g_autoptr(GError) error = NULL;
        int fd = -2;
        if (value)
                setenv("_OCI_SYNCPIPE", value, 1);
        else
                unsetenv("_OCI_SYNCPIPE");
        gboolean opened = parent_pipe_open(PARENT_PIPE_SYNC, &fd, &error);
        g_assert_cmpint(opened, ==, text == NULL);
        if (text)
                g_assert_cmpstr(error->message, ==, text);
        else
                g_assert_cmpint(fd, ==, want);
}

static void
test_variables(void)
{
        check_open(NULL, -1, NULL);
        check_open("", -1, NULL);
        check_open("2", 2, NULL);
        check_open("abc", 0, "unable to parse _OCI_SYNCPIPE Invalid argument");
        check_open("3x", 0, "unable to parse _OCI_SYNCPIPE Invalid argument");
        check_open("-1", 0, "unable to make _OCI_SYNCPIPE CLOEXEC Bad file descriptor");
        check_open("999", 0, "unable to make _OCI_SYNCPIPE CLOEXEC Bad file descriptor");
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/parent-pipe/format", test_format);
        g_test_add_func("/parent-pipe/length", test_length);
        g_test_add_func("/parent-pipe/one-record", test_one_record);
        g_test_add_func("/parent-pipe/reader-gone", test_reader_gone);
        g_test_add_func("/parent-pipe/variables", test_variables);
        return g_test_run();
}
