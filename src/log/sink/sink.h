/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* One destination: a driver's instance with its queue, policy and counters. Sinks are independent of each
 * other. */

#include "log/api/driver.h"
#include "log/sink/options.h"

/* Called when log_sink_wants has changed, and when the records left by log_sink_finish, or those in the way
 * of log_sink_release, were sent or dropped. */
typedef void (*LogSinkChangedFunc)(void *data);

/* Creates a sink and opens its driver. */
LogSink *log_sink_new(const LogSinkSetup *setup, const LogConfig *log, GError **error);
void log_sink_free(LogSink *s);

/* The name that distinguishes the sinks of a log in the status: the driver's name, unless another was set.
 * Borrowed. */
const char *log_sink_name(const LogSink *s);
void log_sink_set_name(LogSink *s, const char *name);

/* Live upgrade. log_sink_restore returns NULL after a failure, after which the process exits: nothing is
 * freed. log_sink_set_changed replaces log_sink_start; nothing is sent before log_sink_flush. In a reload it
 * precedes log_sink_start. */
void log_sink_save(LogSink *s, StateWriter *w);
LogSink *log_sink_restore(StateReader *r, const LogDriver *(*find)(const char *name), StandIn *stand_in);
void log_sink_set_changed(LogSink *s, LogSinkChangedFunc changed, void *data);

/* In the monitor. Sends what was written before. */
void log_sink_start(LogSink *s, LogSinkChangedFunc changed, void *data);

/* Accepts records. Those that don't fit in memory are sent; log_sink_flush sends the rest. */
void log_sink_write(LogSink *s, const LogBatch *batch);
void log_sink_flush(LogSink *s);

/* False while a sink that blocks is full. */
bool log_sink_wants(const LogSink *s, StreamId stream);

void log_sink_reopen(LogSink *s);

/* Returns unused memory to the kernel. */
void log_sink_release(LogSink *s);

/* Flushes unfinished lines. Records that can't be sent immediately, or by local destinations until `until`
 * (monotonic clock), stay queued if they may still be sent, else are dropped. */
void log_sink_finish(LogSink *s, gint64 until);

/* After that, and after the end was recorded: syncs a local destination to disk. */
void log_sink_sync(LogSink *s);

/* True while it is blocked in a call on a file, and the main loop runs within: it can't be freed. */
bool log_sink_is_sending(const LogSink *s);

/* True while there are records that may still be sent. */
bool log_sink_is_draining(const LogSink *s);

/* Lets a finished sink send its queue within drain-timeout, or longer while the destination makes progress
 * and mode is not non-blocking. Then the rest is dropped. The end is reported as a change. */
void log_sink_drain(LogSink *s);

/* Drops everything that is left. */
void log_sink_abandon(LogSink *s);

/* Appends the sink's status, a JSON object. */
void log_sink_status(const LogSink *s, GString *json);
