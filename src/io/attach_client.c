#include "io/attach_client.h"

#include "base/diag.h"
#include "base/fd.h"
#include "base/watch.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* What callers' buffers hold: a stream byte and this. */
#define PACKET_MAX 8192

/* Packets in one sendmmsg(2). */
#define BATCH_MAX 16

struct AttachChunk {
        int refs;
        StreamId stream;
        size_t len;
        char bytes[];
};

/* A chunk of the queue, and where the part begins that this client has not got. */
typedef struct {
        AttachChunk *chunk;
        size_t sent;
} Queued;

struct AttachClient {
        int fd;
        bool first;
        bool reading;     /* its input is wanted now */
        bool input_ended; /* it has sent its last packet, and that was read */
        bool deaf;        /* it takes no output any more; what it sent may still have to be read */
        bool hung_up;     /* nothing happens on the connection any more */
        bool gone;
        Watch watch;
        GQueue queue; /* of Queued */
        size_t queued[N_STREAMS];
        Timer stall_timer;
        const AttachClientConfig *config;
        const AttachClientEvents *events;
};

static const char stream_bytes[N_STREAMS] = {[STREAM_STDOUT] = 2, [STREAM_STDERR] = 3};

AttachChunk *
attach_chunk_new(StreamId stream, const char *bytes, size_t len)
{
        AttachChunk *chunk = g_malloc(sizeof *chunk + len);
        chunk->refs = 1;
        chunk->stream = stream;
        chunk->len = len;
        memcpy(chunk->bytes, bytes, len);
        return chunk;
}

void
attach_chunk_unref(AttachChunk *chunk)
{
        if (chunk && --chunk->refs == 0)
                g_free(chunk);
}

static void
update_watch(AttachClient *c)
{
        GIOCondition events = 0; /* poll(2) reports a hangup always */
        bool read = c->reading && !c->input_ended;
        if (c->gone || (c->hung_up && !read)) {
                watch_disarm(&c->watch);
                return;
        }
        if (read)
                events |= G_IO_IN;
        if (!g_queue_is_empty(&c->queue))
                events |= G_IO_OUT;
        watch_arm(&c->watch, events);
}

void
attach_client_disconnect(AttachClient *c)
{
        if (c->gone)
                return;
        c->gone = true;
        timer_stop(&c->stall_timer);
        update_watch(c);
        c->events->on_gone(c, c->events->data);
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
set_deaf(AttachClient *c)
{
        bool was_full = is_full(c);
        c->deaf = true;
        g_queue_clear_full(&c->queue, free_queued);
        memset(c->queued, 0, sizeof c->queued);
        timer_stop(&c->stall_timer);
        if (c->input_ended)
                attach_client_disconnect(c);
        else
                update_watch(c);
        if (was_full)
                c->events->on_wants(c, c->events->data);
}

/* One sendmmsg(2) of as many packets as it holds. Returns the number of bytes of output
 * that went out, or -errno. */
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

/* Sends until the client takes no more. Returns how many bytes of output went out, or
 * -errno if the client is lost. */
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

/* To be called when the client has taken something, or its queue has become full. */
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

static void
on_stalled(void *data)
{
        AttachClient *c = data;
        diag_warn("An attach client has taken nothing for %.1f s with %zu bytes waiting for it; it is "
                  "disconnected",
                  (double)c->config->stall_usec / G_USEC_PER_SEC,
                  c->queued[STREAM_STDOUT] + c->queued[STREAM_STDERR]);
        attach_client_disconnect(c);
}

/* Returns false if the client is lost. */
static bool
send_queue(AttachClient *c)
{
        Queued *head;
        while ((head = g_queue_peek_head(&c->queue))) {
                AttachChunk *chunk = head->chunk;
                ssize_t n = send_now(c, chunk->stream, chunk->bytes + head->sent, chunk->len - head->sent);
                if (n < 0)
                        return false;
                head->sent += (size_t)n;
                c->queued[chunk->stream] -= (size_t)n;
                if (head->sent < chunk->len)
                        return true;
                attach_chunk_unref(chunk);
                g_free(g_queue_pop_head(&c->queue));
        }
        return true;
}

static void
flush_queue(AttachClient *c)
{
        size_t before = c->queued[STREAM_STDOUT] + c->queued[STREAM_STDERR];
        bool was_full = is_full(c);
        if (!send_queue(c)) {
                set_deaf(c);
                return;
        }
        update_watch(c);
        if (c->queued[STREAM_STDOUT] + c->queued[STREAM_STDERR] < before)
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

/* A container that reads no input may do so for ever: who left none for it does not wait for that. */
static void
on_hangup(AttachClient *c)
{
        c->hung_up = true;
        if (c->deaf)
                update_watch(c);
        else
                set_deaf(c);
        if (!c->gone && !c->reading && !c->input_ended && attach_client_is_at_end(c))
                c->events->on_input_end(c, c->events->data);
}

static void
on_event(GIOCondition revents, void *data)
{
        AttachClient *c = data;
        const GIOCondition hangup = G_IO_HUP | G_IO_ERR | G_IO_NVAL;
        if ((revents & hangup) && !c->hung_up)
                on_hangup(c);
        else if (revents & G_IO_OUT)
                flush_queue(c);
        /* After a hangup there may still be input; its end shows only when it is read. */
        if ((revents & (G_IO_IN | hangup)) && c->reading && !c->input_ended && !c->gone)
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
enqueue(AttachClient *c, StreamId stream, const char *bytes, size_t len, size_t sent, AttachChunk **chunk)
{
        bool was_full = is_full(c);
        if (!*chunk)
                *chunk = attach_chunk_new(stream, bytes, len);
        (*chunk)->refs++;
        Queued *item = g_new(Queued, 1);
        *item = (Queued){.chunk = *chunk, .sent = sent};
        g_queue_push_tail(&c->queue, item);
        c->queued[stream] += len - sent;
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
        if (c->gone || c->deaf)
                return;
        if (g_queue_is_empty(&c->queue))
                sent = send_now(c, stream, bytes, len);
        if (sent < 0)
                set_deaf(c);
        else if ((size_t)sent < len)
                enqueue(c, stream, bytes, len, (size_t)sent, chunk);
}

bool
attach_client_wants(const AttachClient *c, StreamId stream)
{
        return c->gone || c->queued[stream] < c->config->queue_max;
}

bool
attach_client_is_behind(const AttachClient *c)
{
        return !g_queue_is_empty((GQueue *)&c->queue);
}

void
attach_client_read(AttachClient *c, bool wanted)
{
        if (c->reading == wanted)
                return;
        c->reading = wanted;
        update_watch(c);
}

void
attach_client_input_ended(AttachClient *c)
{
        c->input_ended = true;
        if (c->deaf)
                attach_client_disconnect(c);
        else
                update_watch(c);
}

int
attach_client_fd(const AttachClient *c)
{
        return c->fd;
}

/* If a socket is closed with input unread, its other end gets ECONNRESET instead of the output that it has
 * not read yet (unix(7) does not tell; Linux does so for all types). */
static void
discard_input(int fd)
{
        char byte;
        ssize_t n;
        (void)shutdown(fd, SHUT_RD); /* nothing can come after what is discarded here */
        do
                n = recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC);
        while (n > 0 || (n < 0 && errno == EINTR));
}

void
attach_client_send_rest(AttachClient *c)
{
        struct pollfd p = {.fd = c->fd, .events = POLLOUT};
        discard_input(c->fd);
        while (attach_client_is_behind(c) && send_queue(c))
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
