#include "io/output_stream.h"

#include "base/diag.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A terminal's read(2) returns at most this much, so that several make a chunk. */
#define TERMINAL_READ_MAX 4096

/* How many bytes one stream may deliver before the others get their turn. */
#define BYTES_PER_TURN (16 * OUTPUT_CHUNK_MAX)

/* The most that a drain reads of a terminal, whose fill level the kernel does not tell. */
#define TERMINAL_DRAIN_MAX (1 << 20)

#define QUIET_USEC (1 * G_USEC_PER_SEC)

/* A container that writes a few bytes at a time, without a pause, would wake the monitor for each of
 * them, and have to wait for that. After so many small reads that came so fast, the next ones are a
 * little later and get more. */
#define SMALL_READ      1024
#define SMALL_GAP_USEC  300
#define SMALL_READS_MAX 32
#define REST_USEC       1000
/* After a failed read. The drain at the end tries again at once, so many times. */
#define RETRY_USEC  (G_USEC_PER_SEC / 5)
#define DRAIN_TRIES 3

static void on_readable(GIOCondition revents, void *data);
static void on_hangup_event(GIOCondition revents, void *data);
static void on_quiet(void *data);
static void on_rested(void *data);

void
output_stream_init(OutputStream *s, StreamId id, OutputFunc func, void *data)
{
        *s = (OutputStream){.id = id, .fd = -1, .hangup_epoll = -1, .func = func, .data = data};
        timer_init(&s->quiet_timer, on_quiet, s);
        timer_init(&s->rest_timer, on_rested, s);
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
        if (!s->paused)
                watch_arm(&s->watch, G_IO_IN);
}

static void
leave_hangup(OutputStream *s)
{
        watch_done(&s->hangup_watch);
        fd_close(&s->hangup_epoll);
}

static void
end(OutputStream *s)
{
        leave_hangup(s);
        watch_done(&s->watch);
        fd_close(&s->fd);
}

static void
deliver(OutputStream *s, bool more)
{
        size_t taken = s->func(s->id, s->buffer.data, s->fill, more, s->data);
        s->fill -= taken;
        if (s->fill)
                memmove(s->buffer.data, s->buffer.data + taken, s->fill);
}

/* Adds what can be read to the buffer, at most a chunk. Returns how much, 0 at the end, or -errno. */
static ssize_t
fill_buffer(OutputStream *s)
{
        ssize_t sum = 0;
        page_buffer_take(&s->buffer, OUTPUT_KEEP_MAX + OUTPUT_CHUNK_MAX);
        do {
                ssize_t n = fd_read(s->fd, s->buffer.data + s->fill, OUTPUT_CHUNK_MAX - (size_t)sum);
                if (n <= 0)
                        return sum > 0 ? sum : n;
                sum += n;
                s->fill += (size_t)n;
        } while (s->is_terminal && sum <= OUTPUT_CHUNK_MAX - TERMINAL_READ_MAX);
        return sum;
}

static bool
is_readable(int fd)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        return poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

/* Nobody has the slave side open: poll(2) would report that for ever. An edge-triggered epoll reports only
 * the next change, so that waiting for a process that opens the terminal again costs nothing. */
static void
enter_hangup(OutputStream *s)
{
        watch_disarm(&s->watch);
        if (s->hangup_epoll >= 0)
                return;
        struct epoll_event want = {.events = EPOLLIN | EPOLLET};
        s->hangup_epoll = epoll_create1(EPOLL_CLOEXEC);
        if (s->hangup_epoll < 0 || epoll_ctl(s->hangup_epoll, EPOLL_CTL_ADD, s->fd, &want) < 0) {
                diag_warn("Failed to wait for the terminal to be opened again: %s; its output is no longer "
                          "read",
                          strerror(errno));
                fd_close(&s->hangup_epoll);
                return;
        }
        watch_init(&s->hangup_watch, s->hangup_epoll, WATCH_PRIORITY_IO, on_hangup_event, s);
        watch_arm(&s->hangup_watch, G_IO_IN);
}

static bool
is_hangup(const OutputStream *s, ssize_t result)
{
        return s->is_terminal && result == -EIO;
}

/* What is not the fault of the descriptor passes. Closing it would kill the container (SIGPIPE). */
static bool
may_pass(ssize_t result)
{
        return result == -ENOMEM || result == -ENOBUFS || result == -EIO;
}

static void
on_failure(OutputStream *s, ssize_t result)
{
        bool again = may_pass(result);
        if (!s->failed || !again)
                diag_warn("Failed to read the container's %s: %s%s", stream_name(s->id),
                          strerror((int)-result), again ? "; trying again" : "");
        s->failed = true;
        if (!again) {
                end(s);
                return;
        }
        watch_disarm(&s->watch);
        timer_start(&s->rest_timer, RETRY_USEC);
}

/* Nothing more can be read now, for the reason that read(2) gave. */
static void
on_nothing(OutputStream *s, ssize_t result)
{
        if (s->fill)
                deliver(s, false);
        if (is_hangup(s, result))
                enter_hangup(s);
        else if (result == 0)
                end(s);
        else if (result != -EAGAIN)
                on_failure(s, result);
}

/* An unfinished line was kept because its rest was there; if it is not, nobody
 * else will come for the line. */
static void
settle(OutputStream *s)
{
        if (s->fill && !is_readable(s->fd))
                deliver(s, false);
}

static void
note_use(OutputStream *s)
{
        s->used = true;
        if (!timer_is_running(&s->quiet_timer))
                timer_start(&s->quiet_timer, QUIET_USEC);
}

/* Returns how many bytes were read, 0 if there were none. */
static size_t
pump(OutputStream *s)
{
        size_t done = 0;
        note_use(s);
        while (!s->paused && done < BYTES_PER_TURN) {
                ssize_t n = fill_buffer(s);
                if (n <= 0) {
                        on_nothing(s, n);
                        return done;
                }
                done += (size_t)n;
                deliver(s, true);
                if (n < OUTPUT_CHUNK_MAX / 2)
                        break; /* the kernel had no more a moment ago */
        }
        if (!s->paused)
                settle(s);
        return done;
}

static bool
is_hurried(OutputStream *s)
{
        gint64 now = g_get_monotonic_time();
        bool fast = now - s->small_time < SMALL_GAP_USEC;
        s->small_reads = fast ? s->small_reads + 1 : 0;
        s->small_time = now;
        return s->small_reads > SMALL_READS_MAX;
}

static void
on_readable(GIOCondition revents, void *data)
{
        OutputStream *s = data;
        size_t done = pump(s);
        if (done > 0 && done < SMALL_READ && !s->paused && is_hurried(s)) {
                watch_disarm(&s->watch);
                timer_start(&s->rest_timer, REST_USEC);
        }
}

/* Goes on resting as long as small writes come, and stops as soon as they are so many that the container may
 * have to wait for room in the pipe. */
static void
on_rested(void *data)
{
        OutputStream *s = data;
        if (s->fd < 0 || s->paused)
                return;
        size_t done = pump(s);
        if (s->fd < 0 || s->paused || s->hangup_epoll >= 0 || timer_is_running(&s->rest_timer))
                return;
        if (done > 0 && done < OUTPUT_CHUNK_MAX / 4) {
                timer_start(&s->rest_timer, REST_USEC);
                return;
        }
        s->small_reads = 0;
        watch_arm(&s->watch, G_IO_IN);
}

static void
on_hangup_event(GIOCondition revents, void *data)
{
        OutputStream *s = data;
        struct epoll_event event;
        (void)epoll_wait(s->hangup_epoll, &event, 1, 0);
        if (s->paused)
                return;
        ssize_t n = fill_buffer(s);
        if (n <= 0) {
                on_nothing(s, n);
                return;
        }
        leave_hangup(s);
        watch_arm(&s->watch, G_IO_IN);
        deliver(s, true);
        pump(s);
}

static void
on_quiet(void *data)
{
        OutputStream *s = data;
        if (s->used)
                timer_start(&s->quiet_timer, QUIET_USEC);
        else if (!s->fill)
                page_buffer_release(&s->buffer);
        s->used = false;
}

void
output_stream_pause(OutputStream *s, bool paused)
{
        if (s->paused == paused)
                return;
        s->paused = paused;
        if (s->fd < 0)
                return;
        timer_stop(&s->rest_timer);
        if (paused) {
                watch_disarm(&s->watch);
                return;
        }
        /* Also after a hangup that came meanwhile: reading tells. */
        leave_hangup(s);
        /* Who takes the output may be the one who asks, in the middle of taking: what is
         * kept comes in a later turn. */
        if (s->fill)
                timer_start(&s->rest_timer, 0);
        else
                watch_arm(&s->watch, G_IO_IN);
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
                deliver(s, true);
        }
        if (s->fill)
                deliver(s, false);
}

void
output_stream_done(OutputStream *s)
{
        end(s);
        timer_stop(&s->quiet_timer);
        timer_stop(&s->rest_timer);
        page_buffer_release(&s->buffer);
        s->fill = 0;
}
