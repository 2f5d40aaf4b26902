/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Other options for a sink at work, as a reload brings them. Queue, connection and counters stay. */

#include "log/intake/intake.h"
#include "log/sink/sink.h"

/* True if the sink is the one that is asked for, be it with other options that it can adopt. */
bool log_sink_is_same(const LogSink *s, const LogSinkSetup *setup);

/* True if it has exactly these options. */
bool log_sink_has_options(const LogSink *s, const LogOptions *options);

/* What is ready to be applied. */
typedef struct LogSinkChange {
        LogSink *sink;
        LogOptions *options;
        LogIntake *intake;
        bool replaces_intake;
} LogSinkChange;

/* Checks the options for a sink that is the same, and makes what they need; takes them over, also on failure.
 * The sink is not touched before log_sink_apply. */
gboolean log_sink_prepare(LogSink *s, LogOptions *options, const LogConfig *log, LogSinkChange *ret,
                          GError **error);

/* Makes them effective and clears *c. */
void log_sink_apply(LogSinkChange *c, const LogConfig *log);

/* For a change that is not applied. */
void log_sink_change_done(LogSinkChange *c);

/* The sink is going to replace another one, which has not been finished: takes over the lines that it has
 * begun, as far as possible. */
void log_sink_take_over_lines(LogSink *s, LogSink *old);

/* The sink replaces another one: adds the counters of that one to its own, and clears them, except for the
 * queued records. It may have counted already: while a disk stalls, output goes on during a reload. */
void log_sink_succeed(LogSink *s, LogSink *old);

/* Adds the results of the queued records. */
void log_sink_add_counts(LogSink *s, const LogSink *old);
