/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/ctl_message.h"

#include <stdlib.h>

/* Parses `n` decimal numbers as scanf's %d does; text after the last one is ignored. */
static bool
parse_numbers(const char *line, int n, long *ret)
{
        for (int i = 0; i < n; i++) {
                char *end = NULL;
                ret[i] = strtol(line, &end, 10);
                if (end == line || ret[i] < 0 || ret[i] > CTL_VALUE_MAX)
                        return false;
                line = end;
        }
        return true;
}

bool
ctl_message_parse(const char *line, CtlMessage *ret)
{
        long n[3];
        if (!parse_numbers(line, 3, n) || n[0] < CTL_RESIZE || n[0] > CTL_LISTEN_FOR_EXITS)
                return false;
        *ret = (CtlMessage){.type = (CtlType)n[0], .rows = (int)n[1], .columns = (int)n[2]};
        return true;
}

bool
ctl_winsz_parse(const char *line, int *ret_rows, int *ret_columns)
{
        long n[2];
        if (!parse_numbers(line, 2, n))
                return false;
        *ret_rows = (int)n[0];
        *ret_columns = (int)n[1];
        return true;
}
