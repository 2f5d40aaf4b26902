/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/attach_client.h"

#include "base/diag.h"
#include "base/fd.h"
#include "base/watch.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Payload of a packet: callers' buffers hold a stream byte and this much. */
#define PACKET_MAX 8192

/* Packets in one sendmmsg(2). */
#define BATCH_MAX 16

/* Up to this many bytes are copied into a chunk of the client's own instead of sharing one. */
#define COPY_MAX 2048

/* What a block of malloc(3) takes besides its bytes: a header, and what it is rounded up to. */
#define MALLOC_OVERHEAD 16

struct AttachChunk {
        int refs;
        StreamId stream;
        size_t len;
        size_t size; /* of bytes */
        char bytes[];
};

/* A chunk in the queue of one client, and how much of it has been sent. */
typedef struct {
        AttachChunk *chunk;
        size_t sent;
} Queued;

/* PAUSED <--> READING --> ENDED; from PAUSED, too, and back if the end is to be read again. */
typedef enum {
        INPUT_PAUSED, /* not wanted now */
        INPUT_READING,
        INPUT_ENDED, /* its last packet was read, or it was disconnected */
} InputState;

/* OPEN --> CLOSED --> HUNG_UP */
typedef enum {
        OUTPUT_OPEN,
        OUTPUT_CLOSED,  /* sending failed, or it was disconnected; input may be pending */
        OUTPUT_HUNG_UP, /* the peer has closed the connection; input may be pending */
} OutputState;

/* A client is gone when its input has ended and its output is not open. */
struct AttachClient {
        int fd;
        bool first;
        InputState input;
        OutputState output;
        Watch watch;
        GQueue queue;             /* of Queued; empty unless OUTPUT_OPEN */
        size_t memory[N_STREAMS]; /* bytes of the queue; see memory_of */
        Timer stall_timer;        /* may run in OUTPUT_OPEN with a full queue */
        const AttachClientConfig *config;
        const AttachClientEvents *events;
};

static const char stream_bytes[N_STREAMS] = {[STREAM_STDOUT] = 2, [STREAM_STDERR] = 3};

/* Returns an empty chunk. */
static AttachChunk *
chunk_new(StreamId stream, size_t size)
{
        AttachChunk *chunk = g_malloc(sizeof *chunk + size);
        chunk->refs = 1;
        chunk->stream = stream;
        chunk->len = 0;
        chunk->size = size;
        return chunk;
}

static void
chunk_append(AttachChunk *chunk, const char *bytes, size_t len)
{
        memcpy(chunk->bytes + chunk->len, bytes, len);
        chunk->len += len;
}

/* What a chunk costs in the queue of one client: three allocations. */
static size_t
memory_of(const AttachChunk *chunk)
{
        return sizeof(GList) + sizeof(Queued) + sizeof *chunk + chunk->size + 3 * MALLOC_OVERHEAD;
}

void
attach_chunk_unref(AttachChunk *chunk)
{
        if (chunk && --chunk->refs == 0)
                g_free(chunk);
}

static bool
is_gone(const AttachClient *c)
{
        return c->input == INPUT_ENDED && c->output != OUTPUT_OPEN;
}

/* poll(2) always reports a hangup: a watch without events still notices that the client leaves. */
static void
update_watch(AttachClient *c)
{
        GIOCondition events = 0;
        if (c->input == INPUT_READING)
                events |= G_IO_IN;
        if (!g_queue_is_empty(&c->queue))
                events |= G_IO_OUT;
        if (is_gone(c) || (c->output == OUTPUT_HUNG_UP && events == 0))
                watch_disarm(&c->watch);
        else
                watch_arm(&c->watch, events);
}

static void
free_queued(void *data)
{
        Queued *item = data;
        attach_chunk_unref(item->chunk);
        g_free(item);
}

static bool
is_full(const AttachClient *c)
{
        return !attach_client_wants(c, STREAM_STDOUT) || !attach_client_wants(c, STREAM_STDERR);
}

static void
drop_queue(AttachClient *c)
{
        g_queue_clear_full(&c->queue, free_queued);
        memset(c->memory, 0, sizeof c->memory);
        timer_stop(&c->stall_timer);
}

/* All changes of state are made here, so that queue, watch and timer always agree with the states. */
static void
set_states(AttachClient *c, InputState input, OutputState output)
{
        bool was_full = is_full(c);
        if (is_gone(c))
                return;
        c->input = input;
        c->output = output;
        if (output != OUTPUT_OPEN)
                drop_queue(c);
        update_watch(c);
        if (is_gone(c))
                c->events->on_gone(c, c->events->data);
        else if (was_full && !is_full(c))
                c->events->on_wants(c, c->events->data);
}

static void
close_output(AttachClient *c)
{
        set_states(c, c->input, MAX(c->output, OUTPUT_CLOSED));
}

void
attach_client_disconnect(AttachClient *c)
{
        set_states(c, INPUT_ENDED, MAX(c->output, OUTPUT_CLOSED));
}

/* Sends up to BATCH_MAX packets with one sendmmsg(2). Returns the number of payload bytes sent, or -errno. */
static ssize_t
send_batch(AttachClient *c, StreamId stream, const char *bytes, size_t len)
{
        struct mmsghdr messages[BATCH_MAX];
        struct iovec parts[BATCH_MAX][2];
        unsigned int n = 0;
        for (size_t at = 0; at < len && n < BATCH_MAX; at += PACKET_MAX, n++) {
                parts[n][0] = (struct iovec){(void *)&stream_bytes[stream], 1};
                parts[n][1] = (struct iovec){(void *)(bytes + at), MIN(len - at, PACKET_MAX)};
                messages[n] = (struct mmsghdr){.msg_hdr = {.msg_iov = parts[n], .msg_iovlen = 2}};
        }
        int sent = sendmmsg(c->fd, messages, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0)
                return -errno;
        return (ssize_t)MIN(len, (size_t)sent * PACKET_MAX);
}

/* Sends until the socket is full. Returns the number of payload bytes sent, or -errno if the connection is
 * broken. */
static ssize_t
send_now(AttachClient *c, StreamId stream, const char *bytes, size_t len)
{
        size_t done = 0;
        while (done < len) {
                ssize_t n = send_batch(c, stream, bytes + done, len - done);
                if (n == -EINTR)
                        continue;
                if (n == -EAGAIN || n == -ENOBUFS || n == -ENOMEM)
                        break;
                if (n < 0)
                        return n;
                done += (size_t)n;
        }
        return (ssize_t)done;
}

/* Call it after something was sent, and when the queue has become full. */
static void
restart_stall_timer(AttachClient *c)
{
        if (c->first || c->config->stall_usec == 0)
                return;
        if (is_full(c))
                timer_start(&c->stall_timer, c->config->stall_usec);
        else
                timer_stop(&c->stall_timer);
}

void
attach_client_limits_changed(AttachClient *c)
{
        timer_stop(&c->stall_timer);
        restart_stall_timer(c);
}

static void
on_stalled(void *data)
{
        AttachClient *c = data;
        diag_warn("Disconnecting an attach client that has read nothing for %.1f s while its queue was full",
                  (double)c->config->stall_usec / G_USEC_PER_SEC);
        attach_client_disconnect(c);
}

/* Returns the number of payload bytes sent, or -errno if the connection is broken. */
static ssize_t
send_queue(AttachClient *c)
{
        ssize_t sum = 0;
        Queued *head;
        while ((head = g_queue_peek_head(&c->queue))) {
                AttachChunk *chunk = head->chunk;
                ssize_t n = send_now(c, chunk->stream, chunk->bytes + head->sent, chunk->len - head->sent);
                if (n < 0)
                        return n;
                sum += n;
                head->sent += (size_t)n;
                if (head->sent < chunk->len)
                        break;
                c->memory[chunk->stream] -= memory_of(chunk);
                free_queued(g_queue_pop_head(&c->queue));
        }
        return sum;
}

static void
flush_queue(AttachClient *c)
{
        bool was_full = is_full(c);
        ssize_t n = send_queue(c);
        if (n < 0) {
                close_output(c);
                return;
        }
        update_watch(c);
        if (n > 0)
                restart_stall_timer(c);
        if (was_full || g_queue_is_empty(&c->queue))
                c->events->on_wants(c, c->events->data);
}

bool
attach_client_is_at_end(const AttachClient *c)
{
        int left = 0;
        struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
        return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP)) &&
               ioctl(c->fd, FIONREAD, &left) == 0 && left == 0;
}

/* The container may never read its input: a client that leaves none is not kept until it does. */
static void
on_hangup(AttachClient *c)
{
        set_states(c, c->input, OUTPUT_HUNG_UP);
        if (c->input == INPUT_PAUSED && attach_client_is_at_end(c))
                c->events->on_input_end(c, c->events->data);
}

static void
on_event(GIOCondition revents, void *data)
{
        AttachClient *c = data;
        const GIOCondition hangup = G_IO_HUP | G_IO_ERR | G_IO_NVAL;
        if ((revents & hangup) && c->output != OUTPUT_HUNG_UP)
                on_hangup(c);
        else if (revents & G_IO_OUT)
                flush_queue(c);
        /* Input may be pending after a hangup; only reading finds its end. */
        if ((revents & (G_IO_IN | hangup)) && c->input == INPUT_READING)
                c->events->on_input(c, c->events->data);
}

AttachClient *
attach_client_new(int fd, bool first, const AttachClientConfig *config, const AttachClientEvents *events)
{
        AttachClient *c = g_new0(AttachClient, 1);
        c->fd = fd;
        c->first = first;
        c->config = config;
        c->events = events;
        g_queue_init(&c->queue);
        watch_init(&c->watch, fd, WATCH_PRIORITY_IO, on_event, c);
        timer_init(&c->stall_timer, on_stalled, c);
        update_watch(c);
        return c;
}

static void
push(AttachClient *c, AttachChunk *chunk, size_t sent)
{
        Queued *item = g_new(Queued, 1);
        *item = (Queued){.chunk = chunk, .sent = sent};
        g_queue_push_tail(&c->queue, item);
        c->memory[chunk->stream] += memory_of(chunk);
}

/* Makes space for `len` more bytes in the last chunk. Returns false if that chunk is shared, of the other
 * stream, or would become larger than a packet. */
static bool
grow_last_chunk(AttachClient *c, StreamId stream, size_t len)
{
        Queued *last = g_queue_peek_tail(&c->queue);
        AttachChunk *chunk = last ? last->chunk : NULL;
        if (!chunk || chunk->refs > 1 || chunk->stream != stream || chunk->len + len > PACKET_MAX)
                return false;
        if (chunk->len + len > chunk->size) {
                size_t size = MIN(2 * (chunk->len + len), PACKET_MAX);
                c->memory[stream] += size - chunk->size;
                chunk = g_realloc(chunk, sizeof *chunk + size);
                chunk->size = size;
                last->chunk = chunk;
        }
        return true;
}

static void
push_copy(AttachClient *c, StreamId stream, const char *bytes, size_t len)
{
        if (!grow_last_chunk(c, stream, len))
                push(c, chunk_new(stream, len), 0);
        Queued *last = g_queue_peek_tail(&c->queue);
        chunk_append(last->chunk, bytes, len);
}

static void
push_shared(AttachClient *c, StreamId stream, const char *bytes, size_t len, size_t sent, AttachChunk **chunk)
{
        if (!*chunk) {
                *chunk = chunk_new(stream, len);
                chunk_append(*chunk, bytes, len);
        }
        (*chunk)->refs++;
        push(c, *chunk, sent);
}

static void
enqueue(AttachClient *c, StreamId stream, const char *bytes, size_t len, size_t sent, AttachChunk **chunk)
{
        bool was_full = is_full(c);
        if (len - sent <= COPY_MAX)
                push_copy(c, stream, bytes + sent, len - sent);
        else
                push_shared(c, stream, bytes, len, sent, chunk);
        update_watch(c);
        if (!was_full && is_full(c)) {
                restart_stall_timer(c);
                c->events->on_wants(c, c->events->data);
        }
}

void
attach_client_send(AttachClient *c, StreamId stream, const char *bytes, size_t len, AttachChunk **chunk)
{
        ssize_t sent = 0;
        if (c->output != OUTPUT_OPEN)
                return;
        if (g_queue_is_empty(&c->queue))
                sent = send_now(c, stream, bytes, len);
        if (sent < 0)
                close_output(c);
        else if ((size_t)sent < len)
                enqueue(c, stream, bytes, len, (size_t)sent, chunk);
}

bool
attach_client_wants(const AttachClient *c, StreamId stream)
{
        return c->memory[stream] < c->config->queue_max;
}

bool
attach_client_is_behind(const AttachClient *c)
{
        return !g_queue_is_empty((GQueue *)&c->queue);
}

void
attach_client_read_again(AttachClient *c, bool wanted)
{
        set_states(c, wanted ? INPUT_READING : INPUT_PAUSED, c->output);
}

void
attach_client_read(AttachClient *c, bool wanted)
{
        if (c->input != INPUT_ENDED)
                attach_client_read_again(c, wanted);
}

void
attach_client_input_ended(AttachClient *c)
{
        set_states(c, INPUT_ENDED, c->output);
}

int
attach_client_fd(const AttachClient *c)
{
        return c->fd;
}

/* Closing a socket with unread input makes its peer get ECONNRESET instead of the output that it has not read
 * yet (Linux does that for all socket types; unix(7) does not mention it). */
static void
discard_input(int fd)
{
        char byte;
        ssize_t n;
        (void)shutdown(fd, SHUT_RD); /* no more input can arrive */
        do
                n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC);
        while (n > 0 || (n < 0 && errno == EINTR));
}

void
attach_client_send_rest(AttachClient *c, int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        c->fd = fd;
        discard_input(c->fd);
        while (attach_client_is_behind(c) && send_queue(c) >= 0)
                if (attach_client_is_behind(c) && poll(&p, 1, -1) > 0 && (p.revents & (POLLHUP | POLLERR)))
                        return;
}

void
attach_client_free(AttachClient *c)
{
        watch_done(&c->watch);
        timer_stop(&c->stall_timer);
        discard_input(c->fd);
        fd_close(&c->fd);
        g_queue_clear_full(&c->queue, free_queued);
        g_free(c);
}

/* What clients share is written once for each, and is shared no more. */
static void
save_queue(const AttachClient *c, StateWriter *w)
{
        for (const GList *at = c->queue.head; at; at = at->next) {
                const Queued *item = at->data;
                state_begin(w, "chunk");
                state_put_uint(w, "stream", item->chunk->stream);
                state_put_bytes(w, "bytes", item->chunk->bytes + item->sent, item->chunk->len - item->sent);
                state_end(w);
        }
}

static void
restore_queue(AttachClient *c, StateReader *r)
{
        while (state_enter_next(r, "chunk")) {
                size_t len = 0;
                StreamId stream = (StreamId)state_get_uint(r, "stream", N_STREAMS - 1);
                const char *bytes = state_get_bytes(r, "bytes", &len);
                state_leave(r);
                push(c, chunk_new(stream, len), 0);
                chunk_append(((Queued *)g_queue_peek_tail(&c->queue))->chunk, bytes, len);
        }
}

void
attach_client_save(const AttachClient *c, StateWriter *w)
{
        state_begin(w, "client");
        state_put_fd(w, "descriptor", c->fd);
        state_put_uint(w, "first", c->first);
        state_put_uint(w, "input", c->input);
        state_put_uint(w, "output", c->output);
        timer_save(&c->stall_timer, w, "stalled");
        save_queue(c, w);
        state_end(w);
}

AttachClient *
attach_client_restore(StateReader *r, const AttachClientConfig *config, const AttachClientEvents *events)
{
        int fd = state_get_fd(r, "descriptor");
        bool first = state_get_bool(r, "first");
        AttachClient *c = attach_client_new(fd, first, config, events);
        c->input = (InputState)state_get_uint(r, "input", INPUT_ENDED);
        c->output = (OutputState)state_get_uint(r, "output", OUTPUT_HUNG_UP);
        timer_restore(&c->stall_timer, r, "stalled");
        restore_queue(c, r);
        update_watch(c);
        return c;
}
