/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Helpers for tests of network drivers: a log, server sockets in the same process, and functions that run the
 * main loop until a condition holds. */

#include "log-fixture.h"
#include "loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A log with one driver, and its server. */
typedef struct {
        char *dir;
        char *path; /* for a socket in it */
        char *paths[2];
        char *drivers[2];
        char *options[8];
        LogConfig config;
        Log *log;
        int fd; /* the server's */
        uint16_t port;
} NetFixture;

static inline void
net_set_up(NetFixture *f, const char *driver)
{
        f->dir = tempdir_new();
        f->path = g_build_filename(f->dir, "socket", NULL);
        f->drivers[0] = (char *)driver;
        f->paths[0] = (char *)"none";
        f->config = log_fixture_config(f->paths);
        f->config.bundle = f->dir;
        f->fd = -1;
}

static inline void
net_tear_down(NetFixture *f, gconstpointer data)
{
        log_free(f->log);
        for (size_t i = 0; f->options[i]; i++)
                g_free(f->options[i]);
        if (f->fd >= 0)
                (void)close(f->fd);
        g_free(f->path);
        tempdir_remove(f->dir);
}

/* Adds a value of --log-opt. */
G_GNUC_PRINTF(2, 3)
static inline void
net_add_option(NetFixture *f, const char *format, ...)
{
        va_list args;
        size_t n = 0;
        while (f->options[n])
                n++;
        g_assert_cmpuint(n, <, G_N_ELEMENTS(f->options) - 1);
        va_start(args, format);
        f->options[n] = g_strdup_vprintf(format, args);
        va_end(args);
}

/* A socket that listens or receives on a free port of 127.0.0.1. */
static inline int
net_listen(int type, uint16_t *port)
{
        struct sockaddr_in a = {
                .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port)};
        socklen_t len = sizeof a;
        int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        g_assert_cmpint(bind(fd, (struct sockaddr *)&a, sizeof a), ==, 0);
        if (type == SOCK_STREAM)
                g_assert_cmpint(listen(fd, 8), ==, 0);
        g_assert_cmpint(getsockname(fd, (struct sockaddr *)&a, &len), ==, 0);
        *port = ntohs(a.sin_port);
        return fd;
}

static inline int
net_listen_unix(int type, const char *path)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_strlcpy(a.sun_path, path, sizeof a.sun_path);
        (void)unlink(path);
        g_assert_cmpint(bind(fd, (struct sockaddr *)&a, sizeof a), ==, 0);
        if (type == SOCK_STREAM)
                g_assert_cmpint(listen(fd, 8), ==, 0);
        return fd;
}

/* The time limit of all waits, sufficient for a busy machine. */
#define NET_WAIT_USEC (20 * G_USEC_PER_SEC)

/* Runs the main loop until the descriptor is readable. */
static inline void
net_wait_readable(int fd)
{
        gint64 end = g_get_monotonic_time() + NET_WAIT_USEC;
        for (;;) {
                GPollFD p = {.fd = fd, .events = G_IO_IN};
                if (g_poll(&p, 1, 0) > 0)
                        break;
                g_assert_cmpint(g_get_monotonic_time(), <, end);
                loop_wait_briefly();
        }
}

/* Lets the main loop run for a while. */
static inline void
net_run(int ms)
{
        gint64 end = g_get_monotonic_time() + ms * 1000;
        while (g_get_monotonic_time() < end)
                loop_wait_briefly();
}

static inline int
net_accept(int listener)
{
        net_wait_readable(listener);
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        g_assert_cmpint(fd, >=, 0);
        return fd;
}

/* Reads `len` bytes; fewer only if the peer closes the connection. */
static inline GString *
net_read(int fd, size_t len)
{
        GString *text = g_string_new(NULL);
        while (text->len < len) {
                char part[65536];
                net_wait_readable(fd);
                ssize_t n = read(fd, part, MIN(sizeof part, len - text->len));
                if (n <= 0)
                        break;
                g_string_append_len(text, part, n);
        }
        return text;
}

static inline void
net_expect(int fd, const char *expected)
{
        GString *text = net_read(fd, strlen(expected));
        g_assert_cmpstr(text->str, ==, expected);
        g_string_free(text, TRUE);
}

/* Checks that nothing more arrives for a while. */
static inline void
net_expect_nothing(int fd)
{
        GPollFD p = {.fd = fd, .events = G_IO_IN};
        net_run(300);
        g_assert_cmpint(g_poll(&p, 1, 0), ==, 0);
}

/* Reads one datagram. */
static inline void
net_expect_datagram(int fd, const char *expected)
{
        char text[65536];
        net_wait_readable(fd);
        ssize_t n = recv(fd, text, sizeof text - 1, 0);
        g_assert_cmpint((int)n, >=, 0);
        text[n] = '\0';
        g_assert_cmpstr(text, ==, expected);
}

/* The status of the first sink as in the status file. */
static inline char *
net_status(Log *log, const char *dir)
{
        g_autofree char *path = NULL, *json = NULL;
        g_assert_true(log_describe(log, false, "", &path, &json));
        g_assert_true(g_str_has_prefix(path, dir));
        return g_strdup(json);
}

/* A number of the first sink: records or bytes of `name`. */
static inline uint64_t
net_count(const char *status, const char *name, const char *what)
{
        g_autofree char *key = g_strdup_printf("\"%s\":{", name);
        const char *at = strstr(status, key);
        g_assert_nonnull(at);
        g_autofree char *member = g_strdup_printf("\"%s\":", what);
        at = strstr(at, member);
        g_assert_nonnull(at);
        return g_ascii_strtoull(at + strlen(member), NULL, 10);
}

/* Runs the main loop until this many bytes are delivered. */
static inline void
net_wait_delivered(Log *log, const char *dir, uint64_t bytes)
{
        gint64 end = g_get_monotonic_time() + NET_WAIT_USEC;
        for (;;) {
                g_autofree char *status = net_status(log, dir);
                if (net_count(status, "out", "bytes") == bytes)
                        return;
                g_assert_cmpint(g_get_monotonic_time(), <, end);
                net_run(1);
        }
}

/* Checks that in = out + dropped + queued, in bytes and in records. */
static inline void
net_check_sum(const char *status)
{
        static const char *const parts[] = {"out",        "queued",     "queue-full",
                                            "size-limit", "rate-limit", "filtered",
                                            "encoding",   "at-end",     "not-connected", "refused"};
        static const char *const units[] = {"records", "bytes"};
        for (size_t u = 0; u < G_N_ELEMENTS(units); u++) {
                uint64_t sum = 0;
                for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
                        sum += net_count(status, parts[i], units[u]);
                g_assert_cmpuint(sum, ==, net_count(status, "in", units[u]));
        }
}
