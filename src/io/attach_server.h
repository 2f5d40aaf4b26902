/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The attach socket of a container. Its clients get all output from the moment they connect, and their input
 * goes to the container. */

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
        const char *bundle; /* directory of the socket, which is named "attach" */
        /* where to create a symlink to the bundle, replacing any file; NULL: none */
        const char *link_path;
        AttachClientConfig client;
        bool input_end_closes_stdin; /* the end of one client's input closes the container's stdin for all */
        bool half_close_types_eof;   /* a client that ends its input and stays ends a terminal's input */
        ContainerStdin *input;       /* outlives the server */
        AttachWantsFunc on_wants;
        void *data;
} AttachServerConfig;

/* Creates the socket, mode 0700, and replaces a stale one. Clients can connect at once. */
AttachServer *attach_server_new(const AttachServerConfig *config, GError **error);

/* Accepts the clients that have connected, so that they get the output that is sent next. */
void attach_server_accept(AttachServer *s);

/* The container has begun to write: clients that connect from now on are late ones. */
void attach_server_set_late(AttachServer *s);

/* Other limits, also for clients that are connected. attach_server_wants may change. */
void attach_server_set_limits(AttachServer *s, const AttachClientConfig *client);

/* Sends output to all clients. */
void attach_server_send(AttachServer *s, StreamId stream, const char *bytes, size_t len);

/* False while the queue of any client is full for this stream. */
bool attach_server_wants(const AttachServer *s, StreamId stream);

/* Reads input from clients, or stops reading it; call it when container_stdin_wants has changed. */
void attach_server_read_clients(AttachServer *s, bool wanted);

/* True if output is queued for a client. */
bool attach_server_is_behind(const AttachServer *s);

/* The path of the socket, freed with g_free. From now on the caller has to remove it. */
char *attach_server_steal_path(AttachServer *s);

/* Accepts the clients that have connected, then removes the socket's name and stops listening. */
void attach_server_stop_listening(AttachServer *s);

/* Starts a process for each client that has output queued; it sends the rest and ends. The monitor waits for
 * none of them, and must not be a child subreaper any more. */
void attach_server_hand_over_slow_clients(AttachServer *s);

/* Live upgrade. The group "attach" is entered before restoring. Of the config, nothing is needed that
 * attach_server_new alone uses, bundle and link_path. */
void attach_server_save(AttachServer *s, StateWriter *w);
AttachServer *attach_server_restore(StateReader *r, const AttachServerConfig *config);

/* Disconnects all clients, stops listening, and frees. Accepts NULL. */
void attach_server_free(AttachServer *s);
