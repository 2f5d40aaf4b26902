/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/attach_server.h"

#include "base/fd.h"
#include "base/sockpath.h"
#include "tempdir.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define QUEUE_MAX (1 << 20)

typedef struct {
        char *dir;
        AttachServer *server;
        ContainerStdin input;
        int container; /* the other end of the input */
        unsigned int wants_calls;
} Bench;

static void
on_wants(void *data)
{
        Bench *b = data;
        b->wants_calls++;
}

static void
on_stdin_wants(bool wants, void *data)
{
        Bench *b = data;
        if (b->server)
                attach_server_read_clients(b->server, wants);
}

static void
bench_init_with(Bench *b, bool with_input, bool input_end_closes_stdin)
{
        g_autoptr(GError) error = NULL;
        *b = (Bench){.dir = tempdir_new(), .container = -1};
        container_stdin_init(&b->input, on_stdin_wants, b);
        if (with_input) {
                int fds[2];
                g_assert_cmpint(pipe2(fds, O_CLOEXEC | O_NONBLOCK), ==, 0);
                b->container = fds[0];
                container_stdin_open(&b->input, fds[1]);
        }
        AttachServerConfig config = {
                .bundle = b->dir,
                .client = {.queue_max = QUEUE_MAX, .stall_usec = 2 * G_USEC_PER_SEC},
                .input_end_closes_stdin = input_end_closes_stdin,
                .input = &b->input,
                .on_wants = on_wants,
                .data = b,
        };
        b->server = attach_server_new(&config, &error);
        g_assert_no_error(error);
}

static void
bench_init(Bench *b, bool with_input)
{
        bench_init_with(b, with_input, true);
}

static void
bench_done(Bench *b)
{
        attach_server_free(b->server);
        container_stdin_done(&b->input);
        fd_close(&b->container);
        tempdir_remove(b->dir);
}

static void
iterate(int rounds)
{
        for (int i = 0; i < rounds; i++)
                loop_iterate(false);
}

static int
connect_client(Bench *b)
{
        SockPath address;
        g_autofree char *path = g_build_filename(b->dir, "attach", NULL);
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_assert_cmpint(sockpath_init(&address, path), ==, 0);
        g_assert_cmpint(connect(fd, (struct sockaddr *)&address.addr, address.len), ==, 0);
        sockpath_done(&address);
        iterate(3);
        return fd;
}

static size_t
read_packets(int fd, GString *out, size_t *ret_largest)
{
        char packet[16384];
        ssize_t n;
        size_t count = 0;
        while ((n = recv(fd, packet, sizeof packet, 0)) > 0) {
                g_string_append_len(out, packet + 1, n - 1);
                *ret_largest = MAX(*ret_largest, (size_t)n);
                count++;
        }
        return count;
}

static void
test_packets(void)
{
        Bench b;
        bench_init(&b, false);
        struct stat st;
        g_autofree char *path = g_build_filename(b.dir, "attach", NULL);
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 0777, ==, 0700);

        autofd int one = connect_client(&b);
        autofd int two = connect_client(&b);
        char packet[64];
        attach_server_send(b.server, STREAM_STDOUT, "hi\n", 3);
        attach_server_send(b.server, STREAM_STDERR, "err\n", 4);
        g_assert_cmpint(recv(one, packet, sizeof packet, 0), ==, 4);
        g_assert_cmpint(memcmp(packet, "\2hi\n", 4), ==, 0);
        g_assert_cmpint(recv(one, packet, sizeof packet, 0), ==, 5);
        g_assert_cmpint(memcmp(packet, "\3err\n", 5), ==, 0);
        g_assert_cmpint(recv(two, packet, sizeof packet, 0), ==, 4);
        bench_done(&b);
}

/* A client that reads late loses nothing, and packets fit into callers' buffers. */
static void
test_slow_client(void)
{
        Bench b;
        bench_init(&b, false);
        autofd int fd = connect_client(&b);
        g_autofree char *chunk = g_malloc(65536);
        g_autoptr(GString) sent = g_string_new(NULL), got = g_string_new(NULL);
        size_t largest = 0;
        for (int i = 0; attach_server_wants(b.server, STREAM_STDOUT); i++) {
                memset(chunk, 'a' + i % 26, 65536);
                attach_server_send(b.server, STREAM_STDOUT, chunk, 65536);
                g_string_append_len(sent, chunk, 65536);
        }
        g_assert_cmpuint(sent->len, >=, 1 << 20);
        g_assert_true(attach_server_wants(b.server, STREAM_STDERR));
        g_assert_cmpuint(b.wants_calls, >, 0);
        for (int i = 0; i < 1000 && got->len < sent->len; i++) {
                (void)read_packets(fd, got, &largest);
                iterate(2);
        }
        g_assert_cmpuint(largest, ==, 8193);
        g_assert_cmpuint(got->len, ==, sent->len);
        g_assert_cmpint(memcmp(got->str, sent->str, got->len), ==, 0);
        g_assert_true(attach_server_wants(b.server, STREAM_STDOUT));
        g_assert_false(attach_server_is_behind(b.server));
        bench_done(&b);
}

static size_t
write_until_full(Bench *b, bool both_streams)
{
        size_t n = 0;
        while (n < 300000 && attach_server_wants(b->server, STREAM_STDOUT) &&
               attach_server_wants(b->server, STREAM_STDERR)) {
                attach_server_send(b->server, both_streams && n % 2 ? STREAM_STDERR : STREAM_STDOUT, "x", 1);
                n++;
        }
        return n;
}

/* The limit of a queue applies to its memory, also if it consists of single bytes. */
static void
test_memory_of_a_queue(void)
{
        for (int both_streams = 0; both_streams <= 1; both_streams++) {
                Bench b;
                bench_init(&b, false);
                int clients[] = { connect_client(&b), connect_client(&b) };
                size_t before = HEAP_IN_USE;
                size_t written = write_until_full(&b, both_streams);
                size_t used = HEAP_IN_USE - before;
                size_t streams = both_streams ? 2 : 1;
                g_assert_cmpuint(used, <, 2 * streams * (QUEUE_MAX + 65536));
                /* Consecutive bytes of one stream are merged, so that the queue can hold many more of
                 * them. */
                g_assert_cmpuint(written, ==, both_streams ? written : 300000);
                for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
                        fd_close(&clients[i]);
                bench_done(&b);
        }
}

/* Input that a client sent before it disconnected arrives, even if the container reads slowly. */
static void
test_input_of_a_client_that_left(void)
{
        Bench b;
        bench_init(&b, true);
        g_autofree char *chunk = g_strnfill(32768, 'i');
        int fd = connect_client(&b);
        size_t sent = 0, got = 0;
        while (send(fd, chunk, 32768, 0) > 0)
                sent += 32768;
        iterate(5);
        while (send(fd, chunk, 32768, 0) > 0)
                sent += 32768;
        fd_close(&fd);
        g_assert_cmpuint(sent, >, 3 * 32768);
        bool ended = false;
        for (int i = 0; i < 10000 && !ended; i++) {
                char part[4096];
                ssize_t n = fd_read(b.container, part, sizeof part);
                got += n > 0 ? (size_t)n : 0;
                ended = n == 0;
                iterate(1);
        }
        g_assert_cmpuint(got, ==, sent);
        g_assert_true(ended);
        bench_done(&b);
}

static void
test_empty_packets(void)
{
        Bench b;
        bench_init(&b, true);
        autofd int fd = connect_client(&b);
        char got[16] = "";
        g_assert_cmpint(send(fd, "", 0, 0), ==, 0);
        g_assert_cmpint(send(fd, "a", 1, 0), ==, 1);
        g_assert_cmpint(send(fd, "", 0, 0), ==, 0);
        g_assert_cmpint(send(fd, "b", 1, 0), ==, 1);
        g_assert_cmpint(shutdown(fd, SHUT_WR), ==, 0);
        iterate(10);
        g_assert_cmpint(fd_read(b.container, got, sizeof got), ==, 2);
        g_assert_cmpstr(got, ==, "ab");
        g_assert_cmpint(fd_read(b.container, got, sizeof got), ==, 0);
        /* It has closed only its sending side. */
        attach_server_send(b.server, STREAM_STDOUT, "x", 1);
        g_assert_cmpint(recv(fd, got, sizeof got, 0), ==, 2);
        g_assert_false(loop_iterate(false));
        bench_done(&b);
}

/* A container that has closed its stdin: input is discarded, without a busy loop. */
static void
test_closed_stdin(void)
{
        Bench b;
        bench_init(&b, true);
        (void)signal(SIGPIPE, SIG_IGN);
        autofd int fd = connect_client(&b);
        fd_close(&b.container);
        for (int i = 0; i < 3; i++) {
                g_assert_cmpint(send(fd, "typed", 5, 0), ==, 5);
                iterate(5);
        }
        g_assert_cmpint(b.input.state, ==, STDIN_GONE);
        g_assert_false(loop_iterate(false));
        bench_done(&b);
}

/* The container ends while input of the client is unread: the client still gets all output. */
static void
test_end_with_unread_input(void)
{
        Bench b;
        char packet[16];
        bench_init(&b, true);
        autofd int fd = connect_client(&b);
        g_assert_cmpint(send(fd, "typed", 5, 0), ==, 5);
        attach_server_send(b.server, STREAM_STDOUT, "out", 3);
        bench_done(&b);
        g_assert_cmpint(recv(fd, packet, sizeof packet, 0), ==, 4);
        g_assert_cmpint(recv(fd, packet, sizeof packet, 0), ==, 0);
}

static void
test_clients_come_and_go(void)
{
        Bench b;
        bench_init(&b, false);
        for (int i = 0; i < 300; i++) {
                int fd = connect_client(&b);
                attach_server_send(b.server, STREAM_STDOUT, "line\n", 5);
                fd_close(&fd);
                attach_server_send(b.server, STREAM_STDOUT, "line\n", 5);
                iterate(3);
        }
        autofd int next = connect_client(&b);
        g_assert_cmpint(next, <, 40);
        g_assert_true(attach_server_wants(b.server, STREAM_STDOUT));
        g_assert_false(loop_iterate(false));
        bench_done(&b);
}

static void
send_to_container(Bench *b, int fd, size_t len)
{
        g_autofree char *chunk = g_strnfill(len, 'i');
        g_assert_cmpint(send(fd, chunk, len, 0), ==, (ssize_t)len);
        iterate(3);
}

static unsigned int
count_descriptors(void)
{
        g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
        unsigned int n = 0;
        while (g_dir_read_name(dir))
                n++;
        return n;
}

/* The container does not read the input of one client. Other clients that disconnect without sending are
 * still removed. */
static void
test_leaving_while_input_is_blocked(void)
{
        Bench b;
        bench_init(&b, true);
        autofd int sender = connect_client(&b);
        for (int i = 0; i < 4; i++)
                send_to_container(&b, sender, 32768);
        g_assert_false(container_stdin_wants(&b.input));
        unsigned int before = count_descriptors();
        for (int i = 0; i < 20; i++) {
                int fd = connect_client(&b);
                if (i % 4 == 1)
                        attach_server_send(b.server, STREAM_STDOUT, "unread\n", 7);
                if (i % 4 == 2)
                        g_assert_cmpint(shutdown(fd, SHUT_RD), ==, 0);
                if (i % 4 >= 2)
                        attach_server_send(b.server, STREAM_STDOUT, "refused\n", 8);
                if (i % 4 == 3)
                        g_assert_cmpint(shutdown(fd, SHUT_WR), ==, 0);
                iterate(2);
                fd_close(&fd);
                iterate(3);
        }
        g_assert_cmpuint(count_descriptors(), ==, before);
        g_assert_false(loop_iterate(false));
        bench_done(&b);
}

#define CLIENTS 5

/* Clients that connect, read, write and disconnect at random, and their positions in each stream. */
typedef struct {
        Bench bench;
        GRand *rand;
        int fds[CLIENTS];     /* -1: none */
        bool closed[CLIENTS]; /* for writing */
        size_t at[CLIENTS][N_STREAMS];
        size_t written[N_STREAMS];
        size_t input, arrived;
} Crowd;

static char
byte_at(StreamId stream, size_t i)
{
        return (char)((stream == STREAM_STDOUT ? 'a' : 'A') + (i + i / 26 + i / 8192) % 26);
}

static void
write_output(Crowd *c)
{
        static const int most[] = {2, 200, 20000, 80000};
        char text[80000];
        StreamId stream = (StreamId)g_rand_int_range(c->rand, 0, N_STREAMS);
        size_t len = (size_t)g_rand_int_range(c->rand, 1, most[g_rand_int_range(c->rand, 0, 4)]);
        if (!attach_server_wants(c->bench.server, stream))
                return;
        for (size_t i = 0; i < len; i++)
                text[i] = byte_at(stream, c->written[stream] + i);
        attach_server_send(c->bench.server, stream, text, len);
        c->written[stream] += len;
}

static void
read_output(Crowd *c, int i, int packets)
{
        char packet[16384];
        for (ssize_t n; packets > 0 && (n = recv(c->fds[i], packet, sizeof packet, 0)) > 0; packets--) {
                StreamId stream = packet[0] == 2 ? STREAM_STDOUT : STREAM_STDERR;
                g_assert_cmpint((int)n, <=, 8193);
                for (ssize_t k = 1; k < n; k++)
                        g_assert_cmpint(packet[k], ==, byte_at(stream, c->at[i][stream]++));
        }
}

static void
write_input(Crowd *c, int i)
{
        static const char text[30000];
        if (c->closed[i])
                return;
        ssize_t n = send(c->fds[i], text, (size_t)g_rand_int_range(c->rand, 1, sizeof text), MSG_NOSIGNAL);
        c->input += n > 0 ? (size_t)n : 0;
}

static void
read_input(Crowd *c)
{
        char text[40000];
        ssize_t n = read(c->bench.container, text, (size_t)g_rand_int_range(c->rand, 1, sizeof text));
        c->arrived += n > 0 ? (size_t)n : 0;
}

static void
come_or_act(Crowd *c, int i, int what)
{
        if (c->fds[i] < 0) {
                c->fds[i] = connect_client(&c->bench);
                attach_server_accept(c->bench.server);
                c->closed[i] = false;
                memcpy(c->at[i], c->written, sizeof c->written);
        } else if (what < 55) {
                read_output(c, i, g_rand_int_range(c->rand, 1, 40));
        } else if (what < 90) {
                write_input(c, i);
        } else if (what < 95) {
                (void)shutdown(c->fds[i], SHUT_WR);
                c->closed[i] = true;
        } else {
                fd_close(&c->fds[i]);
        }
}

/* All clients keep reading: at the end all data has arrived and the queues are empty. */
static bool
is_settled(Crowd *c)
{
        for (int i = 0; i < CLIENTS; i++)
                if (c->fds[i] >= 0) {
                        read_output(c, i, 1000);
                        if (memcmp(c->at[i], c->written, sizeof c->written) != 0)
                                return false;
                }
        read_input(c);
        return c->arrived == c->input && attach_server_wants(c->bench.server, STREAM_STDOUT) &&
               attach_server_wants(c->bench.server, STREAM_STDERR) &&
               !attach_server_is_behind(c->bench.server);
}

static void
run_random(guint32 seed)
{
        Crowd c = {.rand = g_rand_new_with_seed(seed), .fds = {-1, -1, -1, -1, -1}};
        bench_init_with(&c.bench, true, false);
        for (int i = 0; i < 400; i++) {
                int what = g_rand_int_range(c.rand, 0, 100);
                if (what < 40)
                        write_output(&c);
                else if (what < 50)
                        read_input(&c);
                else if (what < 75)
                        come_or_act(&c, g_rand_int_range(c.rand, 0, CLIENTS),
                                    g_rand_int_range(c.rand, 0, 100));
                else
                        iterate(g_rand_int_range(c.rand, 1, 4));
        }
        gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
        while (!is_settled(&c) && g_get_monotonic_time() < end)
                iterate(1);
        g_assert_true(is_settled(&c));
        for (int i = 0; i < CLIENTS; i++)
                fd_close(&c.fds[i]);
        iterate(20);
        bench_done(&c.bench);
        g_rand_free(c.rand);
}

/* Each client gets all output since it connected, and the container all input, once and in order. */
static void
test_random(void)
{
        for (guint32 seed = 1; seed <= 15; seed++)
                run_random(seed);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/attach-server/packets", test_packets);
        g_test_add_func("/attach-server/slow-client", test_slow_client);
        g_test_add_func("/attach-server/memory-of-a-queue", test_memory_of_a_queue);
        g_test_add_func("/attach-server/input-of-a-client-that-left", test_input_of_a_client_that_left);
        g_test_add_func("/attach-server/empty-packets", test_empty_packets);
        g_test_add_func("/attach-server/closed-stdin", test_closed_stdin);
        g_test_add_func("/attach-server/end-with-unread-input", test_end_with_unread_input);
        g_test_add_func("/attach-server/clients-come-and-go", test_clients_come_and_go);
        g_test_add_func("/attach-server/leaving-while-input-is-blocked", test_leaving_while_input_is_blocked);
        g_test_add_func("/attach-server/random", test_random);
        return g_test_run();
}
