/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Host names to addresses, in a process of its own that lives for one question: getaddrinfo(3) waits, and
 * loads libraries that an idle monitor must not carry. */

#include "base/worker.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define LOG_RESOLVER_MAX 8

/* What was found: n addresses, or none and an error: -ENOENT there is no such host, -EAGAIN the name server
 * did not answer, or another -errno. */
typedef struct LogResolved {
        int error;
        uint32_t n;
        struct sockaddr_storage addresses[LOG_RESOLVER_MAX];
} LogResolved;

typedef void (*LogResolverFunc)(const LogResolved *resolved, void *data);

/* All zero but for func and data is one that is at rest. */
typedef struct LogResolver {
        LogResolverFunc func;
        void *data;
        Worker worker;
} LogResolver;

/* Asks for the addresses of a host, which get this port. The function is called once, unless the resolver is
 * stopped before. Returns 0 or -errno. */
int log_resolver_start(LogResolver *r, const char *host, uint16_t port);

/* True from log_resolver_start to the call of the function. */
bool log_resolver_is_busy(const LogResolver *r);

/* Ends the process if it still runs. Harmless at rest. */
void log_resolver_stop(LogResolver *r);

/* Fills in one address if the host is a number (IPv4, or IPv6 with or without brackets).
 * Returns false if it is a name. */
bool log_resolver_numeric(const char *host, uint16_t port, struct sockaddr_storage *ret);
