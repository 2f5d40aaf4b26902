/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Sets up the log from command line, configuration files, annotations and environment. */

#include "config/selection.h"
#include "core/monitor.h"

/* Describes what the command line says about log drivers; borrows from both. `json` may be NULL. */
SelectionConfig setup_describe_choice(const Options *o, ConfigJson *json);

/* Creates a log from a configuration: log_new for a start, log_plan for --check-config. */
typedef gboolean (*SetupLogFunc)(const LogConfig *config, void *data, GError **error);

/* Sets up the log of a start. If what the configuration adds fails, *ret_refused says why, and the log is
 * that of the command line alone; other errors are *error. *ret_selection is as from selection_new. */
gboolean setup_choose_log(const Options *o, const SelectionConfig *asked, SetupLogFunc make, void *data,
                          Selection **ret_selection, GError **ret_refused, GError **error);

/* Checks whether the drivers, options and profiles that sections name exist. `c` may be NULL. */
gboolean setup_check_sections(const Config *c, GError **error);

/* What starts although *ret_refused is set, for messages; NULL: nothing. `warn`: on-error=warn in the
 * policy. */
const char *setup_starts_anyway(const Options *o, bool warn);

/* Reads the configuration again, after the log was set up, and applies the differences. A failure changes
 * nothing. */
gboolean setup_reload(Monitor *m, GError **error);

/* Opens the log and sets the options of attach clients. An error is reported by the launcher; a message
 * for the sync pipe is stored in m->refusal. */
gboolean monitor_set_up(Monitor *m, GError **error);
