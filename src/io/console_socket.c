/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/console_socket.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sockpath.h"
#include "base/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG    8
#define NAME_TRIES 100

struct ConsoleSocket {
        char *path;    /* NULL once it is removed */
        char *address; /* what the runtime gets */
        int dirfd;     /* the directory that it leads through, until the connection; -1: none */
        int fd;        /* listens; after a connection, the connection */
        bool connected;
        bool done; /* func was called; the connection stays open, or a runtime that sends more would fail */
        Watch watch;
        ConsoleFunc func;
        void *data;
};

static void on_event(GIOCondition revents, void *data);

static bool
fits(const char *path)
{
        return strlen(path) < sizeof((struct sockaddr_un *)NULL)->sun_path;
}

/* Returns a path that does not exist, to be freed. Other monitors may choose one at the same time. */
static char *
new_path(const char *dir)
{
        g_autofree char *prefix = g_build_filename(dir, "conmon-term", NULL);
        char *path = sockpath_random_name(prefix);
        for (int i = 0; i < NAME_TRIES && access(path, F_OK) == 0; i++) {
                g_free(path);
                path = sockpath_random_name(prefix);
        }
        return path;
}

/* Returns 0 or -errno. Only success changes *c. */
static int
listen_at(ConsoleSocket *c, const char *path)
{
        int fd = sockpath_listen(SOCK_STREAM, path, BACKLOG);
        if (fd < 0)
                return fd;
        c->fd = fd;
        c->path = g_strdup(path);
        return 0;
}

static int
listen_in(ConsoleSocket *c, const char *dir)
{
        g_autofree char *path = new_path(dir);
        int r = fits(path) ? listen_at(c, path) : -ENAMETOOLONG;
        if (r == 0)
                c->address = g_steal_pointer(&path);
        return r;
}

static int
listen_in_temp(ConsoleSocket *c)
{
        const char *dir = getenv("TMPDIR");
        if (dir && *dir) {
                int r = listen_in(c, dir);
                if (r == 0)
                        return 0;
                if (r != -ENAMETOOLONG)
                        diag_warn("Failed to create a console socket in %s: %s; trying /tmp", dir,
                                  strerror(-r));
        }
        return listen_in(c, "/tmp");
}

/* The path of most bundles is too long for an address. The runtime gets there through this process: it must
 * not inherit a descriptor of a directory, which the container might find open (CVE-2024-21626). */
static int
listen_in_bundle(ConsoleSocket *c, const char *bundle)
{
        if (g_path_is_absolute(bundle) && listen_in(c, bundle) == 0)
                return 0;
        g_autofree char *path = new_path(bundle);
        g_autofree char *name = g_path_get_basename(path);
        c->dirfd = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = c->dirfd < 0 ? -errno : listen_at(c, path);
        if (r == 0)
                c->address = g_strdup_printf("/proc/%d/fd/%d/%s", (int)getpid(), c->dirfd, name);
        return r;
}

static int
listen_anywhere(ConsoleSocket *c, const char *bundle)
{
        int r = listen_in_temp(c);
        if (r == 0 || !bundle)
                return r;
        diag_warn("Failed to create a console socket in /tmp: %s; trying the bundle", strerror(-r));
        return listen_in_bundle(c, bundle);
}

ConsoleSocket *
console_socket_new(const char *bundle, ConsoleFunc func, void *data, GError **error)
{
        ConsoleSocket *c = g_new0(ConsoleSocket, 1);
        c->fd = c->dirfd = -1;
        c->func = func;
        c->data = data;
        int r = listen_anywhere(c, bundle);
        if (r < 0) {
                error_set_errno(error, r,
                                "Failed to create a console socket in $TMPDIR, /tmp, or the bundle");
                console_socket_free(c);
                return NULL;
        }
        watch_init(&c->watch, c->fd, WATCH_PRIORITY_IO, on_event, c);
        return c;
}

const char *
console_socket_path(const ConsoleSocket *c)
{
        return c->address;
}

void
console_socket_start(ConsoleSocket *c)
{
        watch_arm(&c->watch, G_IO_IN);
}

static void
finish(ConsoleSocket *c)
{
        watch_done(&c->watch);
        fd_close(&c->fd);
        fd_close(&c->dirfd);
        if (c->path && (unlink(c->path) == 0 || errno == ENOENT))
                g_clear_pointer(&c->path, g_free); /* else console_socket_free tries again */
}

/* Replaces the listening socket by the first connection. */
static int
accept_one(ConsoleSocket *c)
{
        int conn = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (conn < 0)
                return -errno;
        finish(c);
        c->fd = conn;
        c->connected = true;
        watch_init(&c->watch, conn, WATCH_PRIORITY_IO, on_event, c);
        watch_arm(&c->watch, G_IO_IN);
        return 0;
}

/* Returns the first descriptor of the message, or -errno; -EPROTO if it has none or there is no message. */
static int
receive_descriptor(int sock)
{
        char name[4096]; /* of the terminal, as some runtimes send it */
        int fd;
        ssize_t n = fd_receive_one(sock, name, sizeof name, &fd);
        return n < 0 ? (int)n : fd < 0 ? -EPROTO : fd;
}

static void
on_event(GIOCondition revents, void *data)
{
        ConsoleSocket *c = data;
        int r = c->connected ? 0 : accept_one(c);
        int fd = r < 0 ? r : receive_descriptor(c->fd);
        if (fd == -EAGAIN || fd == -EINTR)
                return;
        if (fd < 0)
                diag_warn("Failed to receive the terminal from the runtime on the console socket: %s",
                          strerror(-fd));
        c->done = true;
        if (c->connected)
                watch_disarm(&c->watch);
        else
                finish(c);
        c->func(MAX(fd, -1), c->data);
}

void
console_socket_check(ConsoleSocket *c)
{
        if (!c->done)
                on_event(0, c);
}

void
console_socket_free(ConsoleSocket *c)
{
        if (!c)
                return;
        finish(c);
        g_free(c->path);
        g_free(c->address);
        g_free(c);
}
