/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/filter.h"

#include <string.h>

static bool
ends_with(const char *line, size_t len, const char *part, size_t part_len)
{
        return part_len <= len && memcmp(line + len - part_len, part, part_len) == 0;
}

bool
log_pattern_matches(const char *pattern, const char *line, size_t len)
{
        size_t part = strcspn(pattern, "*");
        if (pattern[part] == '\0')
                return memmem(line, len, pattern, part) != NULL;
        if (len < part || memcmp(line, pattern, part) != 0)
                return false;
        /* Matching each part between two stars at its first occurrence is sufficient. */
        while (pattern[part] == '*') {
                line += part;
                len -= part;
                pattern = strchr(pattern, '*') + 1;
                part = strcspn(pattern, "*");
                if (pattern[part] == '\0')
                        return ends_with(line, len, pattern, part);
                const char *found = memmem(line, len, pattern, part);
                if (!found)
                        return false;
                len -= (size_t)(found - line);
                line = found;
        }
        return false;
}

static bool
fits_one(const char *const *patterns, const LogRecord *r)
{
        for (; *patterns; patterns++)
                if (log_pattern_matches(*patterns, r->bytes, r->len))
                        return true;
        return false;
}

bool
log_filter_passes(LogFilter *f, const LogRecord *r)
{
        if (!(r->flags & LOG_RECORD_CONTINUES))
                f->passing[r->stream] = (!*f->include || fits_one(f->include, r)) && !fits_one(f->exclude, r);
        return f->passing[r->stream];
}
