#pragma once

/* One destination: a driver's instance with its queue, policy and counters. Sinks know nothing of each other. */

#include "log/driver.h"

/* Why records were not delivered. */
typedef enum {
        LOG_DROP_FULL,    /* queue full */
        LOG_DROP_LIMIT,   /* --log-global-size-max reached */
        LOG_DROP_RATE,    /* rate limit */
        LOG_DROP_FILTER,  /* streams, include, exclude: as asked for, not announced */
        LOG_DROP_ENCODE,  /* the format can't hold it */
        LOG_DROP_END,     /* could not be delivered before the end */
        N_LOG_DROPS,
} LogDropCause;

/* Options that every sink has; ends with a name of NULL. */
const LogOption *log_sink_options(void);

/* Called when log_sink_wants changed, and when the last of what log_sink_finish left was sent. */
typedef void (*LogSinkChangedFunc)(void *data);

/* Makes a sink with the options given (ownership passes, also on failure) and opens its driver. */
LogSink *log_sink_new(const LogDriver *driver, LogOptions *options, const char *arg, const LogConfig *log,
                      bool from_log_path, GError **error);
void log_sink_free(LogSink *sink);

/* In the monitor. */
void log_sink_start(LogSink *sink, LogSinkChangedFunc changed, void *data);

/* Takes records; what can be sent at once is. */
void log_sink_write(LogSink *sink, const LogBatch *batch);

/* Sends what log_sink_write encoded. */
void log_sink_flush(LogSink *sink);

/* False while a sink that blocks is full. */
bool log_sink_wants(const LogSink *sink, StreamId stream);

void log_sink_reopen(LogSink *sink);

/* Memory that is not in use goes back to the kernel. */
void log_sink_release(LogSink *sink);

/* Unfinished lines go out; what can't be sent at once is left. */
void log_sink_finish(LogSink *sink, bool sync);

/* True while there is something to send and hope that it can be. */
bool log_sink_is_draining(const LogSink *sink);

/* Gives up what is still there. */
void log_sink_abandon(LogSink *sink);

/* How long draining may take, microseconds; 0 if there is nothing to drain. */
gint64 log_sink_drain_time(const LogSink *sink);

/* Adds the sink's status, a JSON object. */
void log_sink_status(const LogSink *sink, GString *json);
