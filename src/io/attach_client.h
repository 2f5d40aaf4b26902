/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* One client on the attach socket. Output is sent in order, as SEQPACKET records of a stream byte and at most
 * 8192 bytes. What its socket can't hold yet is queued: large pieces in buffers that the clients share, small
 * ones packed into buffers of its own. */

#include "base/state.h"
#include "base/stream_id.h"

#include <glib.h>

#include <stdbool.h>
#include <stddef.h>

typedef struct AttachClient AttachClient;

/* A piece of output that is queued for at least one client. */
typedef struct AttachChunk AttachChunk;
void attach_chunk_unref(AttachChunk *chunk);

typedef struct AttachClientConfig {
        size_t queue_max; /* bytes of memory that a client's queue may take for each stream */
        /* a client that came late is disconnected if it reads nothing for this long while its queue is full;
         * 0: never */
        gint64 stall_usec;
} AttachClientConfig;

typedef struct AttachClientEvents {
        /* a packet, or the end of input, can be read */
        void (*on_input)(AttachClient *c, void *data);
        /* it has left, and no input of it is pending */
        void (*on_input_end)(AttachClient *c, void *data);
        /* attach_client_wants may have changed for some stream, or the queue is empty now */
        void (*on_wants)(AttachClient *c, void *data);
        /* free it, but not before this function has returned */
        void (*on_gone)(AttachClient *c, void *data);
        void *data;
} AttachClientEvents;

/* Takes ownership of the connection. `first`: it came before the container's first output and is never
 * disconnected for reading slowly. Config and events must outlive the client. */
AttachClient *attach_client_new(int fd, bool first, const AttachClientConfig *config,
                                const AttachClientEvents *events);

/* Sends as much as the socket takes and queues the rest. A large rest is queued as a reference to *chunk,
 * which is created if it is NULL, so that the next client can share it. */
void attach_client_send(AttachClient *c, StreamId stream, const char *bytes, size_t len, AttachChunk **chunk);

/* False while the queue for this stream is full. */
bool attach_client_wants(const AttachClient *c, StreamId stream);

/* The limits of the config have changed. attach_client_wants may change. */
void attach_client_limits_changed(AttachClient *c);

/* True if output is queued. */
bool attach_client_is_behind(const AttachClient *c);

/* Turns on_input on or off. A client that leaves is noticed in both cases; if it leaves no input while
 * on_input is off, on_input_end is called. */
void attach_client_read(AttachClient *c, bool wanted);

/* True if the client has sent its last packet and that was read. recv(2) returns 0 for an empty packet as
 * well as for the end. */
bool attach_client_is_at_end(const AttachClient *c);

/* Call it when the client's last packet was read: on_input is not called any more. A client that has left is
 * kept until then, because its input may still be pending. */
void attach_client_input_ended(AttachClient *c);

/* Undoes that: the end is read again. `wanted` as for attach_client_read. */
void attach_client_read_again(AttachClient *c, bool wanted);

/* Disconnects the client; on_gone is called. */
void attach_client_disconnect(AttachClient *c);

int attach_client_fd(const AttachClient *c);

/* Sends the rest of the queue, however long that takes. For a process of its own, in which the client's
 * descriptor is `fd`, after the end of the container. Returns when all is sent or the client has left. */
void attach_client_send_rest(AttachClient *c, int fd);

/* Live upgrade; parameters as of attach_client_new. */
void attach_client_save(const AttachClient *c, StateWriter *w);
AttachClient *attach_client_restore(StateReader *r, const AttachClientConfig *config,
                                    const AttachClientEvents *events);

void attach_client_free(AttachClient *c);
