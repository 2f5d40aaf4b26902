/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The addresses of a host, which are tried in their order. A number is its own address; a name is looked up
 * (log/net/resolver.h) before each connection. What was found last is kept: it serves when the name server
 * does not answer. */

#include "base/state.h"
#include "log/net/resolver.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* All zero but for resolver.func and resolver.data is one without addresses. */
typedef struct LogHost {
        LogResolver resolver;
        LogResolved known;
        uint32_t next;        /* of the known ones, to be tried */
        gint64 resolved_usec; /* when they were last asked for */
} LogHost;

/* Asks for the addresses, unless that is being done already; the resolver's function gets them. Returns 0 or
 * -errno. */
int log_host_look_up(LogHost *h, const char *host, uint16_t port);

/* Returns true if the host is a number: its address is known now. */
bool log_host_set_number(LogHost *h, const char *host, uint16_t port);

/* Replaces the known addresses, unless there is no answer. The next one is the first. */
void log_host_update(LogHost *h, const LogResolved *resolved);

/* Replaces the known addresses while one of them, `current`, is in use. Returns false if that one is not
 * among them any more; else the next one is that after it. */
bool log_host_compare(LogHost *h, const LogResolved *resolved, const struct sockaddr_storage *current,
                      socklen_t len);

/* The next address to be tried, and its length; NULL: all were tried. */
const struct sockaddr *log_host_next(LogHost *h, socklen_t *ret_len);

/* True if log_host_next has one. */
bool log_host_has_next(const LogHost *h);

/* Starts with the first address again. */
void log_host_rewind(LogHost *h);

/* Live upgrade. The resolver is not carried. */
void log_host_save(const LogHost *h, StateWriter *w);
void log_host_restore(LogHost *h, StateReader *r);
