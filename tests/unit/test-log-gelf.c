/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "net-fixture.h"

typedef NetFixture Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
        net_set_up(f, "gelf");
        f->config.name = "web";
}

static void
start(Fixture *f, const char *scheme)
{
        f->fd = net_listen(strcmp(scheme, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM, &f->port);
        net_add_option(f, "gelf-address=%s://127.0.0.1:%u", scheme, f->port);
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
}

static char *
object(const char *message, int level, const char *members)
{
        char host[256] = "";
        g_assert_cmpint(gethostname(host, sizeof host - 1), ==, 0);
        return g_strdup_printf("{\"version\":\"1.1\",\"host\":\"%s\",\"short_message\":\"%s\",\"timestamp\":"
                               "1700000000.123,\"level\":%d,\"_container_id\":\"" TEST_CID
                               "\",\"_container_name\":\"web\",%s}",
                               host, message, level, members);
}

static void
test_udp(Fixture *f, gconstpointer data)
{
        char *labels[] = {(char *)"id=7", (char *)"A=b=c", (char *)"x y=", NULL};
        f->config.labels = labels;
        net_add_option(f, "gelf-compression-type=none");
        net_add_option(f, "tag={{.Name}}");
        start(f, "udp");
        log_fixture_write(f->log, STREAM_STDERR, "a\"\t\xff\n");
        g_autofree char *expected = object("a\\\"\\u0009\\ufffd", 3,
                                           "\"_tag\":\"web\",\"_A\":\"b=c\",\"_id_\":\"7\",\"_x_y\":\"\"");
        net_expect_datagram(f->fd, expected);
}

static void
test_tcp(Fixture *f, gconstpointer data)
{
        net_add_option(f, "tag=t");
        start(f, "tcp");
        log_fixture_write(f->log, STREAM_STDOUT, "one\n\n\t\n\r\n \n\xe2\x80\x83\n\xc2\xa0\n");
        int fd = net_accept(f->fd);
        g_autofree char *one = object("one", 6, "\"_tag\":\"t\""),
                        *solid = object("\xc2\xa0", 6, "\"_tag\":\"t\"");
        GString *text = net_read(fd, strlen(one) + strlen(solid) + 2);
        g_assert_cmpmem(text->str, strlen(one) + 1, one, strlen(one) + 1);
        g_assert_cmpmem(text->str + strlen(one) + 1, strlen(solid) + 1, solid, strlen(solid) + 1);
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "filtered", "records"), ==, 5);
        g_string_free(text, TRUE);
        (void)close(fd);
}

/* Fields from the bundle; attributes do not override them. */
static void
test_container(Fixture *f, gconstpointer data)
{
        tempdir_put(f->dir, "config.json",
                    "{\"process\":{\"args\":[\"sh\",\"-c\",\"a \\\"b\\\"\"]},\"annotations\":{"
                    "\"io.kubernetes.cri-o.Created\":\"2026-01-02T03:04:05.6+01:00\",\"command\":\"no\","
                    "\"io.kubernetes.cri-o.ImageName\":\"img:1\",\"io.kubernetes.cri-o.ImageRef\":\"abc\"}}");
        log_fixture_bundle(&f->config, f->dir);
        net_add_option(f, "labels=command");
        net_add_option(f, "tag=t");
        start(f, "tcp");
        log_fixture_write(f->log, STREAM_STDOUT, "x\n");
        int fd = net_accept(f->fd);
        g_autofree char *expected = object("x", 6,
                                           "\"_command\":\"sh -c a \\\"b\\\"\",\"_created\":"
                                           "\"2026-01-02T03:04:05.6+01:00\",\"_image_id\":\"abc\","
                                           "\"_image_name\":"
                                           "\"img:1\",\"_tag\":\"t\",\"_command_\":\"no\"");
        net_expect(fd, expected);
        (void)close(fd);
        log_fixture_bundle(&f->config, NULL);
}

/* A line's prefix sets the level. A prefix without text is kept, because messages must not be empty. */
static void
test_level(Fixture *f, gconstpointer data)
{
        static const struct {
                const char *message;
                int level;
        } cases[] = {{"one", 2},
                     {"\\u003c7\\u003e", 7},
                     {"\\u003c0\\u003e\\u0009", 0},
                     {"\\u003c8\\u003e", 5},
                     {"two", 5}};
        net_add_option(f, "parse-prefix=yes");
        net_add_option(f, "priority-stdout=5");
        net_add_option(f, "tag=t");
        start(f, "tcp");
        log_fixture_write(f->log, STREAM_STDOUT, "<2>one\n<7>\n<0>\t\n<8>\ntwo\n");
        int fd = net_accept(f->fd);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *expected = object(cases[i].message, cases[i].level, "\"_tag\":\"t\"");
                GString *text = net_read(fd, strlen(expected) + 1);
                g_assert_cmpmem(text->str, strlen(expected) + 1, expected, strlen(expected) + 1);
                g_string_free(text, TRUE);
        }
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        (void)close(fd);
}

/* Reassembles a message of `n` chunks and checks their headers. */
static GString *
collect(int fd, unsigned n)
{
        GString *whole = g_string_new(NULL);
        char id[8] = "";
        for (unsigned i = 0; i < n; i++) {
                char text[65536];
                net_wait_readable(fd);
                ssize_t k = recv(fd, text, sizeof text, 0);
                g_assert_cmpint((int)k, >, 12);
                g_assert_cmpint((int)k, <=, 1420);
                if (i + 1 < n)
                        g_assert_cmpint((int)k, ==, 1420);
                g_assert_cmpmem(text, 2, "\x1e\x0f", 2);
                if (i == 0)
                        memcpy(id, text + 2, 8);
                g_assert_cmpmem(text + 2, 8, id, 8);
                g_assert_cmpuint((unsigned char)text[10], ==, i);
                g_assert_cmpuint((unsigned char)text[11], ==, n);
                g_string_append_len(whole, text + 12, k - 12);
        }
        return whole;
}

/* A line for a message of exactly `size` bytes. */
static char *
make_line(size_t size)
{
        g_autofree char *empty = object("", 6, "\"_tag\":\"t\"");
        return g_strnfill(size - strlen(empty), 'x');
}

/* Sizes around one datagram and around full chunks; the last is the largest that can be sent. */
static void
test_chunks(Fixture *f, gconstpointer data)
{
        static const struct {
                size_t size;
                unsigned chunks; /* 0: one datagram without a header */
        } cases[] = {
                {1420, 0}, {1421, 2}, {2 * 1408, 2}, {2 * 1408 + 1, 3}, {3 * 1408 - 1, 3}, {128 * 1408, 128},
        };
        net_add_option(f, "gelf-compression-type=none");
        net_add_option(f, "max-record=1m");
        net_add_option(f, "max-buffer-size=16m");
        net_add_option(f, "tag=t");
        start(f, "udp");
        int size = 4 << 20;
        /* All chunks of a message must fit into the socket buffer. An ordinary user gets the system's
         * maximum, twice the default. */
        if (setsockopt(f->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
                g_assert_no_errno(setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *line = make_line(cases[i].size);
                g_autofree char *expected = object(line, 6, "\"_tag\":\"t\"");
                log_fixture_write(f->log, STREAM_STDOUT, line);
                log_fixture_write(f->log, STREAM_STDOUT, "\n");
                if (cases[i].chunks == 0) {
                        net_expect_datagram(f->fd, expected);
                        continue;
                }
                GString *whole = collect(f->fd, cases[i].chunks);
                g_assert_cmpstr(whole->str, ==, expected);
                g_string_free(whole, TRUE);
        }
        g_autofree char *long_line = make_line(128 * 1408 + 1);
        log_fixture_write(f->log, STREAM_STDOUT, long_line);
        log_fixture_write(f->log, STREAM_STDOUT, "\n");
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "encoding", "bytes"), ==, strlen(long_line) + 1);
}

/* The first bytes show the format; other tests decompress it. */
static void
test_compression(Fixture *f, gconstpointer data)
{
        const char *type = data;
        net_add_option(f, "gelf-compression-type=%s", type);
        start(f, "udp");
        g_autofree char *line = g_strnfill(10000, 'x');
        for (int i = 0; i < 3; i++) {
                log_fixture_write(f->log, STREAM_STDOUT, line);
                log_fixture_write(f->log, STREAM_STDOUT, "\n");
                char text[65536];
                net_wait_readable(f->fd);
                ssize_t n = recv(f->fd, text, sizeof text, 0);
                g_assert_cmpint((int)n, <, 600);
                if (strcmp(type, "gzip") == 0)
                        g_assert_cmpmem(text, 3, "\x1f\x8b\x08", 3);
                else
                        g_assert_cmpmem(text, 2, "\x78\x01", 2);
        }
}

static void
test_refused(Fixture *f, gconstpointer data)
{
        static const char *const cases[][3] = {
                {NULL, NULL,
                 "Log driver gelf: gelf-address must be set, as udp://HOST:PORT, tcp://HOST:PORT or "
                 "tls://HOST:PORT"},
                {"gelf-address=udp://h", NULL,
                 "Log driver gelf: option gelf-address can't be 'udp://h'; allowed: udp://HOST:PORT, "
                 "tcp://HOST:PORT, tls://HOST:PORT"},
                {"gelf-address=tcp://h:1", "gelf-compression-type=gzip",
                 "Log driver gelf: options gelf-compression-type and gelf-compression-level are for UDP "
                 "only"},
                {"gelf-address=udp://h:1", "gelf-compression-level=10",
                 "Log driver gelf: option gelf-compression-level can't be '10'; allowed: a whole number, "
                 "from -1 to 9"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                char *opts[] = {(char *)cases[i][0], (char *)cases[i][1], NULL};
                g_autofree char *message = log_fixture_refusal(&f->config, f->drivers, opts);
                g_assert_cmpstr(message, ==, cases[i][2]);
        }
}

int
main(int argc, char **argv)
{
        log_fixture_set_up();
        g_test_init(&argc, &argv, NULL);
        g_test_add("/log-gelf/udp", Fixture, NULL, set_up, test_udp, net_tear_down);
        g_test_add("/log-gelf/tcp", Fixture, NULL, set_up, test_tcp, net_tear_down);
        g_test_add("/log-gelf/container", Fixture, NULL, set_up, test_container, net_tear_down);
        g_test_add("/log-gelf/level", Fixture, NULL, set_up, test_level, net_tear_down);
        g_test_add("/log-gelf/chunks", Fixture, NULL, set_up, test_chunks, net_tear_down);
        g_test_add("/log-gelf/gzip", Fixture, "gzip", set_up, test_compression, net_tear_down);
        g_test_add("/log-gelf/zlib", Fixture, "zlib", set_up, test_compression, net_tear_down);
        g_test_add("/log-gelf/refused", Fixture, NULL, set_up, test_refused, net_tear_down);
        return g_test_run();
}
