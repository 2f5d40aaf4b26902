/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/oom_watch.h"

#include "fuzz.h"

/* A changed counter is noticed in any text. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        (void)oom_counts_parse(text);
        g_autofree char *more = g_strconcat(text, "\noom 41\noom_kill 42\n", NULL);
        OomCounts counts = oom_counts_parse(more);
        g_assert_cmpuint(counts.oom, ==, 41);
        g_assert_cmpuint(counts.oom_kill, ==, 42);
        return 0;
}
