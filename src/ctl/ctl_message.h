/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Messages in the ctl and winsz FIFOs, one per line. */

#include <stdbool.h>

/* Types of ctl messages, the first number of a line. */
typedef enum {
        CTL_RESIZE = 1,           /* two numbers: rows, columns */
        CTL_REOPEN_LOGS = 2,      /* two numbers, ignored */
        CTL_STATUS = 3,           /* the same: write log-status.json */
        CTL_UPGRADE = 4,          /* the same: live upgrade to the installed program */
        CTL_RELOAD = 5,           /* the same: reload the configuration */
        CTL_LISTEN_FOR_EXITS = 6, /* the same, sent by the monitor of a session: see ctl/exit_socket.h */
} CtlType;

typedef struct CtlMessage {
        CtlType type;
        int rows;
        int columns;
} CtlMessage;

/* The largest valid number. */
#define CTL_VALUE_MAX 1000

/* Parses "TYPE A B", ignoring further words. Returns false, without changing *ret, if the line is malformed,
 * a number is out of range or the type is unknown. */
bool ctl_message_parse(const char *line, CtlMessage *ret);

/* Parses a winsz line, "ROWS COLUMNS", in the same way. */
bool ctl_winsz_parse(const char *line, int *ret_rows, int *ret_columns);
