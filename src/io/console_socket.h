/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The socket on which the runtime hands over the master side of the container's terminal (--console-socket of
 * OCI runtimes): one connection, one message with any text and one descriptor (SCM_RIGHTS, unix(7)). */

#include <glib.h>

typedef struct ConsoleSocket ConsoleSocket;

/* `fd` is the terminal, owned by the callee, or -1 if the runtime connected and sent none. Called once. */
typedef void (*ConsoleFunc)(int fd, void *data);

/* Listens on a new socket in $TMPDIR, or in /tmp if that is not set, not usable, or too long for a socket
 * address. The fallback is the bundle (may be NULL). */
ConsoleSocket *console_socket_new(const char *bundle, ConsoleFunc func, void *data, GError **error);

/* The argument for the runtime's --console-socket. It may lead through /proc/PID of this process. */
const char *console_socket_path(const ConsoleSocket *c);

void console_socket_start(ConsoleSocket *c);

/* Call it when the runtime has ended: receives what it left on the socket, if anything, without waiting. May
 * call the function. */
void console_socket_check(ConsoleSocket *c);

/* Removes the socket. Keep it until the runtime has ended, which may send more than is used. Accepts NULL. */
void console_socket_free(ConsoleSocket *c);
