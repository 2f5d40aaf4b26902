/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Dropped records of a sink: counted by cause, and reported once in the stream. */

#include "log/api/queue.h"

#include <glib.h>

/* In the order of the state for a live upgrade, which may be an older version's. */
typedef enum {
        LOG_DROP_FULL,          /* the queue was full */
        LOG_DROP_NOT_CONNECTED, /* the same, because there was no connection to the destination */
        LOG_DROP_RATE,          /* rate limit */
        LOG_DROP_ENCODE,        /* the format can't represent it */
        LOG_DROP_LIMIT,         /* --log-global-size-max is reached: permanent, so never reported */
        LOG_DROP_REFUSED,       /* the server refuses it */
        LOG_DROP_FILTER,        /* streams, include, exclude: intended, not reported */
        LOG_DROP_END,           /* could not be delivered before the end */
        N_LOG_DROPS,
} LogDropCause;

typedef struct LogLosses {
        LogCount total[N_LOG_DROPS];
        uint64_t unannounced[N_LOG_DROPS]; /* records */
        uint64_t refused;                  /* records not among these yet: a report would be refused, too */
} LogLosses;

/* Convert a cause to its name in the status, and back; false if there is none. */
const char *log_losses_name(LogDropCause cause);
bool log_losses_find(const char *name, LogDropCause *ret);

void log_losses_add(LogLosses *l, LogDropCause cause, LogCount count);

/* Adds everything that another sink has lost; what that one has reported is not reported again. */
void log_losses_add_all(LogLosses *l, const LogLosses *from);

/* The destination has accepted a record: earlier refusals can be reported. */
void log_losses_accepted(LogLosses *l);

/* Everything lost, whatever the cause. */
LogCount log_losses_sum(const LogLosses *l);

/* True if there are unreported losses for this cause that can be reported. */
bool log_losses_are_due(const LogLosses *l, LogDropCause cause);

/* The same for any cause. */
bool log_losses_pending(const LogLosses *l);

/* Buffer size for a report. */
#define LOG_LOSSES_TEXT_SIZE 96

/* Writes the report of losses for one cause since the last report, "conmon: 17 records dropped: queue
 * full", followed by a newline, into `text`. Returns its length without the newline. */
size_t log_losses_announce(LogLosses *l, LogDropCause cause, char *text);

/* Live upgrade. */
void log_losses_save(const LogLosses *l, StateWriter *w);
void log_losses_restore(LogLosses *l, StateReader *r);

/* Adds `"dropped":{...}`. */
void log_losses_status(const LogLosses *l, GString *json);

/* Adds `"name":{"records":N,"bytes":N}`. */
void log_count_status(const char *name, LogCount count, GString *json);
