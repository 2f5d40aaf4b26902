/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* URLs of log servers: "http://HOST[:PORT][/PATH][?QUERY]", or the same with https; the part of RFC 3986 that
 * they need. */

#include "log/net/address.h"

typedef struct LogUrl {
        LogAddress address;
        char *authority; /* HOST[:PORT] as given, for the Host field */
        char *path;      /* with the query; "" if there was none */
} LogUrl;

/* Parses the value of an option. `ret` may be NULL, to check the value only. */
gboolean log_url_parse(const char *driver, const char *option, const char *text, LogUrl *ret, GError **error);

/* Sets the path if the URL has none, or "/". */
void log_url_default_path(LogUrl *u, const char *path);

void log_url_clear(LogUrl *u);
