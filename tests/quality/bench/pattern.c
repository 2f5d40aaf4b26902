/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "pattern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PERIOD_MIN (512 * 1024)

static void
fill_line(char *to, size_t line, size_t number, bool crlf)
{
        char digits[16];

        memset(to, 'a' + (int) (number % 26), line);
        (void) snprintf(digits, sizeof digits, "%08zx", number);
        memcpy(to, digits, line - 1 < 8 ? line - 1 : 8);
        if (crlf)
                to[line - 1] = '\r';
        to[line - 1 + crlf] = '\n';
}

void
pattern_init(Pattern *p, size_t line, bool crlf)
{
        size_t lines = PERIOD_MIN / line + 1;
        size_t real = line + crlf;

        p->period = lines * real;
        p->block = malloc(p->period + PATTERN_SPAN);
        if (p->block == NULL)
                abort();
        for (size_t i = 0; i < lines; i++)
                fill_line(p->block + i * real, line, i, crlf);
        for (size_t done = 0; done < PATTERN_SPAN; done++)
                p->block[p->period + done] = p->block[done];
}

const char *
pattern_at(const Pattern *p, uint64_t offset)
{
        return p->block + offset % p->period;
}

bool
pattern_matches(const Pattern *p, uint64_t offset, const char *data, size_t len)
{
        while (len > 0) {
                size_t n = len < PATTERN_SPAN ? len : PATTERN_SPAN;

                if (memcmp(pattern_at(p, offset), data, n) != 0)
                        return false;
                offset += n;
                data += n;
                len -= n;
        }
        return true;
}
