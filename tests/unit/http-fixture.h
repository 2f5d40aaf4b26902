/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Helpers for tests of drivers that use HTTP: the server's side of a request. */

#include "net-fixture.h"

#define HTTP_OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static inline void
http_say(int fd, const char *text)
{
        g_assert_cmpint(write(fd, text, strlen(text)), ==, (ssize_t)strlen(text));
}

/* Reads a request. Returns its header; the body is appended to *body, unless that is NULL. */
static inline char *
http_read_request(int fd, GString *body)
{
        GString *head = g_string_new(NULL);
        while (!g_str_has_suffix(head->str, "\r\n\r\n")) {
                GString *byte = net_read(fd, 1);
                g_assert_cmpuint(byte->len, ==, 1);
                g_string_append_c(head, byte->str[0]);
                g_string_free(byte, TRUE);
        }
        const char *length = strstr(head->str, "\r\nContent-Length: ");
        g_assert_nonnull(length);
        GString *text = net_read(fd, g_ascii_strtoull(length + strlen("\r\nContent-Length: "), NULL, 10));
        if (body)
                g_string_append_len(body, text->str, (gssize)text->len);
        g_string_free(text, TRUE);
        return g_string_free(head, FALSE);
}

static inline void
http_wait_for_count(NetFixture *f, const char *name, uint64_t records)
{
        gint64 end = g_get_monotonic_time() + NET_WAIT_USEC;
        for (;;) {
                g_autofree char *status = net_status(f->log, f->dir);
                net_check_sum(status);
                if (net_count(status, name, "records") == records)
                        return;
                g_assert_cmpint(g_get_monotonic_time(), <, end);
                net_run(1);
        }
}

/* Runs the main loop until the status contains this text. */
static inline void
http_expect_in_status(NetFixture *f, const char *text)
{
        gint64 end = g_get_monotonic_time() + NET_WAIT_USEC;
        for (;;) {
                g_autofree char *status = net_status(f->log, f->dir);
                if (strstr(status, text))
                        return;
                if (g_get_monotonic_time() > end)
                        g_error("no '%s' in %s", text, status);
                net_run(1);
        }
}
