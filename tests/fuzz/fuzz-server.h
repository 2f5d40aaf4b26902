/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Helpers for targets that are the server of a real log driver, in the same process. */

#include "log/log.h"

#include "base/fd.h"
#include "base/watch.h"

#include "fuzz.h"

#include <sys/socket.h>

static inline void
fuzz_set_option(LogRequests *requests, LogRequest *request, const char *key, const char *value)
{
        log_request_set(request,
                        log_requests_add_setting(requests, key, value, LOG_SOURCE_COMMAND_LINE, NULL));
}

static inline Log *
fuzz_start_log(LogRequests *requests)
{
        LogConfig config = {.requests = requests, .cid = "0123456789abcdef"};
        g_autoptr(GError) error = NULL;
        Log *log = log_new(&config, &error);
        g_assert_no_error(error);
        log_start(log, NULL, NULL);
        return log;
}

/* Lets the driver do what is pending. */
static inline void
fuzz_turn(void)
{
        for (int i = 0; i < 20 && loop_iterate(false); i++)
                continue;
}

static inline void
fuzz_write(Log *log, const char *text)
{
        (void)log_write(log, STREAM_STDOUT, text, strlen(text), false, INT64_C(1700000000123456789));
        log_flush(log);
        fuzz_turn();
}

/* Returns a connection of the driver, or -1. */
static inline int
fuzz_accept(int server)
{
        return accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* Reads what the driver has sent. */
static inline void
fuzz_drain(int fd)
{
        char bytes[4096];
        while (fd >= 0 && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
                continue;
}

/* Ends the log, and the connections that were not accepted. */
static inline void
fuzz_end_log(Log *log, int server)
{
        int fd;
        log_finish_local(log, G_MAXINT64);
        log_free(log);
        fuzz_turn();
        while ((fd = fuzz_accept(server)) >= 0)
                fd_close(&fd);
}
