#pragma once

/* The attach socket of a container: any number of clients that get all output from the moment they connect,
 * and whose input goes to the container. */

#include "base/stream_id.h"
#include "io/attach_client.h"
#include "io/container_stdin.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct AttachServer AttachServer;

/* attach_server_wants may have changed for some stream. */
typedef void (*AttachWantsFunc)(void *data);

typedef struct AttachServerConfig {
        const char *bundle;      /* directory of the socket, which is named "attach" */
        /* a symlink to the bundle to make, in place of whatever is there; NULL: none */
        const char *link_path;
        AttachClientConfig client;
        bool input_end_closes_stdin; /* the end of one client's input closes the container's stdin for all */
        ContainerStdin *input;   /* outlives the server */
        AttachWantsFunc on_wants;
        void *data;
} AttachServerConfig;

/* Makes the socket, mode 0700, in place of a stale one. Clients may connect at once and are accepted after
 * attach_server_start. */
AttachServer *attach_server_new(const AttachServerConfig *config, GError **error);
void attach_server_start(AttachServer *s);

/* Accepts who is waiting now, so that they get the output that is sent next. */
void attach_server_accept(AttachServer *s);

/* The next client is one that came late: the container has begun to write. */
void attach_server_set_late(AttachServer *s);

/* Sends output to all clients. */
void attach_server_send(AttachServer *s, StreamId stream, const char *bytes, size_t len);

/* False while the queue of some client is full. */
bool attach_server_wants(const AttachServer *s, StreamId stream);

/* container_stdin_wants has changed: clients are read, or not. */
void attach_server_read_clients(AttachServer *s, bool wanted);

/* True if a client has not got everything yet. */
bool attach_server_is_behind(const AttachServer *s);

/* Accepts who is waiting, for the last time, then removes the socket's name. */
void attach_server_stop_listening(AttachServer *s);

/* Each client that has not got everything yet is given to a process of its own, which sends it the
 * rest and ends. Nothing of what the monitor does later waits for it. The caller must not be a
 * child subreaper any more. */
void attach_server_hand_over_slow_clients(AttachServer *s);

/* Disconnects everybody, removes the socket (unless it is not listening any more) and frees. NULL is fine. */
void attach_server_free(AttachServer *s);
