/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/ctl_message.h"

#include <glib.h>

static void
test_valid(void)
{
        static const struct {
                const char *line;
                CtlMessage want;
        } rows[] = {
                {"1 24 80", {CTL_RESIZE, 24, 80}},
                {"1 2 2 3", {CTL_RESIZE, 2, 2}},
                {"1 0 0", {CTL_RESIZE, 0, 0}},
                {"1 1000 1000", {CTL_RESIZE, 1000, 1000}},
                {"  1\t007 08 rest", {CTL_RESIZE, 7, 8}},
                {"2 0 0", {CTL_REOPEN_LOGS, 0, 0}},
                {"3 0 0", {CTL_STATUS, 0, 0}},
                {"4 0 0", {CTL_UPGRADE, 0, 0}},
                {"5 0 0", {CTL_RELOAD, 0, 0}},
                {"6 0 0", {CTL_LISTEN_FOR_EXITS, 0, 0}},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                CtlMessage got = {0};
                g_test_message("%s", rows[i].line);
                g_assert_true(ctl_message_parse(rows[i].line, &got));
                g_assert_cmpint(got.type, ==, rows[i].want.type);
                g_assert_cmpint(got.rows, ==, rows[i].want.rows);
                g_assert_cmpint(got.columns, ==, rows[i].want.columns);
        }
}

static void
test_invalid(void)
{
        static const char *const rows[] = {
                "",
                " ",
                "foo",
                "999",
                "999 2 2",
                "0 1 1",
                "7 1 1",
                "-1 1 1",
                "1",
                "1 2",
                "1 -1 -1",
                "1 10.5 20.3",
                "1 0x10 0x20",
                "1 1001 2",
                "1 2 1001",
                "1 100000 100000",
                "1 99999999999999999999 1",
                "1 2 x",
                "1, 2, 3",
        };
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                CtlMessage got = {.rows = -7};
                g_test_message("%s", rows[i]);
                g_assert_false(ctl_message_parse(rows[i], &got));
                g_assert_cmpint(got.rows, ==, -7);
        }
}

static void
test_winsz(void)
{
        int rows = -1, columns = -1;
        g_assert_true(ctl_winsz_parse("24 80", &rows, &columns));
        g_assert_cmpint(rows, ==, 24);
        g_assert_cmpint(columns, ==, 80);
        g_assert_false(ctl_winsz_parse("24", &rows, &columns));
        g_assert_false(ctl_winsz_parse("1001 1", &rows, &columns));
        g_assert_false(ctl_winsz_parse("", &rows, &columns));
        g_assert_cmpint(rows, ==, 24);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/ctl-message/valid", test_valid);
        g_test_add_func("/ctl-message/invalid", test_invalid);
        g_test_add_func("/ctl-message/winsz", test_winsz);
        return g_test_run();
}
