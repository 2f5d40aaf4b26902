/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/output_stream.h"

#include "base/diag.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A read(2) of a terminal returns at most this much; a chunk takes several. */
#define TERMINAL_READ_MAX 4096

/* After a shorter read of a terminal there is probably nothing left: the answer to a request, for example. */
#define TERMINAL_READ_SHORT 512

/* After so many reads in a row of at most so many bytes, within a line, more of the same is expected. */
#define TRICKLE_READS 16
#define TRICKLE_LEN   16

/* What one stream may deliver before other event sources run: so many bytes, or whole chunks for so long. A
 * log may take its time for a chunk, on a slow disk or with a new file for every few lines. */
#define BYTES_PER_TURN (16 * OUTPUT_CHUNK_MAX)
#define TURN_USEC      (20 * 1000)

/* Limit of a drain for a terminal, for which the kernel does not report how much can be read. */
#define TERMINAL_DRAIN_MAX (1 << 20)

/* Delay after a failed read. A drain does not wait, and gives up after DRAIN_TRIES failures. */
#define RETRY_USEC  (G_USEC_PER_SEC / 5)
#define DRAIN_TRIES 3

static void on_readable(GIOCondition revents, void *data);
static void on_hangup_event(GIOCondition revents, void *data);
static void on_waited(void *data);

void
output_stream_init(OutputStream *s, StreamId id, OutputFunc func, void *data)
{
        *s = (OutputStream){.id = id, .fd = -1, .hangup_epoll = -1, .func = func, .data = data};
        timer_init(&s->wait_timer, on_waited, s);
        quiet_buffer_init(&s->buffer, OUTPUT_KEEP_MAX + OUTPUT_CHUNK_MAX);
}

static void
leave_state(OutputStream *s)
{
        switch (s->state) {
        case OUTPUT_READING:
                watch_disarm(&s->watch);
                break;
        case OUTPUT_WAITING:
                timer_stop(&s->wait_timer);
                break;
        case OUTPUT_HUNG_UP:
                watch_done(&s->hangup_watch);
                fd_close(&s->hangup_epoll);
                break;
        case OUTPUT_ABSENT:
        case OUTPUT_PAUSED:
        case OUTPUT_ENDED:
                break;
        }
}

/* Each state has its own event source: leaving a state ends its source, entering one starts it. */
static void
set_state(OutputStream *s, OutputState state)
{
        if (s->state == state)
                return;
        leave_state(s);
        s->state = state;
        if (state == OUTPUT_READING) {
                watch_arm(&s->watch, G_IO_IN);
        } else if (state == OUTPUT_HUNG_UP) {
                watch_init(&s->hangup_watch, s->hangup_epoll, WATCH_PRIORITY_IO, on_hangup_event, s);
                watch_arm(&s->hangup_watch, G_IO_IN);
        } else if (state == OUTPUT_ENDED) {
                watch_done(&s->watch);
                fd_close(&s->fd);
        }
}

static void
wait(OutputStream *s, gint64 usec)
{
        set_state(s, OUTPUT_WAITING);
        timer_start(&s->wait_timer, usec);
}

void
output_stream_start(OutputStream *s, int fd, bool is_terminal)
{
        s->fd = fd;
        s->is_terminal = is_terminal;
        int r = fd_set_nonblock(fd, true);
        if (r < 0)
                diag_warn("Failed to make the container's %s non-blocking: %s", stream_name(s->id),
                          strerror(-r));
        watch_init(&s->watch, fd, WATCH_PRIORITY_IO, on_readable, s);
        set_state(s, s->paused ? OUTPUT_PAUSED : OUTPUT_READING);
}

/* Moves what is left to the beginning. */
static void
forget_taken(QuietBuffer *b)
{
        size_t left = b->fill - b->at;
        if (left > 0)
                memmove(b->pages.data, b->pages.data + b->at, left);
        b->fill = left;
        b->at = 0;
}

/* False if the main loop ran meanwhile: it has seen to everything else. */
static bool
deliver(OutputStream *s, bool more)
{
        QuietBuffer *b = &s->buffer;
        size_t n, keep = more ? OUTPUT_KEEP_MAX : 0;
        unsigned n_taken = s->n_taken;
        do {
                n = s->func(s->id, b->pages.data + b->at, b->fill - b->at, more, s->data);
                if (s->n_taken != n_taken)
                        return false;
                b->at += n;
        } while (n > 0 && b->fill - b->at > keep);
        forget_taken(b);
        return true;
}

/* Reads at most a chunk into the buffer. Returns the number of bytes, 0 at the end, or -errno. */
static ssize_t
fill_buffer(OutputStream *s)
{
        ssize_t n, sum = 0;
        char *begin = quiet_buffer_use(&s->buffer);
        do {
                n = fd_read(s->fd, begin + s->buffer.fill, OUTPUT_CHUNK_MAX - (size_t)sum);
                if (n <= 0)
                        return sum > 0 ? sum : n;
                sum += n;
                s->buffer.fill += (size_t)n;
        } while (s->is_terminal && n >= TERMINAL_READ_SHORT &&
                 sum <= OUTPUT_CHUNK_MAX - TERMINAL_READ_MAX);
        return sum;
}

static bool
is_readable(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

/* After a read of `n` bytes: whether the rest of an unfinished line can be read. If not, all is delivered
 * together: what a container has written at once reaches clients in one packet, and its records have one
 * time. */
static bool
goes_on(const OutputStream *s, size_t n)
{
        const QuietBuffer *b = &s->buffer;
        return n >= OUTPUT_CHUNK_MAX / 2 || b->pages.data[b->fill - 1] == '\n' || is_readable(s->fd);
}

static bool
is_hangup(const OutputStream *s, ssize_t result)
{
        return s->is_terminal && result == -EIO;
}

/* Errors with causes outside the descriptor are temporary. Closing it would kill the container (SIGPIPE). */
static bool
may_pass(ssize_t result)
{
        return result == -ENOMEM || result == -ENOBUFS || result == -EIO;
}

static void
on_failure(OutputStream *s, ssize_t result)
{
        bool again = may_pass(result);
        if (!s->failure_reported || !again)
                diag_warn("Failed to read the container's %s: %s%s", stream_name(s->id),
                          strerror((int)-result), again ? "; trying again" : "");
        s->failure_reported = true;
        if (again)
                wait(s, RETRY_USEC);
        else
                set_state(s, OUTPUT_ENDED);
}

/* While no process has the slave side open, poll(2) reports a hangup all the time. An edge-triggered epoll
 * reports only the next change, so that waiting for the terminal to be opened again costs nothing. */
static int
make_hangup_epoll(int fd)
{
        struct epoll_event want = {.events = EPOLLIN | EPOLLET};
        autofd int epoll = epoll_create1(EPOLL_CLOEXEC);
        if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &want) < 0)
                return -errno;
        return fd_steal(&epoll);
}

static void
on_hangup(OutputStream *s)
{
        if (s->state == OUTPUT_HUNG_UP)
                return;
        int epoll = make_hangup_epoll(s->fd);
        if (epoll >= 0) {
                s->hangup_epoll = epoll;
                set_state(s, OUTPUT_HUNG_UP);
                return;
        }
        if (!s->failure_reported)
                diag_warn("Failed to watch for the terminal to be opened again: %s; trying to read it every "
                          "%d ms",
                          strerror(-epoll), RETRY_USEC / 1000);
        s->failure_reported = true;
        wait(s, RETRY_USEC);
}

/* read(2) has returned no data; `result` is what it returned, or -errno. */
static void
on_nothing(OutputStream *s, ssize_t result)
{
        if (s->buffer.fill && !deliver(s, false))
                return;
        if (result == 0)
                set_state(s, OUTPUT_ENDED);
        else if (s->paused || result == -EAGAIN)
                return; /* a paused stream reads again when it is resumed */
        else if (is_hangup(s, result))
                on_hangup(s);
        else
                on_failure(s, result);
}

/* A partial line may be kept only while more can be read: otherwise no event would come to deliver it. */
static void
settle(OutputStream *s)
{
        if (s->buffer.fill && !is_readable(s->fd))
                (void)deliver(s, false);
}

void
output_stream_take(OutputStream *s, size_t len)
{
        s->buffer.at += len;
        if (s->buffer.at < s->buffer.fill)
                (void)deliver(s, true);
        forget_taken(&s->buffer);
        settle(s);
        s->n_taken++;
}

/* Notices a container that writes its lines byte by byte. */
static void
note_size(OutputStream *s, size_t n)
{
        const QuietBuffer *b = &s->buffer;
        if (n > TRICKLE_LEN || b->pages.data[b->fill - 1] == '\n')
                s->n_tiny = 0;
        else if (s->n_tiny < TRICKLE_READS)
                s->n_tiny++;
        if (n > TRICKLE_LEN)
                watch_expect_trickle(&s->watch, false);
        else if (s->n_tiny == TRICKLE_READS)
                watch_expect_trickle(&s->watch, true);
}

static void
pump(OutputStream *s)
{
        size_t done = 0;
        gint64 end = g_get_monotonic_time() + TURN_USEC;
        while (!s->paused && done < BYTES_PER_TURN) {
                ssize_t n = fill_buffer(s);
                if (n <= 0) {
                        on_nothing(s, n);
                        return;
                }
                done += (size_t)n;
                note_size(s, (size_t)n);
                if (!deliver(s, goes_on(s, (size_t)n)))
                        return;
                if (n < OUTPUT_CHUNK_MAX / 2 || g_get_monotonic_time() >= end)
                        break; /* the kernel held no more, or it is the turn of others */
        }
        if (!s->paused)
                settle(s);
}

static void
on_readable(GIOCondition revents, void *data)
{
        pump(data);
}

/* Timers run before new clients are accepted. Clients that are waiting must not miss what can be read now. */
static void
on_waited(void *data)
{
        OutputStream *s = data;
        set_state(s, OUTPUT_READING);
        settle(s);
}

static void
on_hangup_event(GIOCondition revents, void *data)
{
        OutputStream *s = data;
        struct epoll_event event;
        (void)epoll_wait(s->hangup_epoll, &event, 1, 0);
        ssize_t n = fill_buffer(s);
        if (n <= 0) {
                on_nothing(s, n);
                return;
        }
        set_state(s, OUTPUT_READING);
        if (deliver(s, goes_on(s, (size_t)n)))
                pump(s);
}

void
output_stream_pause(OutputStream *s, bool paused)
{
        if (s->paused == paused)
                return;
        s->paused = paused;
        if (s->state == OUTPUT_ABSENT || s->state == OUTPUT_ENDED)
                return;
        if (paused)
                set_state(s, OUTPUT_PAUSED);
        else if (s->buffer.fill)
                wait(s, 0); /* the caller may be OutputFunc: deliver kept bytes in the next iteration */
        else
                set_state(s, OUTPUT_READING);
}

static size_t
drain_limit(const OutputStream *s)
{
        int held = 0;
        if (s->is_terminal || ioctl(s->fd, FIONREAD, &held) < 0)
                return TERMINAL_DRAIN_MAX;
        return (size_t)held;
}

void
output_stream_drain(OutputStream *s)
{
        if (s->fd < 0)
                return;
        size_t left = drain_limit(s);
        for (int failures = 0; left > 0 && failures < DRAIN_TRIES;) {
                ssize_t n = fill_buffer(s);
                if (n == 0 || n == -EAGAIN || is_hangup(s, n))
                        break;
                if (n < 0) {
                        failures++;
                        continue;
                }
                left -= MIN(left, (size_t)n);
                if (!deliver(s, left > 0 && goes_on(s, (size_t)n)))
                        return;
        }
        if (s->buffer.fill)
                (void)deliver(s, false);
}

void
output_stream_done(OutputStream *s)
{
        set_state(s, OUTPUT_ENDED);
        quiet_buffer_done(&s->buffer);
}

void
output_stream_save(const OutputStream *s, StateWriter *w)
{
        state_begin(w, stream_name(s->id));
        state_put_uint(w, "state", s->state);
        state_put_fd(w, "descriptor", s->fd);
        state_put_uint(w, "terminal", s->is_terminal);
        state_put_uint(w, "paused", s->paused);
        state_put_uint(w, "failure-reported", s->failure_reported);
        quiet_buffer_save(&s->buffer, w, "rest");
        state_end(w);
}

/* Whatever a stream was waiting for, reading it finds that again. */
void
output_stream_restore(OutputStream *s, StateReader *r)
{
        state_enter(r, stream_name(s->id));
        OutputState state = (OutputState)state_get_uint(r, "state", OUTPUT_ENDED);
        s->fd = state_get_fd(r, "descriptor");
        s->is_terminal = state_get_bool(r, "terminal");
        s->paused = state_get_bool(r, "paused");
        s->failure_reported = state_get_bool(r, "failure-reported");
        quiet_buffer_restore(&s->buffer, r, "rest", OUTPUT_KEEP_MAX);
        state_leave(r);
        if (state == OUTPUT_ABSENT || state == OUTPUT_ENDED) {
                s->state = state;
                return;
        }
        watch_init(&s->watch, s->fd, WATCH_PRIORITY_IO, on_readable, s);
        if (s->paused)
                set_state(s, OUTPUT_PAUSED);
        else
                wait(s, 0);
}
