/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The addresses of the server. A name is looked up by another process: getaddrinfo(3) has no time limit, and
 * this process can read its files meanwhile. */

#include "tls/request.h"

#include <stddef.h>
#include <sys/socket.h>

#define LOOKUP_MAX 8

typedef struct Lookup {
        const TlsRequest *request;
        int fd; /* the answer comes from here; -1: there is nothing to wait for */
        long long began_ms;
        unsigned n;
        struct sockaddr_storage addresses[LOOKUP_MAX];
} Lookup;

/* Starts to look up the host of the request, before the filter forbids new processes. */
void lookup_start(Lookup *l, const TlsRequest *request);

/* Waits for addresses; there is at least one after it. Those of the request are used if the name server gives
 * no answer. If it has not given one yet, it may be asked again: `fd` is not -1. Ends the program, with an
 * answer, if there are no addresses in time, or the monitor has gone. */
void lookup_wait(Lookup *l);

/* The addresses as a request has them. */
void lookup_describe(const Lookup *l, char *ret, size_t size);

/* One of them, without the port. */
void lookup_describe_address(const struct sockaddr_storage *a, char *ret, size_t size);

/* The length of one. */
socklen_t lookup_address_len(const struct sockaddr_storage *a);
