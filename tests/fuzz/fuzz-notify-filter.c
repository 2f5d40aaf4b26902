/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/notify_relay.h"

#include "fuzz.h"

/* The filtered text is not longer, has no assignments for processes or descriptors, and filtering it again
 * does not change it. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_malloc(MAX(size, 1));
        memcpy(text, data, size);
        size_t left = notify_filter(text, size);
        g_assert_cmpuint(left, <=, size);

        g_autofree char *first = g_strndup(text, left);
        g_assert_cmpuint(strlen(first), ==, left);
        g_auto(GStrv) lines = g_strsplit(first, "\n", -1);
        for (char **line = lines; *line; line++) {
                g_assert_false(g_str_has_prefix(*line, "MAINPID"));
                g_assert_false(g_str_has_prefix(*line, "FD"));
                g_assert_false(g_str_has_prefix(*line, "BARRIER"));
                g_assert_cmpuint(strlen(*line), >, 0);
        }
        g_assert_cmpuint(notify_filter(text, left), ==, left);
        g_assert_cmpmem(text, left, first, left);
        return 0;
}
