/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The log sinks of a command line. */

#include "log/api/driver.h"

typedef struct LogSpec {
        const LogDriver *driver;
        char *arg;          /* after "NAME:"; NULL if there was none */
        bool from_log_path; /* from -l */
        char *origin;       /* of the request; NULL for the command line */
        const LogRequest *request; /* NULL for -l; borrowed */
} LogSpec;

/* Reads all of -l, then the requests; drivers without a sink are in the list too. Of several files in -l
 * the last one is used. Returns LogSpec *, freed with the array, or NULL. */
GPtrArray *log_specs_parse(const LogConfig *config, GError **error);

/* The options of the sink of this spec. Of the settings of its request, KEY=VALUE applies to those that
 * know the key; but one after a --log-driver that knows the key applies to that one alone.
 * DRIVER.KEY=VALUE applies to all of this driver, on the command line also to those of -l. */
LogOptions *log_spec_options(const LogSpec *spec, const LogConfig *config, GError **error);

/* These settings, borrowed; of several for one option the last one takes precedence. `options` are any of the
 * sink. */
GPtrArray *log_spec_settings(const LogSpec *spec, const LogOptions *options, const LogConfig *config);

/* Prefixes an error message with the origin of the driver. Always returns FALSE. */
gboolean log_spec_fail(const LogSpec *spec, GError **error);

/* Fails for a setting that no sink accepts. */
gboolean log_specs_check_options(const GPtrArray *specs, const LogConfig *config, GError **error);
