#pragma once

/* What the tests of the log share: a Log made of a command line, fed with strings, its files read back. */

#include "log/log.h"
#include "tempdir.h"

#include <glib.h>
#include <signal.h>
#include <string.h>

#define TEST_NS INT64_C(1700000000123456789)
#define TEST_CID "0123456789abcdef0123"

/* A configuration with one -l and nothing else. */
static inline LogConfig
log_fixture_config(char **paths)
{
        return (LogConfig){.paths = paths, .cid = TEST_CID, .max_files = 1, .sync_at_end = true};
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

static inline void
log_fixture_write(Log *log, StreamId stream, const char *text)
{
        g_assert_cmpuint(log_write(log, stream, text, strlen(text), false, TEST_NS), ==, strlen(text));
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
        g_setenv("TZ", "Asia/Kolkata", TRUE);
}

/* The prefix that k8s-file gives to a record of TEST_NS in that time zone. */
#define TEST_CRI(stream, tag) "2023-11-15T03:43:20.123456789+05:30 " stream " " tag " "
