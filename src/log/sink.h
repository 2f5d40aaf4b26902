#pragma once

/* One destination: a driver's instance with its queue, policy and counters. Sinks
 * know nothing of each other. */

#include "log/driver.h"

/* The options that a sink of this driver has, none given yet. */
LogOptions *log_sink_options(const LogDriver *driver);

/* Called when log_sink_wants changed, and when the last of what log_sink_finish left was sent. */
typedef void (*LogSinkChangedFunc)(void *data);

/* Whether log_sink_new could work, as far as that can be told without a look at the machine. */
gboolean log_sink_check(const LogDriver *driver, const LogOptions *options, const char *arg,
                        const LogConfig *log, bool from_log_path, GError **error);

/* Makes a sink with the options given (ownership passes, also on failure) and opens its driver. */
LogSink *log_sink_new(const LogDriver *driver, LogOptions *options, const char *arg, const LogConfig *log,
                      bool from_log_path, GError **error);
void log_sink_free(LogSink *s);

/* In the monitor. */
void log_sink_start(LogSink *s, LogSinkChangedFunc changed, void *data);

/* Takes records. What can't wait in memory is sent; the rest is with log_sink_flush. */
void log_sink_write(LogSink *s, const LogBatch *batch);
void log_sink_flush(LogSink *s);

/* False while a sink that blocks is full. */
bool log_sink_wants(const LogSink *s, StreamId stream);

void log_sink_reopen(LogSink *s);

/* Memory that is not in use goes back to the kernel. */
void log_sink_release(LogSink *s);

/* Unfinished lines go out; what can't be sent at once is left if there is hope, else given up. */
void log_sink_finish(LogSink *s, bool sync);

/* True while there is something to send and hope that it can be. */
bool log_sink_is_draining(const LogSink *s);

/* How long draining may take, microseconds; 0 if there is nothing to drain. */
gint64 log_sink_drain_time(const LogSink *s);

/* Gives up what is still there. */
void log_sink_abandon(LogSink *s);

/* Adds the sink's status, a JSON object. */
void log_sink_status(const LogSink *s, GString *json);
