/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The sinks of a log: creation at the start and when the configuration is reloaded. */

#include "log/log.h"
#include "log/sink/sink.h"

void log_sinks_init(Log *log);
void log_sinks_done(Log *log);

/* Creates the sinks, for log_new. */
gboolean log_sinks_open(Log *log, const LogConfig *config, GError **error);

/* Checks them in the same way, but only adds a LogPlanned for each; for log_plan. */
gboolean log_sinks_plan(GPtrArray *plan, const LogConfig *config, GError **error);

/* Applies another configuration, for log_reload. Kept sinks retain queue, connection and counters, and
 * adopt changed options; sinks whose driver options have changed are replaced; removed ones are closed:
 * they finish, drain, and are freed. After a failure nothing has changed. */
gboolean log_sinks_reload(Log *log, const LogConfig *config, LogSinkChangedFunc changed, void *data,
                          GError **error);

/* True while a removed sink has something to send. */
bool log_sinks_are_closing(const Log *log);

/* Frees the removed sinks that have nothing left to send; none of them may be at work. */
void log_sinks_reap(Log *log);

/* Appends their status, each with a comma if it is not the first of all sinks. */
void log_sinks_add_closing(const Log *log, GString *json);
