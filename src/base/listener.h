/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A listening socket, and the retries when accepting a connection fails. */

#include "base/watch.h"

/* Gets a connection, close-on-exec and non-blocking, which it owns; or -errno if accepting one failed, for
 * example for lack of descriptors: the next try is half a second later. */
typedef void (*ListenerFunc)(int fd, void *data);

typedef struct Listener {
        int fd; /* -1: it does not listen */
        Watch watch;
        Timer retry; /* after a failure, instead of `watch` */
        ListenerFunc func;
        void *data;
} Listener;

/* Takes ownership of the socket, which is non-blocking. Each round of the loop accepts one connection. */
void listener_init(Listener *l, int fd, int priority, ListenerFunc func, void *data);

/* Accepts all that have connected. Does nothing if it does not listen. */
void listener_accept(Listener *l);

/* Stops and closes the socket. */
void listener_done(Listener *l);
