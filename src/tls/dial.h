/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A TCP connection to a host. */

#include "tls/lookup.h"

/* Tries the next addresses of the host in order. Returns a non-blocking socket, or -1 if none of them
 * accepts a connection in time: then *failure says why. Exits if there are no addresses or the monitor has
 * gone, see lookup_next. */
int dial(Lookup *l, TlsAnswer *failure);

/* Milliseconds of the monotonic clock. */
long long dial_now_ms(void);

/* Waits until the socket is ready for these events of poll(2), or has an error. Returns 0, or -ETIMEDOUT at
 * the deadline (dial_now_ms). Exits if the monitor has gone. */
int dial_wait(int fd, short events, long long deadline);
