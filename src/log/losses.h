#pragma once

/* What a sink did not deliver: counted by cause, and announced once in the stream. */

#include "log/queue.h"

#include <glib.h>

typedef enum {
        LOG_DROP_FULL,   /* the queue was full */
        LOG_DROP_RATE,   /* rate limit */
        LOG_DROP_ENCODE, /* the format can't hold it */
        LOG_DROP_LIMIT,  /* --log-global-size-max is reached: for good, so never announced */
        LOG_DROP_FILTER, /* streams, include, exclude: as asked for, not announced */
        LOG_DROP_END,    /* could not be delivered before the end */
        N_LOG_DROPS,
} LogDropCause;

/* Causes before this one are announced. */
#define N_LOG_DROPS_ANNOUNCED LOG_DROP_LIMIT

typedef struct LogLosses {
        LogCount total[N_LOG_DROPS];
        uint64_t unannounced[N_LOG_DROPS]; /* records */
} LogLosses;

void log_losses_add(LogLosses *l, LogDropCause cause, LogCount count);

/* True if something is to be announced. */
bool log_losses_pending(const LogLosses *l);

/* Room for an announcement. */
#define LOG_LOSSES_TEXT_SIZE 96

/* Writes the announcement for what one cause took since the last one, "conmon: 17 records dropped: queue
 * full", with a newline behind it, into `text`. Returns its length without the newline. */
size_t log_losses_announce(LogLosses *l, LogDropCause cause, char *text);

/* Adds `"dropped":{...}`. */
void log_losses_status(const LogLosses *l, GString *json);

/* Adds `"name":{"records":N,"bytes":N}`. */
void log_count_status(const char *name, LogCount count, GString *json);
