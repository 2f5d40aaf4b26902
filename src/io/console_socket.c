#include "io/console_socket.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/watch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct ConsoleSocket {
        char *path; /* NULL once it is removed */
        int fd;     /* listens; after a connection, the connection */
        bool connected;
        bool done; /* the function has been called; the runtime may still send, and should not fail for it */
        Watch watch;
        ConsoleFunc func;
        void *data;
};

static void on_event(GIOCondition revents, void *data);

/* Binds to a name that nobody else has: several monitors may look for one at the same time. */
static int
bind_new_name(int fd, const char *dir, char **ret_path)
{
        for (int attempt = 0; attempt < 100; attempt++) {
                struct sockaddr_un addr = {.sun_family = AF_UNIX};
                unsigned int random;
                if (getrandom(&random, sizeof random, 0) < 0)
                        random = (unsigned int)(getpid() + attempt);
                g_autofree char *path = g_strdup_printf("%s/conmon-term.%06X", dir, random & 0xffffff);
                if (strlen(path) >= sizeof addr.sun_path)
                        return -ENAMETOOLONG;
                strcpy(addr.sun_path, path);
                if (bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0) {
                        *ret_path = g_steal_pointer(&path);
                        return 0;
                }
                if (errno != EADDRINUSE)
                        return -errno;
        }
        return -EADDRINUSE;
}

static int
bind_in_temp(int fd, char **ret_path)
{
        const char *dir = getenv("TMPDIR");
        if (dir && *dir) {
                int r = bind_new_name(fd, dir, ret_path);
                if (r == 0)
                        return 0;
                if (r != -ENAMETOOLONG)
                        diag_warn("Failed to make a console socket in %s: %s; trying /tmp", dir,
                                  strerror(-r));
        }
        return bind_new_name(fd, "/tmp", ret_path);
}

ConsoleSocket *
console_socket_new(ConsoleFunc func, void *data, GError **error)
{
        autofd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
                error_set_errno(error, errno, "Failed to create the console socket");
                return NULL;
        }
        g_autofree char *path = NULL;
        (void)fchmod(fd, 0700); /* the mode that bind(2) gives to the name */
        int r = bind_in_temp(fd, &path);
        if (!path) {
                error_set_errno(error, r, "Failed to bind the console socket in $TMPDIR or /tmp");
                return NULL;
        }
        if (listen(fd, 8) < 0) {
                error_set_errno(error, errno, "Failed to listen on the console socket %s", path);
                (void)unlink(path);
                return NULL;
        }
        ConsoleSocket *c = g_new0(ConsoleSocket, 1);
        c->path = g_steal_pointer(&path);
        c->fd = fd_steal(&fd);
        c->func = func;
        c->data = data;
        watch_init(&c->watch, c->fd, WATCH_PRIORITY_IO, on_event, c);
        return c;
}

const char *
console_socket_path(const ConsoleSocket *c)
{
        return c->path;
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
        if (c->path && (unlink(c->path) == 0 || errno == ENOENT))
                g_clear_pointer(&c->path, g_free); /* else there will be another try */
}

/* From a listening socket to the connection that was waiting. */
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

/* The first descriptor of the message; further ones are closed. */
static int
take_descriptor(struct msghdr *msg)
{
        int taken = -1;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < n; i++) {
                        int fd;
                        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
                        if (taken < 0)
                                taken = fd;
                        else
                                fd_close(&fd);
                }
        }
        return taken;
}

/* Returns the descriptor, or -errno; -EPROTO if the message has none or there is no message. */
static int
receive_descriptor(int sock)
{
        char text[4096];
        union {
                struct cmsghdr align;
                char space[CMSG_SPACE(16 * sizeof(int))];
        } control;
        struct iovec iov = {.iov_base = text, .iov_len = sizeof text};
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0)
                return -errno;
        int fd = take_descriptor(&msg);
        return fd < 0 ? -EPROTO : fd;
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
        g_free(c);
}
