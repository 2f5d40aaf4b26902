/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/container_stdin.h"

#include "base/diag.h"
#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

/* No packet is truncated: callers send up to 32 KiB, and a socket's default send buffer is smaller than this.
 * Untouched pages cost no memory. */
#define PACKET_MAX (256 * 1024)

/* How often to try to write to a terminal that no process has open. */
#define RETRY_USEC (G_USEC_PER_SEC / 5)

static void on_writable(GIOCondition revents, void *data);
static void on_retry(void *data);

void
container_stdin_init(ContainerStdin *s, StdinWantsFunc on_wants, void *data)
{
        *s = (ContainerStdin){.state = STDIN_GONE, .fd = -1, .on_wants = on_wants, .data = data};
        timer_init(&s->retry, on_retry, s);
        quiet_buffer_init(&s->buffer, PACKET_MAX);
}

void
container_stdin_expect(ContainerStdin *s)
{
        s->state = STDIN_EXPECTED;
}

void
container_stdin_open(ContainerStdin *s, int fd)
{
        int r = fd_set_nonblock(fd, true);
        if (r < 0)
                diag_warn("Failed to make the container's stdin non-blocking: %s", strerror(-r));
        s->fd = fd;
        s->state = STDIN_OPEN;
        watch_init(&s->watch, fd, WATCH_PRIORITY_IO, on_writable, s);
        if (s->close_when_written)
                container_stdin_close(s);
        s->on_wants(true, s->data);
}

static bool
is_empty(const ContainerStdin *s)
{
        return s->buffer.at == s->buffer.fill;
}

bool
container_stdin_wants(const ContainerStdin *s)
{
        return s->state != STDIN_EXPECTED && is_empty(s);
}

static void
gone(ContainerStdin *s)
{
        watch_done(&s->watch);
        timer_stop(&s->retry);
        fd_close(&s->fd);
        quiet_buffer_done(&s->buffer);
        s->state = STDIN_GONE;
}

/* Writes as much as possible. Afterwards the buffer is empty, or the watch is armed. */
static void
flush(ContainerStdin *s)
{
        QuietBuffer *b = &s->buffer;
        const char *begin = quiet_buffer_use(b);
        while (b->at < b->fill) {
                ssize_t n = write(s->fd, begin + b->at, b->fill - b->at);
                if (n >= 0) {
                        b->at += (size_t)n;
                        s->last = b->at > 0 ? begin[b->at - 1] : s->last;
                } else if (errno == EAGAIN) {
                        watch_arm(&s->watch, G_IO_OUT);
                        return;
                } else if (errno != EINTR) {
                        if (errno != EPIPE)
                                diag_warn("Failed to write to the container's stdin: %s; input from clients "
                                          "is discarded",
                                          strerror(errno));
                        gone(s);
                        return;
                }
        }
        b->at = b->fill = 0;
        watch_disarm(&s->watch);
        if (s->close_when_written)
                gone(s);
}

static void
on_writable(GIOCondition revents, void *data)
{
        ContainerStdin *s = data;
        flush(s);
        if (container_stdin_wants(s)) {
                s->on_wants(true, s->data);
        } else if (revents & G_IO_HUP) {
                /* poll(2) reports this all the time, but the kernel's buffer is full. */
                watch_disarm(&s->watch);
                timer_start(&s->retry, RETRY_USEC);
        }
}

static void
on_retry(void *data)
{
        on_writable(0, data);
}

static ssize_t
receive(int sock, void *buffer, size_t size, int flags)
{
        ssize_t n;
        do
                n = recv(sock, buffer, size, flags | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

ssize_t
container_stdin_receive(ContainerStdin *s, int sock)
{
        char discarded;
        if (s->state == STDIN_GONE)
                return receive(sock, &discarded, 1, MSG_TRUNC);
        ssize_t n = receive(sock, quiet_buffer_use(&s->buffer), PACKET_MAX, 0);
        if (n > 0) {
                s->buffer.fill = (size_t)n;
                flush(s);
        }
        if (!is_empty(s))
                s->on_wants(false, s->data);
        return n;
}

static bool
ends_line(const struct termios *t, char byte)
{
        cc_t c = (cc_t)byte;
        return c == '\0' || c == '\n' || c == t->c_cc[VEOF] || c == t->c_cc[VEOL] ||
               (c == '\r' && (t->c_iflag & ICRNL));
}

void
container_stdin_type_eof(ContainerStdin *s)
{
        struct termios t;
        if (s->state != STDIN_OPEN || tcgetattr(s->fd, &t) < 0 || !(t.c_lflag & ICANON) ||
            t.c_cc[VEOF] == _POSIX_VDISABLE)
                return;
        /* If a line has begun, the first character only passes it on to the reader; the second is the end. */
        size_t n = ends_line(&t, s->last) ? 1 : 2;
        memset(quiet_buffer_use(&s->buffer), t.c_cc[VEOF], n);
        s->buffer.fill = n;
        flush(s);
        if (!is_empty(s))
                s->on_wants(false, s->data);
}

void
container_stdin_close(ContainerStdin *s)
{
        s->close_when_written = true;
        if (s->state == STDIN_OPEN && is_empty(s))
                gone(s);
}

void
container_stdin_done(ContainerStdin *s)
{
        gone(s);
}

void
container_stdin_save(const ContainerStdin *s, StateWriter *w)
{
        state_begin(w, "stdin");
        state_put_uint(w, "state", s->state);
        state_put_fd(w, "descriptor", s->fd);
        state_put_uint(w, "last", (uint8_t)s->last);
        state_put_uint(w, "close", s->close_when_written);
        quiet_buffer_save(&s->buffer, w, "rest");
        state_end(w);
}

void
container_stdin_restore(ContainerStdin *s, StateReader *r)
{
        state_enter(r, "stdin");
        s->state = (StdinState)state_get_uint(r, "state", STDIN_GONE);
        s->fd = state_get_fd(r, "descriptor");
        s->last = (char)state_get_uint(r, "last", UINT8_MAX);
        s->close_when_written = state_get_bool(r, "close");
        quiet_buffer_restore(&s->buffer, r, "rest", PACKET_MAX);
        state_leave(r);
        if (s->state != STDIN_OPEN)
                return;
        watch_init(&s->watch, s->fd, WATCH_PRIORITY_IO, on_writable, s);
        if (!is_empty(s))
                watch_arm(&s->watch, G_IO_OUT);
}
