/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "ctl/exit_socket.h"

#include "base/diag.h"
#include "base/fd.h"
#include "base/listener.h"
#include "base/peer.h"
#include "base/sockpath.h"
#include "base/watch.h"
#include "ctl/ctl_message.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME    "exec-exits"
#define VERSION "1"
#define ANSWER  '1'

#define BACKLOG 128

/* The limit for connected sessions that have not sent anything yet. */
#define GUESTS_MAX 64

/* Bytes for the three words before those of the command. */
#define HEAD_MAX 1024

/* Time limits of a session's monitor: for the socket to appear, and for the whole exchange. */
#define APPEAR_USEC   (2 * G_USEC_PER_SEC)
#define EXCHANGE_USEC (10 * G_USEC_PER_SEC)

#define RETRY_FIRST_USEC 1000
#define RETRY_MAX_USEC   (64 * 1000)

struct ExitSocket {
        char *path;
        char *cid;
        Listener listener;
        GPtrArray *guests; /* of Guest */
        ExitSocketEvents events;
};

typedef struct Guest {
        ExitSocket *server;
        int fd;
        Watch watch;
} Guest;

/* ---- in the container's monitor ---- */

static void
guest_free(void *data)
{
        Guest *g = data;
        watch_done(&g->watch);
        fd_close(&g->fd);
        g_free(g);
}

/* Returns the next word of a message, whose last byte is a NUL; NULL: none left. */
static const char *
next_word(const char **at, const char *end)
{
        const char *word = *at;
        if (word >= end)
                return NULL;
        *at += strlen(word) + 1;
        return word;
}

static void
on_message(Guest *g, const char *text, size_t len)
{
        const ExitSocket *s = g->server;
        const char *at = text, *end = text + len;
        const char *version = next_word(&at, end);
        const char *cid = next_word(&at, end);
        const char *delay = next_word(&at, end);
        guint64 ms = 0;
        if (!delay || strcmp(version, VERSION) != 0 || strcmp(cid, s->cid) != 0 ||
            !g_ascii_string_to_unsigned(delay, 10, 0, G_MAXINT64 / 2000, &ms, NULL))
                return;
        if (!s->events.accepts(at, (size_t)(end - at), s->events.data))
                return;
        gint64 due = g_get_monotonic_time() + (gint64)ms * 1000;
        if (send(g->fd, &(char){ANSWER}, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
                s->events.take(at, (size_t)(end - at), due, s->events.data);
}

static void
on_readable(GIOCondition revents, void *data)
{
        Guest *g = data;
        ssize_t len = recv(g->fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
        if (len < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (len > 0 && len <= HEAD_MAX + EXIT_WORDS_MAX) {
                g_autofree char *text = g_malloc((size_t)len);
                if (recv(g->fd, text, (size_t)len, MSG_DONTWAIT) == len && text[len - 1] == '\0')
                        on_message(g, text, (size_t)len);
        }
        g_ptr_array_remove_fast(g->server->guests, g);
}

static void
add_guest(ExitSocket *s, int fd)
{
        Guest *g = g_new0(Guest, 1);
        g->server = s;
        g->fd = fd;
        watch_init(&g->watch, g->fd, WATCH_PRIORITY_IO, on_readable, g);
        watch_arm(&g->watch, G_IO_IN);
        g_ptr_array_add(s->guests, g);
}

static void
on_connection(int fd, void *data)
{
        ExitSocket *s = data;
        if (fd >= 0 && s->guests->len < GUESTS_MAX && peer_is_alike(fd))
                add_guest(s, fd);
        else
                fd_close(&fd);
}

static ExitSocket *
socket_new(char *path, char *cid, int fd, const ExitSocketEvents *events)
{
        ExitSocket *s = g_new0(ExitSocket, 1);
        s->path = path;
        s->cid = cid;
        s->guests = g_ptr_array_new_with_free_func(guest_free);
        s->events = *events;
        listener_init(&s->listener, fd, WATCH_PRIORITY_IO, on_connection, s);
        return s;
}

ExitSocket *
exit_socket_new(const char *bundle, const char *cid, const ExitSocketEvents *events)
{
        g_autofree char *path = g_build_filename(bundle, NAME, NULL);
        int fd = sockpath_listen(SOCK_SEQPACKET, path, BACKLOG);
        if (fd >= 0)
                return socket_new(g_steal_pointer(&path), g_strdup(cid), fd, events);
        diag_warn("Failed to create the socket %s: %s; monitors of exec sessions stay until their exit "
                  "commands are due",
                  path, strerror(-fd));
        return NULL;
}

void
exit_socket_save(const ExitSocket *s, StateWriter *w)
{
        state_begin(w, "socket");
        state_put_text(w, "path", s->path);
        state_put_text(w, "container", s->cid);
        state_put_fd(w, "descriptor", s->listener.fd);
        for (guint i = 0; i < s->guests->len; i++) {
                const Guest *g = s->guests->pdata[i];
                state_begin(w, "guest");
                state_put_fd(w, "descriptor", g->fd);
                state_end(w);
        }
        state_end(w);
}

ExitSocket *
exit_socket_restore(StateReader *r, const ExitSocketEvents *events)
{
        char *path = state_get_text(r, "path"), *cid = state_get_text(r, "container");
        ExitSocket *s = socket_new(path, cid, state_get_fd(r, "descriptor"), events);
        while (state_enter_next(r, "guest")) {
                add_guest(s, state_get_fd(r, "descriptor"));
                state_leave(r);
        }
        if (!cid)
                state_fail(r, "The socket for exit commands belongs to no container");
        return s;
}

void
exit_socket_claim(const ExitSocket *s)
{
        (void)listen(s->listener.fd, BACKLOG);
}

char *
exit_socket_steal_path(ExitSocket *s)
{
        return g_steal_pointer(&s->path);
}

void
exit_socket_free(ExitSocket *s)
{
        if (!s)
                return;
        listener_done(&s->listener);
        g_ptr_array_unref(s->guests);
        g_free(s->path);
        g_free(s->cid);
        g_free(s);
}

/* ---- in a session's monitor ---- */

/* Returns a connected socket or -errno. */
static int
connect_to(const char *path)
{
        SockPath sp;
        int r = sockpath_init(&sp, path);
        if (r < 0)
                return r;
        autofd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&sp.addr, sp.len) < 0)
                r = -errno;
        sockpath_done(&sp);
        return r < 0 ? r : fd_steal(&fd);
}

/* Requests the container's monitor to listen. Returns false if there is no monitor. */
static bool
ask(const char *bundle)
{
        autofd int dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
        autofd int fifo = dir < 0 ? -1 : fd_open_beneath(dir, "ctl", O_WRONLY | O_NONBLOCK);
        char line[16];
        struct stat st;
        if (fifo < 0 || fstat(fifo, &st) < 0 || !S_ISFIFO(st.st_mode) || st.st_uid != geteuid() ||
            faccessat(dir, "config.json", F_OK, 0) < 0)
                return false; /* not the bundle of a container */
        int len = g_snprintf(line, sizeof line, "%d 0 0\n", CTL_LISTEN_FOR_EXITS);
        return write(fifo, line, (size_t)len) == len;
}

/* Returns a connected socket, or -errno. */
static int
find_monitor(const char *bundle, gint64 deadline)
{
        g_autofree char *path = g_build_filename(bundle, NAME, NULL);
        gint64 appears = MIN(deadline, g_get_monotonic_time() + APPEAR_USEC);
        gint64 pause = RETRY_FIRST_USEC;
        bool asked = false;
        for (;;) {
                int fd = connect_to(path);
                bool absent = fd == -ENOENT || fd == -ECONNREFUSED;
                if (fd >= 0 || (!absent && fd != -EAGAIN))
                        return fd;
                if (absent && !asked && !ask(bundle))
                        return fd;
                asked = asked || absent;
                if (g_get_monotonic_time() + pause >= (absent ? appears : deadline))
                        return fd;
                g_usleep((gulong)pause);
                pause = MIN(2 * pause, RETRY_MAX_USEC);
        }
}

static bool
is_answered(int fd)
{
        char answer;
        return recv(fd, &answer, 1, MSG_DONTWAIT) == 1 && answer == ANSWER;
}

static bool
wait_for_answer(int fd, gint64 deadline)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int r;
        do {
                gint64 left = MAX(deadline - g_get_monotonic_time(), 0);
                r = poll(&p, 1, (int)(left / 1000));
        } while (r < 0 && errno == EINTR);
        if (r <= 0)
                (void)shutdown(fd, SHUT_RDWR);
        return is_answered(fd);
}

bool
exit_socket_hand_over(const char *session_bundle, const char *cid, const char *words, size_t len,
                      gint64 due_usec)
{
        if (len > EXIT_WORDS_MAX || strlen(cid) > HEAD_MAX / 2 || !g_path_is_absolute(session_bundle))
                return false;
        g_autofree char *bundle = g_path_get_dirname(session_bundle);
        gint64 deadline = MIN(due_usec, g_get_monotonic_time() + EXCHANGE_USEC);
        autofd int fd = find_monitor(bundle, deadline);
        if (fd < 0 || !peer_is_alike(fd))
                return false;
        g_autoptr(GString) message = g_string_new(NULL);
        g_string_printf(message, VERSION "%c%s%c%" G_GINT64_FORMAT "%c", 0, cid, 0,
                        MAX(due_usec - g_get_monotonic_time(), 0) / 1000, 0);
        g_string_append_len(message, words, (gssize)len);
        if (send(fd, message->str, message->len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                return false;
        return wait_for_answer(fd, deadline);
}
