/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Helpers for tests of the log: create a Log from a command line, write strings to it, read its files. */

#include "log/log.h"
#include "tempdir.h"

#include <glib.h>
#include <signal.h>
#include <string.h>

#define TEST_NS INT64_C(1700000000123456789)
#define TEST_CID "0123456789abcdef0123"

/* A configuration with only one -l. */
static inline LogConfig
log_fixture_config(char **paths)
{
        return (LogConfig){.paths = paths, .cid = TEST_CID, .max_files = 1, .sync_at_end = true};
}

/* Adds these drivers and then these options, as a command line does; both lists end with NULL or are NULL. */
static inline void
log_fixture_ask(LogConfig *config, char **drivers, char **options)
{
        static GPtrArray *all; /* keeps the requests alive */
        g_autoptr(GError) error = NULL;
        LogRequests *r = log_requests_new();
        if (!all)
                all = g_ptr_array_new();
        g_ptr_array_add(all, r);
        for (; drivers && *drivers; drivers++)
                (void)log_requests_add(r, *drivers, LOG_SOURCE_COMMAND_LINE, NULL);
        for (; options && *options; options++) {
                (void)log_requests_add_option(r, *options, &error);
                g_assert_no_error(error);
        }
        LogRequests *whole = log_requests_new();
        g_ptr_array_add(all, whole);
        log_requests_add_command_line(whole, r);
        config->requests = whole;
}

/* Opens the config.json in `dir`; NULL: none. */
static inline void
log_fixture_bundle(LogConfig *config, const char *dir)
{
        config_json_free(config->config_json);
        config->config_json = dir ? config_json_new(dir) : NULL;
}

static inline Log *
log_fixture_start(const LogConfig *config)
{
        g_autoptr(GError) error = NULL;
        Log *log = log_new(config, &error);
        g_assert_no_error(error);
        g_assert_nonnull(log);
        log_start(log, NULL, NULL);
        return log;
}

static inline Log *
log_fixture_start_with(LogConfig *config, char **drivers, char **options)
{
        log_fixture_ask(config, drivers, options);
        return log_fixture_start(config);
}

/* The message about a command line that is refused; freed by the caller. */
static inline char *
log_fixture_refusal(LogConfig *config, char **drivers, char **options)
{
        g_autoptr(GError) error = NULL;
        log_fixture_ask(config, drivers, options);
        g_assert_null(log_new(config, &error));
        g_assert_nonnull(error);
        return g_strdup(error->message);
}

static inline void
log_fixture_write(Log *log, StreamId stream, const char *text)
{
        g_assert_cmpuint(log_write(log, stream, text, strlen(text), false, TEST_NS), ==, strlen(text));
        log_flush(log);
}

static inline char *
log_fixture_read(const char *path)
{
        char *text = NULL;
        GError *error = NULL;
        g_file_get_contents(path, &text, NULL, &error);
        g_assert_no_error(error);
        return text;
}

static inline void
log_fixture_set_up(void)
{
        (void)signal(SIGPIPE, SIG_IGN);
        g_setenv("TZ", "IST-5:30", TRUE);
}

/* The prefix of k8s-file for a record with time TEST_NS in that time zone. */
#define TEST_CRI(stream, tag) "2023-11-15T03:43:20.123456789+05:30 " stream " " tag " "
