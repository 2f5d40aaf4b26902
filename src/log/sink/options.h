/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What a sink is made of, and its options: those of its driver, of its queue, and of the intake. */

#include "log/api/driver.h"

/* Borrowed. */
typedef struct LogSinkSetup {
        const LogDriver *driver;
        LogOptions *options;
        const char *arg;    /* of the driver, see LogDriverConfig */
        bool from_log_path; /* the same */
} LogSinkSetup;

/* Whose options the tables of log_sink_options are, for log_options_values. */
enum {
        LOG_OPTIONS_OF_DRIVER,
        LOG_OPTIONS_OF_SINK,
        LOG_OPTIONS_OF_INTAKE,
        N_LOG_OPTIONS_OF,
};

/* The options that a sink of this driver has, none given yet. */
LogOptions *log_sink_options(const LogDriver *driver);

/* Checks the setup as far as possible without accessing the machine. */
gboolean log_sink_check(const LogSinkSetup *setup, const LogConfig *log, GError **error);
