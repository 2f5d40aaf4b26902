/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What log_new would make of a configuration: the same code decides, but nothing is opened. */

#include "log/sink/options.h"

/* A sink that would be made. */
typedef struct LogPlanned {
        const LogDriver *driver;
        char *arg; /* after "NAME:"; NULL if there is none */
        LogOptions *options;
        bool from_log_path;
        char *origin;        /* the line of a configuration file, or an annotation; NULL: the command line */
        GPtrArray *settings; /* of LogSetting, borrowed from the configuration: those that decide an option */
} LogPlanned;

/* The sinks in their order; NULL if log_new would fail, as far as that can be said without opening anything:
 * a file, a secret or a program may still be missing. Warnings of log_new are shown. Freed with
 * g_ptr_array_unref, before the configuration. */
GPtrArray *log_plan(const LogConfig *config, GError **error);

/* Directories in which this process can't create files, and files of options that it can't read: one message
 * each, with its origin. A path with a '{' in its directory is a template and is not checked. Freed with
 * g_ptr_array_unref. */
GPtrArray *log_plan_find_missing(const GPtrArray *plan);

/* Adds a sink. For log_sinks_plan. */
void log_plan_add(GPtrArray *plan, const LogSinkSetup *setup, const char *origin, const GPtrArray *settings);
