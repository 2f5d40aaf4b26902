/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Resolves a host name in a child process, one for each look-up: getaddrinfo(3) blocks, and loads libraries
 * that an idle monitor must not keep in memory. */

#include "base/worker.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define LOG_RESOLVER_MAX 8

/* The result: n addresses, or none and an error: -ENOENT if there is no such host, -EAGAIN if the name server
 * did not answer, or another -errno. */
typedef struct LogResolved {
        int error;
        uint32_t n;
        struct sockaddr_storage addresses[LOG_RESOLVER_MAX];
} LogResolved;

typedef void (*LogResolverFunc)(const LogResolved *resolved, void *data);

/* Zeroed except for func and data, it is idle. */
typedef struct LogResolver {
        LogResolverFunc func;
        void *data;
        Worker worker;
} LogResolver;

/* Starts to resolve a name. The addresses get this port. The function is called once, unless the resolver is
 * stopped before. Returns 0 or -errno. */
int log_resolver_start(LogResolver *r, const char *host, uint16_t port);

/* True from log_resolver_start to the call of the function. */
bool log_resolver_is_busy(const LogResolver *r);

/* Kills the process if it still runs. Does nothing when idle. */
void log_resolver_stop(LogResolver *r);

/* Fills in the address if the host is numeric (IPv4, or IPv6 without brackets). Returns false if it is a
 * name. */
bool log_resolver_numeric(const char *host, uint16_t port, struct sockaddr_storage *ret);
