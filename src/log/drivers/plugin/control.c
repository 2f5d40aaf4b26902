/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/plugin/control.h"

#include "base/gstring.h"

#include <errno.h>
#include <string.h>

#define ANSWER_MAX      ((size_t)64 * 1024)
#define ANSWER_MAX_USEC (10 * G_USEC_PER_SEC)

/* Closed immediately, because its end would be reported repeatedly. */
static void
finish(PluginControl *c)
{
        LogQueue nothing = {0};
        log_connection_break(&c->connection, &nothing);
        log_sink_ready(c->sink);
}

static void
fail(PluginControl *c, int r, const char *reason)
{
        c->failure = r;
        g_free(c->reason);
        c->reason = g_strdup(reason);
        finish(c);
}

static void
on_timeout(void *data)
{
        fail(data, -ETIMEDOUT, "it does not answer");
}

void
plugin_control_init(PluginControl *c, LogSink *sink)
{
        c->sink = sink;
        c->answer.body_max = ANSWER_MAX;
        timer_init(&c->timeout, on_timeout, c);
}

void
plugin_control_forget(PluginControl *c)
{
        LogQueue nothing = {0};
        timer_stop(&c->timeout);
        if (c->connection.addresses)
                log_connection_break(&c->connection, &nothing);
        gstring_free(c->request);
        c->request = NULL;
        c->answered = false;
        c->failure = 0;
        http_answer_clear(&c->answer);
}

void
plugin_control_close(PluginControl *c)
{
        plugin_control_forget(c);
        log_connection_close(&c->connection);
        g_free(c->reason);
}

static void
take_bytes(PluginControl *c, const char *bytes, ssize_t n)
{
        size_t used;
        int r = n > 0 ? http_answer_push(&c->answer, bytes, (size_t)n, &used) : http_answer_end(&c->answer);
        c->answered = r > 0;
        if (r < 0)
                fail(c, r, c->answer.problem);
        else if (c->answered)
                finish(c);
        else if (n <= 0)
                fail(c, -ECONNRESET, "it has ended the connection without an answer");
}

static void
on_input(LogConnection *connection, void *data)
{
        PluginControl *c = data;
        char bytes[4096];
        ssize_t n = log_connection_read(connection, bytes, sizeof bytes);
        if (n != -EAGAIN)
                take_bytes(c, bytes, n);
}

void
plugin_control_set_address(PluginControl *c, const LogAddress *address)
{
        log_connection_close(&c->connection);
        log_connection_init(&c->connection, c->sink, address, 1);
        c->connection.on_input = on_input;
        c->connection.data = c;
}

void
plugin_control_ask(PluginControl *c, const char *path, const char *body)
{
        plugin_control_forget(c);
        c->request = g_string_new(NULL);
        c->written = 0;
        g_clear_pointer(&c->reason, g_free);
        g_string_printf(c->request,
                        "POST %s HTTP/1.1\r\n"
                        "Host: plugin.moby.localhost\r\n"
                        "Accept: application/vnd.docker.plugins.v1.2+json\r\n"
                        "Content-Type: application/json\r\n"
                        "Content-Length: %zu\r\n"
                        "Connection: close\r\n\r\n%s",
                        path, strlen(body), body);
        timer_start(&c->timeout, ANSWER_MAX_USEC);
}

static int
write_request(PluginControl *c)
{
        while (c->written < c->request->len) {
                struct iovec piece = {c->request->str + c->written, c->request->len - c->written};
                ssize_t n = log_connection_write(&c->connection, &piece, 1);
                if (n == -EAGAIN)
                        return LOG_SEND_WAIT;
                if (n < 0)
                        return (int)n;
                c->written += (size_t)n;
        }
        return LOG_SEND_WAIT;
}

int
plugin_control_run(PluginControl *c)
{
        LogQueue nothing = {0};
        if (c->answered)
                return 0;
        int r = c->failure ? c->failure : log_connection_ready(&c->connection, &nothing);
        if (r == 0)
                r = write_request(c);
        if (r < 0)
                plugin_control_forget(c);
        return r;
}
