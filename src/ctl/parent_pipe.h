#pragma once

/* The pipes between the monitor and the program that started it. The caller names their descriptors in the
 * environment. They may be pipes, FIFOs, stream sockets or SEQPACKET sockets, so only read(2) and write(2)
 * are used, and each message is one write(2). */

#include <glib.h>

#define PARENT_PIPE_SYNC   "_OCI_SYNCPIPE"
#define PARENT_PIPE_START  "_OCI_STARTPIPE"
#define PARENT_PIPE_ATTACH "_OCI_ATTACHPIPE"

/* Takes over the descriptor that the variable names and makes it close-on-exec. *ret_fd is -1 if the
 * variable is not set or empty. */
gboolean parent_pipe_open(const char *variable, int *ret_fd, GError **error);

/* A message is one line of JSON, at most this long: podman reads with a buffer of this size, and of a longer
 * SEQPACKET record it would get only a part. */
#define PARENT_PIPE_LINE_MAX 4096

/* Makes `{"KEY": VALUE}` or, if text is not NULL or empty, `{"KEY": VALUE, "message": "TEXT"}`, with a
 * newline. TEXT is cut between characters to keep the line within PARENT_PIPE_LINE_MAX. */
GString *parent_pipe_format(const char *key, int value, const char *text);

/* Sends such a message on *fd, if that is not -1. A caller that has gone away, or any other error, closes
 * *fd: the monitor goes on without it. */
void parent_pipe_send(int *fd, const char *key, int value, const char *text);
