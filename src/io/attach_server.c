/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/attach_server.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/heap.h"
#include "base/listener.h"
#include "base/process.h"
#include "base/sockpath.h"
#include "base/watch.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 10

/* Simultaneous clients; further ones are rejected. */
#define CLIENTS_MAX 1000

/* Free heap memory is returned to the kernel this long after output was queued. */
#define QUIET_USEC G_USEC_PER_SEC

/* podman's client shuts down its sending side when its user detaches, too, and closes the connection soon
 * after. Only if it stays connected for this long its input is taken to have ended. */
#define EOF_USEC G_USEC_PER_SEC

struct AttachServer {
        char *path;
        Listener listener;
        bool late;
        bool input_end_closes_stdin;
        bool half_close_types_eof;
        ContainerStdin *input;
        GPtrArray *half_closed; /* clients for which the end-of-file character is to be typed */
        Timer eof_timer;
        GPtrArray *clients; /* of AttachClient */
        GPtrArray *gone;    /* those of them that are freed in the next iteration of the main loop */
        Timer gone_timer;
        Timer quiet_timer;
        bool queued; /* output was queued since the heap was last trimmed */
        AttachClientConfig client_config;
        AttachClientEvents client_events;
        AttachWantsFunc on_wants;
        void *data;
};

static gboolean
make_link(const char *target, const char *path, GError **error)
{
        if (unlink(path) < 0 && errno != ENOENT)
                return error_set_errno(error, errno, "Failed to remove the old %s", path);
        if (symlink(target, path) < 0)
                return error_set_errno(error, errno, "Failed to create the symlink %s to the bundle", path);
        return TRUE;
}

static void
free_gone(void *data)
{
        AttachServer *s = data;
        for (guint i = 0; i < s->gone->len; i++)
                g_ptr_array_remove_fast(s->clients, s->gone->pdata[i]);
        g_ptr_array_set_size(s->gone, 0);
}

static void
on_quiet(void *data)
{
        AttachServer *s = data;
        if (attach_server_is_behind(s))
                return;
        heap_trim();
        s->queued = false;
}

/* Call it when the last queue may have become empty. */
static void
expect_quiet(AttachServer *s)
{
        if (s->queued && !timer_is_running(&s->quiet_timer))
                timer_start(&s->quiet_timer, QUIET_USEC);
}

static void
end_input(AttachServer *s)
{
        if (s->input_end_closes_stdin)
                container_stdin_close(s->input);
        else
                diag_info("Not closing input");
}

/* Asks the kernel, because the loop may not have run since the client left. */
static bool
is_connected(const AttachClient *c)
{
        struct pollfd p = {.fd = attach_client_fd(c)};
        return poll(&p, 1, 0) == 0;
}

static void
on_eof_due(void *data)
{
        AttachServer *s = data;
        if (s->half_closed->len == 0)
                return;
        if (!container_stdin_wants(s->input)) {
                timer_start(&s->eof_timer, EOF_USEC);
                return;
        }
        bool ended = false;
        for (guint i = 0; i < s->half_closed->len; i++)
                ended |= is_connected(s->half_closed->pdata[i]);
        g_ptr_array_set_size(s->half_closed, 0);
        if (ended)
                container_stdin_type_eof(s->input);
        end_input(s);
}

static void
on_gone(AttachClient *c, void *data)
{
        AttachServer *s = data;
        if (g_ptr_array_remove_fast(s->half_closed, c))
                end_input(s);
        g_ptr_array_add(s->gone, c);
        timer_start(&s->gone_timer, 0);
        expect_quiet(s);
        s->on_wants(s->data);
}

static void
on_wants(AttachClient *c, void *data)
{
        AttachServer *s = data;
        expect_quiet(s);
        s->on_wants(s->data);
}

static void
on_input_end(AttachClient *c, void *data)
{
        end_input(data);
        attach_client_input_ended(c);
}

static void
on_input(AttachClient *c, void *data)
{
        AttachServer *s = data;
        ssize_t n = container_stdin_receive(s->input, attach_client_fd(c));
        /* For a client that left without reading everything, recv(2) reports ECONNRESET once before it
         * returns the client's input. */
        if (n > 0 || n == -EAGAIN || n == -ECONNRESET)
                return;
        if (n == 0 && !attach_client_is_at_end(c))
                return;
        if (n == 0 && s->half_close_types_eof && is_connected(c)) {
                g_ptr_array_add(s->half_closed, c);
                timer_start(&s->eof_timer, EOF_USEC);
                attach_client_input_ended(c);
                return;
        }
        on_input_end(c, s);
        if (n < 0)
                attach_client_disconnect(c);
}

static void
add_client(int fd, void *data)
{
        AttachServer *s = data;
        if (fd < 0) {
                diag_warn("Failed to accept an attach client: %s; trying again", strerror(-fd));
                return;
        }
        if (s->clients->len >= CLIENTS_MAX) {
                diag_warn("Rejected an attach client: %d are connected already", CLIENTS_MAX);
                fd_close(&fd);
                return;
        }
        AttachClient *c = attach_client_new(fd, !s->late, &s->client_config, &s->client_events);
        g_ptr_array_add(s->clients, c);
        attach_client_read(c, container_stdin_wants(s->input));
}

static AttachServer *
server_new(const AttachServerConfig *config, char *path, int fd)
{
        AttachServer *s = g_new0(AttachServer, 1);
        s->path = path;
        s->input_end_closes_stdin = config->input_end_closes_stdin;
        s->half_close_types_eof = config->half_close_types_eof;
        s->input = config->input;
        s->clients = g_ptr_array_new_with_free_func((GDestroyNotify)attach_client_free);
        s->gone = g_ptr_array_new();
        s->half_closed = g_ptr_array_new();
        s->client_config = config->client;
        s->client_events = (AttachClientEvents){on_input, on_input_end, on_wants, on_gone, s};
        s->on_wants = config->on_wants;
        s->data = config->data;
        timer_init(&s->gone_timer, free_gone, s);
        timer_init(&s->eof_timer, on_eof_due, s);
        timer_init(&s->quiet_timer, on_quiet, s);
        listener_init(&s->listener, fd, WATCH_PRIORITY_ACCEPT, add_client, s);
        return s;
}

AttachServer *
attach_server_new(const AttachServerConfig *config, GError **error)
{
        g_autofree char *path = g_build_filename(config->bundle, "attach", NULL);
        if (config->link_path && !make_link(config->bundle, config->link_path, error))
                return NULL;
        int fd = sockpath_listen(SOCK_SEQPACKET, path, BACKLOG);
        if (fd >= 0)
                return server_new(config, g_steal_pointer(&path), fd);
        error_set_errno(error, fd, "Failed to create the attach socket %s", path);
        return NULL;
}

void
attach_server_accept(AttachServer *s)
{
        listener_accept(&s->listener);
}

void
attach_server_set_late(AttachServer *s)
{
        s->late = true;
}

void
attach_server_set_limits(AttachServer *s, const AttachClientConfig *client)
{
        s->client_config = *client;
        for (guint i = 0; i < s->clients->len; i++)
                attach_client_limits_changed(s->clients->pdata[i]);
}

void
attach_server_send(AttachServer *s, StreamId stream, const char *bytes, size_t len)
{
        AttachChunk *chunk = NULL;
        for (guint i = 0; i < s->clients->len; i++) {
                attach_client_send(s->clients->pdata[i], stream, bytes, len, &chunk);
                s->queued |= attach_client_is_behind(s->clients->pdata[i]);
        }
        attach_chunk_unref(chunk);
}

bool
attach_server_wants(const AttachServer *s, StreamId stream)
{
        for (guint i = 0; i < s->clients->len; i++)
                if (!attach_client_wants(s->clients->pdata[i], stream))
                        return false;
        return true;
}

void
attach_server_read_clients(AttachServer *s, bool wanted)
{
        for (guint i = 0; i < s->clients->len; i++)
                attach_client_read(s->clients->pdata[i], wanted);
}

bool
attach_server_is_behind(const AttachServer *s)
{
        for (guint i = 0; i < s->clients->len; i++)
                if (attach_client_is_behind(s->clients->pdata[i]))
                        return true;
        return false;
}

char *
attach_server_steal_path(AttachServer *s)
{
        return g_steal_pointer(&s->path);
}

void
attach_server_stop_listening(AttachServer *s)
{
        if (s->listener.fd < 0)
                return;
        attach_server_accept(s);
        if (s->path && unlink(s->path) < 0 && errno != ENOENT)
                diag_warn("Failed to remove the attach socket %s: %s", s->path, strerror(errno));
        listener_done(&s->listener);
}

/* Runs in a process whose only descriptor, besides stdio, is the client's. */
static int
send_rest(const void *arg)
{
        attach_client_send_rest(*(AttachClient *const *)arg, PROCESS_FIRST_FD);
        return 0;
}

/* The process is detached: nothing waits for it. */
static int
send_rest_in_background(AttachClient *c)
{
        int fd = attach_client_fd(c);
        pid_t pid = process_start(
                &(ProcessSpec){
                        .name = "conmon-client",
                        .run = send_rest,
                        .arg = &c,
                        .fds = &fd,
                        .n_fds = 1,
                        .own_session = true,
                        .detached = true,
                        .confined = true,
                        .sandbox = SANDBOX_CLIENT,
                },
                NULL);
        return pid < 0 ? pid : 0;
}

void
attach_server_hand_over_slow_clients(AttachServer *s)
{
        for (guint i = 0; i < s->clients->len; i++) {
                AttachClient *c = s->clients->pdata[i];
                int r = attach_client_is_behind(c) ? send_rest_in_background(c) : 0;
                if (r < 0)
                        diag_warn("Failed to start a process for a slow attach client: %s; it loses the end "
                                  "of the output",
                                  strerror(-r));
        }
}

void
attach_server_save(AttachServer *s, StateWriter *w)
{
        free_gone(s);
        /* The end of their input is read again by the program that continues. */
        for (guint i = 0; i < s->half_closed->len; i++)
                attach_client_read_again(s->half_closed->pdata[i], container_stdin_wants(s->input));
        g_ptr_array_set_size(s->half_closed, 0);
        timer_stop(&s->eof_timer);
        state_begin(w, "attach");
        state_put_text(w, "path", s->path);
        state_put_fd(w, "descriptor", s->listener.fd);
        state_put_uint(w, "late", s->late);
        for (guint i = 0; i < s->clients->len; i++)
                attach_client_save(s->clients->pdata[i], w);
        state_end(w);
}

AttachServer *
attach_server_restore(StateReader *r, const AttachServerConfig *config)
{
        char *path = state_get_text(r, "path");
        AttachServer *s = server_new(config, path, state_get_fd(r, "descriptor"));
        s->late = state_get_bool(r, "late");
        while (state_enter_next(r, "client")) {
                g_ptr_array_add(s->clients, attach_client_restore(r, &s->client_config, &s->client_events));
                state_leave(r);
        }
        s->queued = attach_server_is_behind(s);
        return s;
}

void
attach_server_free(AttachServer *s)
{
        if (!s)
                return;
        attach_server_stop_listening(s);
        timer_stop(&s->gone_timer);
        timer_stop(&s->eof_timer);
        timer_stop(&s->quiet_timer);
        g_ptr_array_unref(s->clients);
        g_ptr_array_unref(s->gone);
        g_ptr_array_unref(s->half_closed);
        g_free(s->path);
        g_free(s);
}
