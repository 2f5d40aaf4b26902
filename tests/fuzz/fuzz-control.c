/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/ctl_message.h"
#include "ctl/line_fifo.h"

#include "fuzz.h"

/* The lines, with "/" after each. */
static void
keep_line(const char *line, void *data)
{
        GString *lines = data;
        g_assert_cmpuint(strlen(line), <=, LINE_MAX_LEN);
        g_assert_null(strchr(line, '\n'));
        g_string_append_printf(lines, "%s/", line);

        CtlMessage message = {.rows = -1, .columns = -1};
        if (ctl_message_parse(line, &message)) {
                g_assert_cmpint(message.type, >=, CTL_RESIZE);
                g_assert_cmpint(message.type, <=, CTL_LISTEN_FOR_EXITS);
                g_assert_cmpint(message.rows, <=, CTL_VALUE_MAX);
                g_assert_cmpint(message.columns, <=, CTL_VALUE_MAX);
                g_assert_true(message.rows >= 0 && message.columns >= 0);
        } else {
                g_assert_cmpint(message.rows, ==, -1);
        }
        int rows = -1, columns = -1;
        if (ctl_winsz_parse(line, &rows, &columns))
                g_assert_true(rows >= 0 && rows <= CTL_VALUE_MAX && columns >= 0 && columns <= CTL_VALUE_MAX);
}

/* The result does not depend on the pieces. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        LineBuffer whole = {0}, pieces = {0};
        GString *first = g_string_new(NULL), *second = g_string_new(NULL);
        line_buffer_feed(&whole, (const char *)data, size, keep_line, first);
        size_t step = size > 0 ? data[0] % 7 + 1u : 1;
        for (size_t at = 0; at < size; at += step)
                line_buffer_feed(&pieces, (const char *)data + at, MIN(step, size - at), keep_line,
                                 second);
        g_assert_cmpstr(first->str, ==, second->str);
        g_string_free(first, TRUE);
        g_string_free(second, TRUE);
        return 0;
}
