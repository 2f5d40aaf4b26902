#pragma once

/* The socket on which the runtime hands over the master side of the container's terminal: one
 * connection, one message with any text and one descriptor (SCM_RIGHTS, unix(7)), as the OCI
 * runtimes' --console-socket has it. */

#include <glib.h>

typedef struct ConsoleSocket ConsoleSocket;

/* `fd` is the terminal, now the callee's, or -1 if the runtime has connected and sent none. Called once. */
typedef void (*ConsoleFunc)(int fd, void *data);

/* Listens on a new socket in $TMPDIR, or in /tmp if that is not set or too long for a socket address. */
ConsoleSocket *console_socket_new(ConsoleFunc func, void *data, GError **error);

/* What to give to the runtime as --console-socket. */
const char *console_socket_path(const ConsoleSocket *c);

void console_socket_start(ConsoleSocket *c);

/* The runtime has ended: takes what it left on the socket, if anything, without
 * waiting. May call the function. */
void console_socket_check(ConsoleSocket *c);

/* Removes the socket. Keep it until the runtime has ended: it may send more than is wanted. NULL is fine. */
void console_socket_free(ConsoleSocket *c);
