/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The addresses of a host, which are tried in order. A numeric host is its own address; a name is resolved
 * (log/net/resolver.h) before each connection. The last result is kept for when the name server does not
 * answer. */

#include "base/state.h"
#include "log/net/resolver.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Zeroed except for resolver.func and resolver.data, it has no addresses. */
typedef struct LogHost {
        LogResolver resolver;
        LogResolved known;
        uint32_t next;        /* index of the next known address to try */
        gint64 resolved_usec; /* when the last look-up started */
} LogHost;

/* Starts to resolve the name, unless that is in progress; the resolver's function gets the result. Returns 0
 * or -errno. */
int log_host_look_up(LogHost *h, const char *host, uint16_t port);

/* Returns true if the host is numeric; its address is known then. */
bool log_host_set_number(LogHost *h, const char *host, uint16_t port);

/* Replaces the known addresses, unless the name server did not answer. Starts with the first one again. */
void log_host_update(LogHost *h, const LogResolved *resolved);

/* Replaces the known addresses while one of them, `current`, is in use. Returns false if that one is no
 * longer among them; otherwise the one after it is next. */
bool log_host_compare(LogHost *h, const LogResolved *resolved, const struct sockaddr_storage *current,
                      socklen_t len);

/* Returns the next address to try, and its length; NULL: all were tried. */
const struct sockaddr *log_host_next(LogHost *h, socklen_t *ret_len);

/* True if log_host_next has one. */
bool log_host_has_next(const LogHost *h);

/* Starts with the first address again. */
void log_host_rewind(LogHost *h);

/* Live upgrade. A pending look-up is not saved. */
void log_host_save(const LogHost *h, StateWriter *w);
void log_host_restore(LogHost *h, StateReader *r);
