/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The options of a sink: those of its driver, of its queue, and of the intake. */

#include "log/api/driver.h"

/* Whose options the tables of log_sink_options are, for log_options_values. */
enum {
        LOG_OPTIONS_OF_DRIVER,
        LOG_OPTIONS_OF_SINK,
        LOG_OPTIONS_OF_INTAKE,
        N_LOG_OPTIONS_OF,
};

/* The options that a sink of this driver has, none given yet. */
LogOptions *log_sink_options(const LogDriver *driver);

/* Checks the arguments of log_sink_new as far as possible without accessing the machine. */
gboolean log_sink_check(const LogDriver *driver, const LogOptions *options, const char *arg,
                        const LogConfig *log, bool from_log_path, GError **error);
