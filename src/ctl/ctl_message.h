#pragma once

/* The lines of the ctl and winsz FIFOs. */

#include <stdbool.h>

/* The numbers of the first word of a ctl line. */
typedef enum {
        CTL_RESIZE = 1,      /* two numbers: rows, columns */
        CTL_REOPEN_LOGS = 2, /* two numbers, not looked at */
        CTL_STATUS = 3,      /* the same: write log-status.json */
} CtlType;

typedef struct CtlMessage {
        CtlType type;
        int rows;
        int columns;
} CtlMessage;

/* Numbers may be 0 to this. */
#define CTL_VALUE_MAX 1000

/* Reads "TYPE A B". Words behind these are ignored. Returns false if the line has no such form, if a number
 * is out of range or the type is not known; then *ret is not touched. */
bool ctl_message_parse(const char *line, CtlMessage *ret);

/* Reads a winsz line, "ROWS COLUMNS", in the same way. */
bool ctl_winsz_parse(const char *line, int *ret_rows, int *ret_columns);
