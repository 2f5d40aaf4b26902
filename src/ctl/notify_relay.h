/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Forwards the service notifications of a container (sd_notify(3)) to the host's service manager.
 *
 * The container sees <bundle>/notify/notify.sock, never the host's socket. Only assignments about the state
 * of the service are forwarded: processes and descriptors (MAINPID=, FDSTORE=1, BARRIER=1) have another
 * meaning on the host. Neither side can stop or block the monitor: while the host's queue is full, messages
 * wait in the queue of the container's socket. */

#include "base/state.h"

#include <glib.h>
#include <stddef.h>

typedef struct NotifyRelay NotifyRelay;

/* Binds the socket (mode 0777, replacing an existing file; the directory <bundle>/notify must exist) and
 * starts forwarding. `host_address` is a path of any length or "@abstract", and need not exist yet. Returns
 * NULL and sets *error if the socket can't be created. */
NotifyRelay *notify_relay_new(const char *bundle, const char *host_address, GError **error);

/* Live upgrade. The caller enters the group "notify" before restoring. */
void notify_relay_save(const NotifyRelay *r, StateWriter *w);
NotifyRelay *notify_relay_restore(StateReader *state);

/* Forwards pending messages as far as possible without blocking, then closes and frees. The socket stays in
 * its directory. NULL is allowed. */
void notify_relay_free(NotifyRelay *r);

/* Filters a message in place: keeps the allowed lines, separated by single newlines. Lines end at LF or CR,
 * the message at its first NUL. Returns the remaining length; 0: there is nothing to send. */
size_t notify_filter(char *text, size_t len);
