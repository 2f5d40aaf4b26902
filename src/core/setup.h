/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Sets up the log from command line, configuration files, annotations and environment. */

#include "config/selection.h"
#include "core/monitor.h"

/* What the command line sets for the choice of log drivers; borrows from both. `json` may be NULL. */
SelectionConfig setup_describe_choice(const Options *o, ConfigJson *json);

/* Makes a log of a configuration: log_new for a start, log_plan for --check-config. */
typedef gboolean (*SetupLogFunc)(const LogConfig *config, void *data, GError **error);

/* The log of a start. An error of what the configuration adds is *ret_refused, and the log is that of the
 * command line alone; other errors are *error. *ret_selection as from selection_new. */
gboolean setup_choose_log(const Options *o, const SelectionConfig *asked, SetupLogFunc make, void *data,
                          Selection **ret_selection, GError **ret_refused, GError **error);

/* Who starts all the same after *ret_refused, for messages; NULL: nobody. `warn`: on-error of the policy. */
const char *setup_starts_anyway(const Options *o, bool warn);

/* Reads the configuration again, after the log was set up, and applies the differences. A failure changes
 * nothing. */
gboolean setup_reload(Monitor *m, GError **error);

/* Opens the log and sets the options of attach clients. An error is reported by the launcher; a message
 * for the sync pipe is stored in m->refusal. */
gboolean monitor_set_up(Monitor *m, GError **error);
