#include "io/container_stdin.h"

#include "base/diag.h"
#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Callers send up to 32 KiB in a packet; what a socket takes by default is below this, so no packet is cut.
 * Pages that are not written to cost nothing. */
#define PACKET_MAX (256 * 1024)

static void on_writable(GIOCondition revents, void *data);

void
container_stdin_init(ContainerStdin *s, StdinWantsFunc on_wants, void *data)
{
        *s = (ContainerStdin){.state = STDIN_GONE, .fd = -1, .on_wants = on_wants, .data = data};
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

bool
container_stdin_wants(const ContainerStdin *s)
{
        return s->state != STDIN_EXPECTED && s->at == s->fill;
}

static void
gone(ContainerStdin *s)
{
        watch_done(&s->watch);
        fd_close(&s->fd);
        page_buffer_release(&s->buffer);
        s->at = s->fill = 0;
        s->state = STDIN_GONE;
}

/* Writes what the container takes. Afterwards either nothing is left, or the watch is armed. */
static void
flush(ContainerStdin *s)
{
        while (s->at < s->fill) {
                ssize_t n = write(s->fd, s->buffer.data + s->at, s->fill - s->at);
                if (n >= 0) {
                        s->at += (size_t)n;
                } else if (errno == EAGAIN) {
                        watch_arm(&s->watch, G_IO_OUT);
                        return;
                } else if (errno != EINTR) {
                        if (errno != EPIPE)
                                diag_warn("Failed to write to the container's stdin: %s; what clients send "
                                          "is discarded",
                                          strerror(errno));
                        gone(s);
                        return;
                }
        }
        s->at = s->fill = 0;
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
                page_buffer_release(&s->buffer);
                s->on_wants(true, s->data);
        }
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
        page_buffer_take(&s->buffer, PACKET_MAX);
        ssize_t n = receive(sock, s->buffer.data, s->buffer.size, 0);
        if (n > 0) {
                s->fill = (size_t)n;
                flush(s);
        }
        if (s->at == s->fill)
                page_buffer_release(&s->buffer);
        else
                s->on_wants(false, s->data);
        return n;
}

void
container_stdin_close(ContainerStdin *s)
{
        s->close_when_written = true;
        if (s->state == STDIN_OPEN && s->at == s->fill)
                gone(s);
}

void
container_stdin_done(ContainerStdin *s)
{
        gone(s);
}
