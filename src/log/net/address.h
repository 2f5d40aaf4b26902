/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Addresses of servers as options give them: "tcp://logs.example.com:514", "unix:///run/log.sock". */

#include "base/state.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
        LOG_SCHEME_UNIX,
        LOG_SCHEME_UNIXGRAM,
        LOG_SCHEME_UDP,
        LOG_SCHEME_TCP,
        LOG_SCHEME_TLS,     /* "tls", */
        LOG_SCHEME_TCP_TLS, /* and "tcp+tls", Docker's name for syslog: the same */
        N_LOG_SCHEMES,
} LogScheme;

bool log_scheme_is_local(LogScheme scheme);
bool log_scheme_is_encrypted(LogScheme scheme);

/* True for a connection of messages, false for one of bytes. */
bool log_scheme_is_datagram(LogScheme scheme);

typedef struct LogAddress {
        LogScheme scheme;
        char *host; /* or the path of a Unix socket */
        uint16_t port;
} LogAddress;

/* Reads "tcp://HOST[:PORT]", "udp://HOST[:PORT]", "tls://HOST[:PORT]", "unix://PATH", "unixgram://PATH" as
 * the value of an option. `allowed` has a bit for each scheme that is possible; a default_port of 0 means
 * that the port must be given. `ret` may be NULL, if the value is only to be checked. */
gboolean log_address_parse(const char *driver, const char *option, const char *text, unsigned allowed,
                           uint16_t default_port, LogAddress *ret, GError **error);
void log_address_clear(LogAddress *a);

/* The address as it is written in an option, for messages. To be freed. */
char *log_address_describe(const LogAddress *a);

/* Live upgrade. */
void log_scheme_save(LogScheme scheme, StateWriter *w);
LogScheme log_scheme_restore(StateReader *r);
void log_address_save(const LogAddress *a, StateWriter *w);
void log_address_restore(LogAddress *a, StateReader *r);
