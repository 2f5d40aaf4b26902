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
        LOG_SCHEME_TLS,
        LOG_SCHEME_TCP_TLS, /* the same as LOG_SCHEME_TLS: what Docker's syslog driver calls it */
        N_LOG_SCHEMES,
} LogScheme;

bool log_scheme_is_local(LogScheme scheme);
bool log_scheme_is_encrypted(LogScheme scheme);

/* True for datagrams, false for a byte stream. */
bool log_scheme_is_datagram(LogScheme scheme);

typedef struct LogAddress {
        LogScheme scheme;
        char *host; /* or the path of a Unix socket */
        uint16_t port;
} LogAddress;

/* Parses the value of an option: "tcp://HOST[:PORT]", "udp://HOST[:PORT]", "tls://HOST[:PORT]", "unix://PATH"
 * or "unixgram://PATH". `allowed` has the bit 1 << scheme of each scheme that is allowed. If default_port is
 * 0, the port must be given. `ret` may be NULL, to check the value only. */
gboolean log_address_parse(const char *driver, const char *option, const char *text, unsigned allowed,
                           uint16_t default_port, LogAddress *ret, GError **error);
void log_address_clear(LogAddress *a);

/* Returns the address as an option gives it, for messages. Free with g_free. */
char *log_address_describe(const LogAddress *a);

/* Live upgrade. */
void log_scheme_save(LogScheme scheme, StateWriter *w);
LogScheme log_scheme_restore(StateReader *r);
void log_address_save(const LogAddress *a, StateWriter *w);
void log_address_restore(LogAddress *a, StateReader *r);
