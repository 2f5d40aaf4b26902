/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Requests to a plugin: POST with JSON, each over its own connection (HTTP/1.1, RFC 9112). Nothing blocks:
 * plugin_control_run is called again after log_sink_ready. */

#include "log/net/connection.h"
#include "log/net/http_answer.h"

typedef struct PluginControl {
        LogSink *sink;
        LogConnection connection; /* without addresses until there was one */
        GString *request;         /* NULL: there is none */
        size_t written;
        HttpAnswer answer;
        bool answered;
        int failure;  /* -errno found meanwhile */
        char *reason; /* why the last request failed, for people; NULL: errno has it */
        Timer timeout;
} PluginControl;

/* *c is all zero. */
void plugin_control_init(PluginControl *c, LogSink *sink);
void plugin_control_close(PluginControl *c);

/* Sets the address for requests, and takes ownership of it. There must be no request. */
void plugin_control_set_address(PluginControl *c, const LogAddress *address);

/* Starts a request, for example "/LogDriver.StartLogging". `body` is JSON. */
void plugin_control_ask(PluginControl *c, const char *path, const char *body);

/* Returns 0 when the answer is in *c, LOG_SEND_WAIT until then, or -errno. Then the request is over. */
int plugin_control_run(PluginControl *c);

/* The answer is no longer needed. */
void plugin_control_forget(PluginControl *c);
