/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "seccomp/notify_listener.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/listener.h"
#include "base/sockpath.h"
#include "base/watch.h"
#include "seccomp/notify_plugins.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BACKLOG   16
#define PEERS_MAX 256

struct SeccompListener {
        char *path;
        Listener listener;
        GPtrArray *peers;
        NotifyPlugins *plugins;
        struct seccomp_notif_sizes sizes; /* of this kernel, which may be newer than the headers */
        struct seccomp_notif *request;
        struct seccomp_notif_resp *response;
        bool warned;
};

/* A runtime that is connected, or a notify descriptor that one brought. */
typedef struct Peer {
        SeccompListener *listener;
        int fd;
        Watch watch;
} Peer;

static void
peer_free(void *data)
{
        Peer *p = data;
        watch_done(&p->watch);
        fd_close(&p->fd);
        g_free(p);
}

static void
peer_drop(Peer *p)
{
        (void)g_ptr_array_remove_fast(p->listener->peers, p);
}

/* Takes the descriptor. */
static void
peer_add(SeccompListener *l, int fd, WatchFunc func)
{
        if (l->peers->len >= PEERS_MAX) {
                diag_warn("Too many connections to %s, closing one", l->path);
                fd_close(&fd);
                return;
        }
        Peer *p = g_new0(Peer, 1);
        p->listener = l;
        p->fd = fd;
        watch_init(&p->watch, p->fd, WATCH_PRIORITY_IO, func, p);
        watch_arm(&p->watch, G_IO_IN);
        g_ptr_array_add(l->peers, p);
}

static void
warn_once(SeccompListener *l, const char *what, int error)
{
        diag_message(l->warned ? DIAG_DEBUG : DIAG_WARNING, "%s: %s", what, strerror(error));
        l->warned = true;
}

static void
respond(SeccompListener *l, int fd, int handled)
{
        struct seccomp_notif_resp *response = l->response;
        if (handled < 0) {
                warn_once(l, "A system call was refused, no seccomp notify plugin handled it", -handled);
                *response = (struct seccomp_notif_resp){.error = handled};
        } else if (handled == NOTIFY_CONTINUE) {
                *response = (struct seccomp_notif_resp){.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        }
        response->id = l->request->id;
        /* ENOENT: the process that made the call is gone. */
        if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, response) < 0 && errno != ENOENT)
                warn_once(l, "Failed to answer a system call", errno);
}

static void
on_request(GIOCondition revents, void *data)
{
        Peer *p = data;
        SeccompListener *l = p->listener;
        /* Hung up: no process is left that has the filter. */
        if (!(revents & G_IO_IN)) {
                peer_drop(p);
                return;
        }
        memset(l->request, 0, l->sizes.seccomp_notif); /* or the kernel refuses to fill it */
        if (ioctl(p->fd, SECCOMP_IOCTL_NOTIF_RECV, l->request) < 0) {
                if (errno != ENOENT && errno != EINTR)
                        peer_drop(p);
                return;
        }
        int handled = notify_plugins_handle(l->plugins, &l->sizes, l->request, l->response, p->fd);
        if (handled != NOTIFY_DELAYED)
                respond(l, p->fd, handled);
}

/* The message names its descriptors, too, but only the kernel knows what they are. */
static bool
is_notify_fd(int fd)
{
        char link[64];
        char target[64] = "";
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        return readlink(link, target, sizeof target - 1) > 0 &&
               strcmp(target, "anon_inode:seccomp notify") == 0;
}

/* Reads until the runtime has sent everything: closing the connection earlier would make it fail. */
static void
on_message(GIOCondition revents, void *data)
{
        Peer *p = data;
        SeccompListener *l = p->listener;
        char state[4096]; /* of the container, which is not needed */
        int fds[FD_RECEIVE_MAX];
        size_t n_fds;
        ssize_t n = fd_receive(p->fd, state, sizeof state, fds, &n_fds);
        for (size_t i = 0; i < n_fds; i++)
                if (is_notify_fd(fds[i]))
                        peer_add(l, fds[i], on_request);
                else
                        fd_close(&fds[i]);
        if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR))
                peer_drop(p);
}

static void
on_connection(int fd, void *data)
{
        SeccompListener *l = data;
        if (fd >= 0)
                peer_add(l, fd, on_message);
        else
                warn_once(l, "Failed to accept a seccomp notify connection, trying again", -fd);
}

static NotifyPlugins *
load_plugins(const SeccompConfig *config, GError **error)
{
        const char *list = config->plugins ? config->plugins : g_getenv("CONMON_SECCOMP_NOTIFY_PLUGINS");
        if (!list || list[0] == '\0') {
                error_set(error, CONMON_ERROR_USAGE,
                          "--seccomp-notify-socket needs plugins: use --seccomp-notify-plugins "
                          "or CONMON_SECCOMP_NOTIFY_PLUGINS");
                return NULL;
        }
        g_autofree char *oci_config =
                config->bundle ? g_build_filename(config->bundle, "config.json", NULL) : NULL;
        NotifyPluginConf conf = {
                .name = config->name,
                .bundle_path = config->bundle,
                .oci_config_path = oci_config,
        };
        return notify_plugins_load(list, &conf, error);
}

/* Everything but the socket. */
static gboolean
prepare(SeccompListener *l, const SeccompConfig *config, GError **error)
{
        if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &l->sizes) < 0)
                return error_set_errno(error, errno, "This kernel has no seccomp notifications");
        l->request = g_malloc0(MAX(l->sizes.seccomp_notif, sizeof *l->request));
        l->response = g_malloc0(MAX(l->sizes.seccomp_notif_resp, sizeof *l->response));
        l->plugins = load_plugins(config, error);
        return l->plugins != NULL;
}

SeccompListener *
seccomp_listener_new(const SeccompConfig *config, GError **error)
{
        SeccompListener *l = g_new0(SeccompListener, 1);
        l->listener.fd = -1;
        l->peers = g_ptr_array_new_with_free_func(peer_free);
        if (!prepare(l, config, error)) {
                seccomp_listener_free(l);
                return NULL;
        }
        int fd = sockpath_listen(SOCK_STREAM, config->socket_path, BACKLOG);
        if (fd < 0) {
                error_set_errno(error, fd, "Failed to create the seccomp notify socket %s",
                                config->socket_path);
                seccomp_listener_free(l);
                return NULL;
        }
        l->path = g_strdup(config->socket_path);
        listener_init(&l->listener, fd, WATCH_PRIORITY_IO, on_connection, l);
        return l;
}

char *
seccomp_listener_steal_path(SeccompListener *l)
{
        return g_steal_pointer(&l->path);
}

void
seccomp_listener_free(SeccompListener *l)
{
        if (!l)
                return;
        if (l->path)
                (void)unlink(l->path);
        listener_done(&l->listener);
        g_ptr_array_unref(l->peers);
        notify_plugins_free(l->plugins);
        g_free(l->request);
        g_free(l->response);
        g_free(l->path);
        g_free(l);
}
