/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The pipes between the monitor and its caller, which passes their descriptors in the environment. They may
 * be pipes, FIFOs, stream sockets or SEQPACKET sockets, blocking or not, so each message is written with one
 * write(2) or send(2). */

#include <glib.h>

#define PARENT_PIPE_SYNC   "_OCI_SYNCPIPE"
#define PARENT_PIPE_START  "_OCI_STARTPIPE"
#define PARENT_PIPE_ATTACH "_OCI_ATTACHPIPE"

/* Takes ownership of the descriptor that the variable names, and makes it close-on-exec. *ret_fd is -1 if the
 * variable is not set, empty or 0. */
gboolean parent_pipe_open(const char *variable, int *ret_fd, GError **error);

/* The maximum length of a message, which is one line of JSON: podman reads with a buffer of this size, and
 * would truncate a longer SEQPACKET record. */
#define PARENT_PIPE_LINE_MAX 4096

/* Formats `{"KEY": VALUE}` or, unless the text is NULL or empty, `{"KEY": VALUE, "message": "TEXT"}`, with a
 * newline. TEXT is truncated between characters, so that the line is not longer than PARENT_PIPE_LINE_MAX. */
GString *parent_pipe_format(const char *key, int value, const char *text);

/* Sends such a message to *fd, unless that is -1. If the caller has exited, or after any other error, *fd is
 * closed and the monitor continues without it. */
void parent_pipe_send(int *fd, const char *key, int value, const char *text);
