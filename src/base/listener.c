/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/listener.h"

#include "base/fd.h"

#include <errno.h>
#include <sys/socket.h>

#define RETRY_USEC (G_USEC_PER_SEC / 2)

/* Returns false if there is no other connection, or after a failure. */
static bool
accept_one(Listener *l)
{
        int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
                return errno != EAGAIN;
        if (fd < 0) {
                fd = -errno;
                watch_disarm(&l->watch);
                timer_start(&l->retry, RETRY_USEC);
        }
        l->func(fd, l->data);
        return fd >= 0;
}

static void
on_connection(GIOCondition revents, void *data)
{
        (void)accept_one(data);
}

static void
on_retry(void *data)
{
        watch_arm(&((Listener *)data)->watch, G_IO_IN);
}

void
listener_init(Listener *l, int fd, int priority, ListenerFunc func, void *data)
{
        *l = (Listener){.fd = fd, .func = func, .data = data};
        timer_init(&l->retry, on_retry, l);
        watch_init(&l->watch, fd, priority, on_connection, l);
        watch_arm(&l->watch, G_IO_IN);
}

void
listener_accept(Listener *l)
{
        while (l->fd >= 0 && accept_one(l))
                continue;
}

void
listener_done(Listener *l)
{
        timer_stop(&l->retry);
        watch_done(&l->watch);
        fd_close(&l->fd);
}
