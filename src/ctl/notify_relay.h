#pragma once

/* Passes the service notifications of a container (sd_notify(3)) on to whoever waits for them outside.
 *
 * The container sees <bundle>/notify/notify.sock and never the host's socket. Only assignments that tell the
 * service's state go through; those that speak of processes or descriptors (MAINPID=, FDSTORE=1, BARRIER=1)
 * would mean something else out there. Nothing that either side does, or fails to do, stops or blocks the
 * monitor: while the host's queue is full, the container's messages wait in the container's. */

#include <glib.h>
#include <stddef.h>

typedef struct NotifyRelay NotifyRelay;

/* Binds the socket (mode 0777, replacing what is there; the directory <bundle>/notify must exist) and starts
 * to relay. `host_address` is a path of any length or "@abstract"; it need not exist yet. Returns NULL and
 * sets *error if the socket cannot be made. */
NotifyRelay *notify_relay_new(const char *bundle, const char *host_address, GError **error);

/* Forwards what the container has sent so far, as far as that goes without waiting, closes and frees. The
 * socket's name stays. NULL is fine. */
void notify_relay_free(NotifyRelay *r);

/* Keeps the allowed lines of a message, in place, joined by single newlines. Lines end at LF or CR, the
 * message at its first NUL. Returns the length that is left, 0 if nothing is to be sent. */
size_t notify_filter(char *text, size_t len);
