#pragma once

/* One client on the attach socket. It gets each packet of output whole, in order, as one SEQPACKET
 * record of a stream byte and at most 8192 bytes; what it can't take yet waits in a queue of
 * buffers that the clients share. */

#include "base/stream_id.h"

#include <glib.h>

#include <stdbool.h>
#include <stddef.h>

typedef struct AttachClient AttachClient;

/* A part of the output that at least one client could not take at once. */
typedef struct AttachChunk AttachChunk;
AttachChunk *attach_chunk_new(StreamId stream, const char *bytes, size_t len);
void attach_chunk_unref(AttachChunk *chunk);

typedef struct AttachClientConfig {
        size_t queue_max;     /* bytes that may wait for a client, of each stream */
        /* a client that came late and takes nothing for so long with a full queue is sent away; 0: never */
        gint64 stall_usec;
} AttachClientConfig;

typedef struct AttachClientEvents {
        void (*on_input)(AttachClient *c, void *data);     /* a packet, or the end of input, can be read */
        /* it has left, and no packet of it is waiting to be read */
        void (*on_input_end)(AttachClient *c, void *data);
        /* attach_client_wants changed for some stream, or nothing waits any more */
        void (*on_wants)(AttachClient *c, void *data);
        /* free it, but not before this function has returned */
        void (*on_gone)(AttachClient *c, void *data);
        void *data;
} AttachClientEvents;

/* Takes over the connection. `first`: it came before the container's first output and is not sent away,
 * however long it takes. Config and events must outlive the client. */
AttachClient *attach_client_new(int fd, bool first, const AttachClientConfig *config,
                                const AttachClientEvents *events);

/* Sends as much of the output as the client takes; the rest is queued as a reference to *chunk, which is made
 * if it is NULL, for the next client to share. */
void attach_client_send(AttachClient *c, StreamId stream, const char *bytes, size_t len, AttachChunk **chunk);

/* False while the queue for this stream is full. */
bool attach_client_wants(const AttachClient *c, StreamId stream);

/* True if something is queued. */
bool attach_client_is_behind(const AttachClient *c);

/* Whether on_input is wanted. A client is noticed to go away even without: on_input_end
 * tells if it left no input. */
void attach_client_read(AttachClient *c, bool wanted);

/* True if the client has sent its last packet and that was read. An empty packet looks like the end to
 * recv(2), but the end has no bytes behind it. */
bool attach_client_is_at_end(const AttachClient *c);

/* The client has sent its last packet (shutdown(2) of its write side): on_input will not be called again. A
 * client that has gone away is kept until then, because what it sent before may not have been read yet. */
void attach_client_input_ended(AttachClient *c);

/* Sends the client away: on_gone follows. */
void attach_client_disconnect(AttachClient *c);

int attach_client_fd(const AttachClient *c);

/* For the time after the container's end, in a process of its own: sends the rest of the queue, however long
 * the client takes. Returns when all is sent or the client has gone. */
void attach_client_send_rest(AttachClient *c);

void attach_client_free(AttachClient *c);
