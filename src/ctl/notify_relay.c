/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/notify_relay.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sockpath.h"
#include "base/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_MAX   (64 * 1024)
#define LAST_MESSAGES 64 /* more than the default length of a datagram queue (net.unix.max_dgram_qlen) */

struct NotifyRelay {
        int fd; /* the container sends to it */
        Watch watch;
        char *host_address;
        int host_fd; /* connected; -1 before the first message and after a failure */
        Watch host_watch;
        char *pending; /* a message that waits for space in the host's queue; no other is read meanwhile */
        size_t pending_len;
        bool warned;
};

static bool
is_allowed(const char *line, size_t len)
{
        static const char *const assignments[] = {"READY=1", "RELOADING=1", "STOPPING=1", "WATCHDOG=1",
                                                  "WATCHDOG=trigger"};
        static const char *const prefixes[] = {
                "STATUS=", "ERRNO=", "BUSERROR=", "MONOTONIC_USEC=", "EXTEND_TIMEOUT_USEC="};
        for (size_t i = 0; i < G_N_ELEMENTS(assignments); i++)
                if (len == strlen(assignments[i]) && memcmp(line, assignments[i], len) == 0)
                        return true;
        for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++)
                if (len >= strlen(prefixes[i]) && memcmp(line, prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        return false;
}

size_t
notify_filter(char *text, size_t len)
{
        size_t kept = 0;
        size_t end;
        len = strnlen(text, len);
        for (size_t start = 0; start < len; start = end + 1) {
                for (end = start; end < len && text[end] != '\n' && text[end] != '\r';)
                        end++;
                if (!is_allowed(text + start, end - start))
                        continue;
                if (kept > 0)
                        text[kept++] = '\n';
                memmove(text + kept, text + start, end - start);
                kept += end - start;
        }
        return kept;
}

static void
disconnect_host(NotifyRelay *r)
{
        watch_done(&r->host_watch);
        fd_close(&r->host_fd);
}

static void on_host_writable(GIOCondition revents, void *data);

static int
connect_host(NotifyRelay *r)
{
        SockPath sp;
        int rc = sockpath_init(&sp, r->host_address);
        if (rc < 0)
                return rc;
        r->host_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (r->host_fd < 0 || connect(r->host_fd, (struct sockaddr *)&sp.addr, sp.len) < 0)
                rc = -errno;
        sockpath_done(&sp);
        if (rc == 0)
                watch_init(&r->host_watch, r->host_fd, WATCH_PRIORITY_IO, on_host_writable, r);
        return rc;
}

static int
send_pending(NotifyRelay *r)
{
        return send(r->host_fd, r->pending, r->pending_len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Sends the pending message, after connecting if necessary: a restarted host has a new socket of the same
 * name. Returns 0, -EAGAIN if the host's queue is full, or another -errno. */
static int
deliver(NotifyRelay *r)
{
        int rc = r->host_fd >= 0 ? send_pending(r) : -ENOTCONN;
        if (rc == 0 || rc == -EAGAIN)
                return rc;
        disconnect_host(r);
        rc = connect_host(r);
        if (rc == 0)
                rc = send_pending(r);
        if (rc < 0 && rc != -EAGAIN)
                disconnect_host(r);
        return rc;
}

/* Sends or drops the pending message. Returns false if it is still pending. */
static bool
settle(NotifyRelay *r)
{
        int rc = deliver(r);
        if (rc == -EAGAIN)
                return false;
        if (rc < 0) {
                diag_message(r->warned ? DIAG_DEBUG : DIAG_WARNING,
                             "Dropped a notification of the container: failed to send it to %s: %s",
                             r->host_address, strerror(-rc));
                r->warned = true;
        }
        g_clear_pointer(&r->pending, g_free);
        return true;
}

/* Reads a message from the container. The kernel closes descriptors in it, because there is no control buffer
 * (unix(7)); systemd-notify waits for that. Returns false if there was no message. */
static bool
receive(NotifyRelay *r)
{
        g_autofree char *text = g_malloc(MESSAGE_MAX);
        ssize_t n = recv(r->fd, text, MESSAGE_MAX, MSG_TRUNC);
        if (n < 0)
                return false;
        if (n > MESSAGE_MAX) {
                diag_debug("Ignoring a notification of %zd bytes", n);
                return true;
        }
        r->pending_len = notify_filter(text, (size_t)n);
        if (r->pending_len > 0)
                r->pending = g_steal_pointer(&text);
        return true;
}

static void
settle_or_wait(NotifyRelay *r)
{
        if (settle(r)) {
                watch_disarm(&r->host_watch);
                watch_arm(&r->watch, G_IO_IN);
        } else {
                watch_disarm(&r->watch);
                watch_arm(&r->host_watch, G_IO_OUT);
        }
}

static void
on_message(GIOCondition revents, void *data)
{
        NotifyRelay *r = data;
        if (receive(r) && r->pending)
                settle_or_wait(r);
}

static void
on_host_writable(GIOCondition revents, void *data)
{
        settle_or_wait(data);
}

/* The mode must be right from the start, because the container sees the directory. */
static int
bind_open_to_all(int fd, const SockPath *sp)
{
        mode_t before = umask(0);
        int rc = bind(fd, (const struct sockaddr *)&sp->addr, sp->len) < 0 ? -errno : 0;
        (void)umask(before);
        return rc;
}

/* The container controls the contents of `directory`, so nothing in it may lead to another place. */
static int
listen_in(const char *bundle, const char *directory, const char *name)
{
        autofd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        autofd int bundle_fd = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || bundle_fd < 0)
                return -errno;
        autofd int dirfd = fd_open_beneath(bundle_fd, directory, O_PATH | O_DIRECTORY);
        if (dirfd < 0)
                return dirfd;
        if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
                return -errno;
        SockPath sp;
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/%s", dirfd, name);
        int rc = sockpath_init(&sp, path);
        if (rc < 0)
                return rc;
        rc = bind_open_to_all(fd, &sp);
        sockpath_done(&sp);
        return rc < 0 ? rc : fd_steal(&fd);
}

static NotifyRelay *
relay_new(int fd, char *host_address)
{
        NotifyRelay *r = g_new0(NotifyRelay, 1);
        r->fd = fd;
        r->host_fd = -1;
        r->host_address = host_address;
        watch_init(&r->watch, r->fd, WATCH_PRIORITY_IO, on_message, r);
        watch_arm(&r->watch, G_IO_IN);
        return r;
}

NotifyRelay *
notify_relay_new(const char *bundle, const char *host_address, GError **error)
{
        int fd = listen_in(bundle, "notify", "notify.sock");
        if (fd < 0) {
                error_set_errno(error, fd, "Failed to create the notification socket %s/notify/notify.sock",
                                bundle);
                return NULL;
        }
        return relay_new(fd, g_strdup(host_address));
}

void
notify_relay_save(const NotifyRelay *r, StateWriter *w)
{
        state_begin(w, "notify");
        state_put_fd(w, "descriptor", r->fd);
        state_put_text(w, "host", r->host_address);
        state_put_fd(w, "host-descriptor", r->host_fd);
        state_put_uint(w, "warned", r->warned);
        state_put_bytes(w, "pending", r->pending ? r->pending : "", r->pending ? r->pending_len : 0);
        state_end(w);
}

NotifyRelay *
notify_relay_restore(StateReader *state)
{
        size_t len = 0;
        int fd = state_get_fd(state, "descriptor");
        NotifyRelay *r = relay_new(fd, state_get_text(state, "host"));
        r->host_fd = state_get_fd(state, "host-descriptor");
        r->warned = state_get_bool(state, "warned");
        const char *pending = state_get_bytes(state, "pending", &len);
        if (r->host_fd >= 0)
                watch_init(&r->host_watch, r->host_fd, WATCH_PRIORITY_IO, on_host_writable, r);
        r->pending = len > 0 ? g_strndup(pending, len) : NULL;
        r->pending_len = len;
        if (r->pending && r->host_fd >= 0) {
                watch_disarm(&r->watch);
                watch_arm(&r->host_watch, G_IO_OUT);
        }
        return r;
}

void
notify_relay_free(NotifyRelay *r)
{
        if (!r)
                return;
        for (int i = 0; i < LAST_MESSAGES; i++)
                if ((r->pending && !settle(r)) || !receive(r))
                        break;
        if (r->pending)
                (void)settle(r);
        watch_done(&r->watch);
        fd_close(&r->fd);
        disconnect_host(r);
        g_free(r->pending);
        g_free(r->host_address);
        g_free(r);
}
