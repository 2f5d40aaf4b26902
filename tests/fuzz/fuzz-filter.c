/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/filter.h"

#include "fuzz.h"

/* A reference implementation from the definition, slow with many stars. */
static bool
fits(const char *pattern, const char *line, size_t len)
{
        if (*pattern == '\0')
                return len == 0;
        if (*pattern == '*')
                return fits(pattern + 1, line, len) || (len > 0 && fits(pattern, line + 1, len - 1));
        return len > 0 && *line == *pattern && fits(pattern + 1, line + 1, len - 1);
}

static bool
contains(const char *pattern, const char *line, size_t len)
{
        return memmem(line, len, pattern, strlen(pattern)) != NULL;
}

/* The pattern ends at the first newline, the line is the rest. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const uint8_t *newline = memchr(data, '\n', size);
        if (!newline)
                return 0;
        g_autofree char *pattern = g_strndup((const char *)data, (size_t)(newline - data));
        const char *line = (const char *)newline + 1;
        size_t len = size - (size_t)(newline + 1 - data);
        bool matches = log_pattern_matches(pattern, line, len);
        if (!strchr(pattern, '*'))
                g_assert_cmpint(matches, ==, contains(pattern, line, len));
        else if (len < 24 && strlen(pattern) < 12)
                g_assert_cmpint(matches, ==, fits(pattern, line, len));
        return 0;
}
