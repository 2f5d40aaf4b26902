/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The addresses of the server. A child process resolves a name: getaddrinfo(3) has no time limit, and this
 * process can read its files meanwhile. */

#include "tls/request.h"

#include <stddef.h>
#include <sys/socket.h>

#define LOOKUP_MAX 8

typedef struct Lookup {
        const TlsRequest *request;
        int fd; /* of the pipe from the child; -1: none is running */
        long long began_ms;
        unsigned n, next; /* addresses; of them, those that were tried */
        struct sockaddr_storage addresses[LOOKUP_MAX];
} Lookup;

/* Starts to resolve the host of the request. To be called before the seccomp filter forbids new processes. */
void lookup_start(Lookup *l, const TlsRequest *request);

/* The next address to try; NULL: all were tried. Waits for the name server. If it does not answer, the
 * addresses of the request come first, and what it says later is next. Exits with an answer if there are no
 * addresses in time, and without one if the monitor has gone. */
const struct sockaddr_storage *lookup_next(Lookup *l);

/* True if there is another one, or the name server has not answered yet. */
bool lookup_has_next(const Lookup *l);

/* The addresses in the form of a request. */
void lookup_describe(const Lookup *l, char *ret, size_t size);

/* One of them, without the port. */
void lookup_describe_address(const struct sockaddr_storage *a, char *ret, size_t size);

/* The length of one. */
socklen_t lookup_address_len(const struct sockaddr_storage *a);
