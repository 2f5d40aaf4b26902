/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/attach_server.h"

#include "base/fd.h"
#include "base/sockpath.h"

#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

/* Real clients and the container's stdin and output, driven by a sequence of commands. */

#define CLIENTS 4
#define PACKET_MAX 8193

typedef struct {
        char *bundle;
        AttachServer *server;
        ContainerStdin input;
        int stdin_fd;           /* the container's end */
        int client[CLIENTS];    /* -1: none */
        bool reads[CLIENTS];    /* was never disconnected, so that its output must be complete */
        size_t received[CLIENTS], sent[CLIENTS];
        size_t typed, arrived; /* bytes of input */
} World;

static void
turn(void)
{
        for (int i = 0; i < 100 && loop_iterate(false); i++)
                continue;
}

static void
on_wants(void *data)
{
}

static void
on_stdin_wants(bool wants, void *data)
{
        World *w = data;
        if (w->server)
                attach_server_read_clients(w->server, wants);
}

static void
connect_client(World *w, int i)
{
        SockPath address;
        g_autofree char *path = g_build_filename(w->bundle, "attach", NULL);
        fd_close(&w->client[i]);
        w->client[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_assert_cmpint(sockpath_init(&address, path), ==, 0);
        if (connect(w->client[i], (struct sockaddr *)&address.addr, address.len) < 0)
                fd_close(&w->client[i]);
        sockpath_done(&address);
        turn();
        w->reads[i] = w->client[i] >= 0;
        w->received[i] = w->sent[i] = 0;
}

/* An output packet has the stream and at least one byte. */
static void
read_client(World *w, int i)
{
        char packet[2 * PACKET_MAX];
        ssize_t n;
        while (w->client[i] >= 0 && (n = recv(w->client[i], packet, sizeof packet, 0)) > 0) {
                g_assert_cmpint(n, <=, PACKET_MAX);
                g_assert_cmpint(n, >, 1);
                g_assert_true(packet[0] == 2 || packet[0] == 3);
                for (ssize_t at = 1; at < n; at++)
                        g_assert_cmpint(packet[at], ==, 'x');
                w->received[i] += (size_t)n - 1;
        }
}

static void
read_stdin(World *w)
{
        char bytes[65536];
        ssize_t n;
        while (w->stdin_fd >= 0 && (n = read(w->stdin_fd, bytes, sizeof bytes)) > 0) {
                for (ssize_t at = 0; at < n; at++)
                        g_assert_cmpint(bytes[at], ==, 'i');
                w->arrived += (size_t)n;
        }
}

static void
type(World *w, int i, size_t len)
{
        static char text[1 << 17];
        memset(text, 'i', sizeof text);
        if (w->client[i] >= 0 && send(w->client[i], text, MIN(len, sizeof text), MSG_NOSIGNAL) > 0)
                w->typed += MIN(len, sizeof text);
}

static void
output(World *w, StreamId stream, size_t len)
{
        static char text[1 << 16];
        memset(text, 'x', sizeof text);
        attach_server_send(w->server, stream, text, MIN(len, sizeof text));
        for (int i = 0; i < CLIENTS; i++)
                w->sent[i] += MIN(len, sizeof text);
}

/* "LETTER DIGIT NUMBER": operation, client, amount. */
static void
command(World *w, const char *line)
{
        if (!line[0] || !g_ascii_isdigit(line[1]))
                return;
        int i = (line[1] - '0') % CLIENTS;
        size_t len = (size_t)MIN(g_ascii_strtoull(line + 2, NULL, 10), 1 << 17);
        switch (line[0]) {
        case 'c':
                connect_client(w, i);
                break;
        case 'd':
                fd_close(&w->client[i]);
                break;
        case 'h':
                if (w->client[i] >= 0)
                        (void)shutdown(w->client[i], line[1] & 1 ? SHUT_WR : SHUT_RDWR);
                w->reads[i] = w->reads[i] && (line[1] & 1);
                break;
        case 't':
                type(w, i, len);
                break;
        case 'o':
                output(w, line[1] & 1 ? STREAM_STDERR : STREAM_STDOUT, len);
                break;
        case 'r':
                read_client(w, i);
                break;
        case 's':
                read_stdin(w);
                break;
        case 'e':
                fd_close(&w->stdin_fd);
                break;
        case 'l':
                attach_server_set_late(w->server);
                break;
        }
        turn();
}

static void
begin(World *w, bool closes)
{
        int ends[2];
        *w = (World){.bundle = g_dir_make_tmp("conmon-fuzz-XXXXXX", NULL), .client = {-1, -1, -1, -1}};
        g_assert_cmpint(pipe2(ends, O_CLOEXEC | O_NONBLOCK), ==, 0);
        container_stdin_init(&w->input, on_stdin_wants, w);
        AttachServerConfig config = {
                .bundle = w->bundle,
                .input_end_closes_stdin = closes,
                .input = &w->input,
                .on_wants = on_wants,
                .data = w,
        };
        w->server = attach_server_new(&config, NULL);
        g_assert_nonnull(w->server);
        container_stdin_open(&w->input, ends[1]);
        w->stdin_fd = ends[0];
}

static size_t
progress(const World *w)
{
        size_t sum = w->arrived;
        for (int i = 0; i < CLIENTS; i++)
                sum += w->received[i];
        return sum;
}

/* Runs the main loop until nothing changes any more. */
static void
settle(World *w)
{
        for (size_t idle = 0, before; idle < 3;) {
                before = progress(w);
                turn();
                read_stdin(w);
                for (int i = 0; i < CLIENTS; i++)
                        read_client(w, i);
                idle = progress(w) > before ? 0 : idle + 1;
        }
}

static void
end(World *w)
{
        settle(w);
        g_assert_cmpuint(w->arrived, <=, w->typed);
        for (int i = 0; i < CLIENTS; i++)
                if (w->reads[i] && w->client[i] >= 0)
                        g_assert_cmpuint(w->received[i], ==, w->sent[i]);
        attach_server_free(w->server);
        container_stdin_done(&w->input);
        turn();
        fd_close(&w->stdin_fd);
        for (int i = 0; i < CLIENTS; i++)
                fd_close(&w->client[i]);
        g_assert_cmpint(rmdir(w->bundle), ==, 0);
        g_free(w->bundle);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        g_auto(GStrv) lines = g_strsplit(text, "\n", 200);
        World w;
        fuzz_be_quiet();
        (void)signal(SIGPIPE, SIG_IGN);
        begin(&w, size > 0 && (data[0] & 1));
        for (char **line = lines; *line; line++)
                command(&w, *line);
        end(&w);
        return 0;
}
