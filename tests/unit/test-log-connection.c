/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Delivered and resent messages, with the syslog driver. */

#include "net-fixture.h"

#include <linux/filter.h>
#include <netdb.h>
#include <time.h>

typedef NetFixture Fixture;

/* Replaces GLib's clock in this program. It may be put forward while the main loop does not run, whose
 * alarm is set by the kernel's clock. */
static gint64 ahead_usec;

gint64
g_get_monotonic_time(void)
{
        struct timespec now;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (gint64)now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000 + ahead_usec;
}

/* Replaces libc's function, to restart the server between two of its datagrams; NULL: it is not restarted. As
 * in the kernel, only an error of the first datagram is returned. */
static Fixture *restarted;

int
sendmmsg(int fd, struct mmsghdr *messages, unsigned n, SENDMMSG_FLAGS flags)
{
        static int n_datagrams;
        for (unsigned i = 0; i < n; i++) {
                if (restarted && n_datagrams == 1)
                        (void)close(restarted->fd);
                if (restarted && n_datagrams == 2)
                        restarted->fd = net_listen(SOCK_DGRAM, &restarted->port);
                n_datagrams += restarted != NULL;
                if (sendmsg(fd, &messages[i].msg_hdr, (int)flags) < 0)
                        return i > 0 ? (int)i : -1;
        }
        return (int)n;
}

static void
set_up(Fixture *f, gconstpointer data)
{
        net_set_up(f, "syslog");
        net_add_option(f, "tag=t");
}

static char *
message(const char *line)
{
        return g_strdup_printf("<30>Nov 15 03:43:20 t[%d]: %s\n", getpid(), line);
}

static void
expect(int fd, const char *line)
{
        g_autofree char *text = message(line);
        net_expect(fd, text);
}

static void
check_counts(Fixture *f, uint64_t out, uint64_t sent)
{
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "out", "records"), ==, out);
        g_assert_cmpuint(net_count(status, "sent", "records"), ==, sent);
}

static void
start(Fixture *f, int type)
{
        f->fd = net_listen(type, &f->port);
        net_add_option(f, "syslog-address=%s://127.0.0.1:%u", type == SOCK_STREAM ? "tcp" : "udp", f->port);
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
}

/* Drops all incoming packets of this socket in the kernel, as if the host were unreachable. Returns false if
 * that is not permitted. */
static bool
vanish(int fd)
{
        struct sock_filter drop = BPF_STMT(BPF_RET | BPF_K, 0);
        struct sock_fprog program = {1, &drop};
        if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0)
                return true;
        g_assert_cmpint(errno, ==, EPERM);
        g_test_skip("socket filters are not permitted");
        return false;
}

/* Data that a server has not read when it closes its socket is sent to the next one; data that it has read is
 * not. */
static void
test_unix_unread(Fixture *f, gconstpointer data)
{
        f->fd = net_listen_unix(SOCK_STREAM, f->path);
        net_add_option(f, "syslog-address=unix://%s", f->path);
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        expect(fd, "one");
        net_wait_delivered(f->log, f->dir, 4);
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        log_fixture_write(f->log, STREAM_STDOUT, "three\n");
        net_wait_readable(fd);
        net_run(50);
        check_counts(f, 1, 3);
        (void)close(fd);
        fd = net_accept(f->fd);
        expect(fd, "two");
        expect(fd, "three");
        net_wait_delivered(f->log, f->dir, 14);
        check_counts(f, 3, 3);
        (void)close(fd);
}

/* The connection to a peer that does not acknowledge any more is closed, and the next server gets the
 * data. */
static void
test_peer_vanishes(Fixture *f, gconstpointer data)
{
        net_add_option(f, "peer-timeout=1s");
        start(f, SOCK_STREAM);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        expect(fd, "one");
        net_wait_delivered(f->log, f->dir, 4);
        if (!vanish(fd)) {
                (void)close(fd);
                return;
        }
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        net_run(300);
        check_counts(f, 1, 2);
        int next = net_accept(f->fd);
        expect(next, "two");
        net_wait_delivered(f->log, f->dir, 8);
        g_autofree char *status = net_status(f->log, f->dir);
        g_assert_nonnull(strstr(status, "\"last\":\"the server has not responded for 1 seconds\""));
        (void)close(fd);
        (void)close(next);
}

/* The connection to a peer that acknowledges, but does not read, is kept. */
static void
test_peer_is_busy(Fixture *f, gconstpointer data)
{
        net_add_option(f, "peer-timeout=3s");
        net_add_option(f, "max-buffer-size=64m");
        start(f, SOCK_STREAM);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        g_autofree char *line = g_strnfill(7000, 'x'), *text = g_strconcat(line, "\n", NULL);
        for (int i = 0; i < 2000; i++)
                log_fixture_write(f->log, STREAM_STDOUT, text);
        net_run(5000);
        expect(fd, "one");
        for (int i = 0; i < 2000; i++)
                expect(fd, line);
        net_wait_delivered(f->log, f->dir, 4 + 2000 * 7001);
        (void)close(fd);
}

/* A server that closes the connection: the next one gets all messages from the first unacknowledged one, each
 * from its start. */
static void
test_server_ends(Fixture *f, gconstpointer data)
{
        int small = 4096;
        net_add_option(f, "max-buffer-size=64m");
        f->fd = net_listen(SOCK_STREAM, &f->port);
        net_add_option(f, "syslog-address=tcp://127.0.0.1:%u", f->port);
        g_assert_cmpint(setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), ==, 0);
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        for (int i = 0; i < 3000; i++) {
                g_autofree char *text = g_strdup_printf("%07000d\n", i);
                log_fixture_write(f->log, STREAM_STDOUT, text);
        }
        int fd = net_accept(f->fd);
        net_run(100);
        g_autofree char *status = net_status(f->log, f->dir);
        uint64_t out = net_count(status, "out", "records");
        g_assert_cmpuint(out, <, 3000);
        g_assert_cmpuint(net_count(status, "sent", "records"), >, out);
        (void)close(fd);
        fd = net_accept(f->fd);
        for (uint64_t i = out; i < 3000; i++) {
                g_autofree char *text = g_strdup_printf("%07000d", (int)i);
                expect(fd, text);
        }
        net_wait_delivered(f->log, f->dir, 3000 * 7001);
        (void)close(fd);
}

static int
count_mappings(void)
{
        g_autofree char *maps = NULL;
        g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
        int n = 0;
        for (const char *at = maps; (at = strchr(at, '\n')); at++)
                n++;
        return n;
}

/* The queue's memory is freed after delivery, also if that takes longer than the time after which the log
 * counts as idle. */
static void
test_memory_after_an_outage(Fixture *f, gconstpointer data)
{
        start(f, SOCK_STREAM);
        (void)close(f->fd);
        int mappings = count_mappings();
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        net_run(2300);
        f->fd = net_listen(SOCK_STREAM, &f->port);
        net_wait_delivered(f->log, f->dir, 4);
        g_assert_cmpint(count_mappings(), >, mappings);
        for (int i = 0; count_mappings() > mappings; i++) {
                g_assert_cmpint(i, <, 20);
                net_run(500);
        }
}

/* Refused datagrams are not counted as delivered, and stay queued. */
static void
test_udp_refused(Fixture *f, gconstpointer data)
{
        start(f, SOCK_DGRAM);
        (void)close(f->fd);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        net_run(50);
        check_counts(f, 0, 0);
        g_autofree char *status = net_status(f->log, f->dir);
        g_assert_nonnull(strstr(status, "\"state\":\"failing\""));
        f->fd = net_listen(SOCK_DGRAM, &f->port);
        g_autofree char *one = message("one"), *two = message("two");
        net_expect_datagram(f->fd, one);
        net_expect_datagram(f->fd, two);
        net_wait_delivered(f->log, f->dir, 8);
}

/* The second datagram is refused while further ones are sent: the first two are sent again. */
static void
test_udp_refused_meanwhile(Fixture *f, gconstpointer data)
{
        static const char *const lines[] = {"one", "two", "three", "four"};
        start(f, SOCK_DGRAM);
        restarted = f;
        log_fixture_write(f->log, STREAM_STDOUT, "one\ntwo\nthree\nfour\n");
        restarted = NULL;
        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
                g_autofree char *text = message(lines[i]);
                net_expect_datagram(f->fd, text);
        }
        net_wait_delivered(f->log, f->dir, 19);
}

static void
on_drained(void *data)
{
}

/* At the end they are dropped with the right cause. */
static void
test_udp_refused_to_the_end(Fixture *f, gconstpointer data)
{
        net_add_option(f, "drain-timeout=100ms");
        start(f, SOCK_DGRAM);
        (void)close(f->fd);
        f->fd = -1;
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        net_run(10);
        log_finish_local(f->log, 0);
        log_drain(f->log, on_drained, NULL);
        net_run(500);
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "refused", "records"), ==, 1);
}

/* Reads a datagram, without its header, into `text`. */
static void
read_line(int fd, char *text, size_t size)
{
        char bytes[1024];
        net_wait_readable(fd);
        ssize_t n = recv(fd, bytes, sizeof bytes - 1, 0);
        g_assert_cmpint((int)n, >, 0);
        bytes[n] = '\0';
        const char *line = strstr(bytes, "]: ");
        g_assert_nonnull(line);
        (void)g_strlcpy(text, line + strlen("]: "), size);
}

/* A server that returns gets the rest of the queue and then, once, the number of dropped records. */
static void
test_udp_refusals_are_reported(Fixture *f, gconstpointer data)
{
        net_add_option(f, "max-buffer-size=1k");
        start(f, SOCK_DGRAM);
        for (int round = 1; round <= 2; round++) {
                (void)close(f->fd);
                for (int i = 0; i < 100; i++)
                        log_fixture_write(f->log, STREAM_STDOUT, "line\n");
                net_run(50);
                g_autofree char *status = net_status(f->log, f->dir);
                uint64_t queued = net_count(status, "queued", "records"),
                         lost = 100 * (uint64_t)round - net_count(status, "out", "records") - queued;
                g_assert_cmpuint(net_count(status, "refused", "records"), ==, lost);
                f->fd = net_listen(SOCK_DGRAM, &f->port);
                char text[200];
                for (uint64_t i = 0; i < queued; i++) {
                        read_line(f->fd, text, sizeof text);
                        g_assert_cmpstr(text, ==, "line\n");
                }
                read_line(f->fd, text, sizeof text);
                g_autofree char *report =
                        g_strdup_printf("conmon: %d records dropped: refused\n", 100 - (int)queued);
                g_assert_cmpstr(text, ==, report);
                g_assert_cmpuint(lost, ==, (uint64_t)round * (100 - queued));
        }
        log_fixture_write(f->log, STREAM_STDOUT, "last\n");
        g_autofree char *last = message("last");
        net_expect_datagram(f->fd, last);
        net_expect_nothing(f->fd);
}

/* A host with several addresses, of which the server listens only on the last one. */
static void
test_udp_next_address(Fixture *f, gconstpointer data)
{
        struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *list, *last;
        g_assert_cmpint(getaddrinfo("localhost", NULL, &hints, &list), ==, 0);
        for (last = list; last->ai_next; last = last->ai_next)
                continue;
        f->fd = socket(last->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_assert_cmpint(bind(f->fd, last->ai_addr, last->ai_addrlen), ==, 0);
        struct sockaddr_in6 own; /* the port has the same offset in both families */
        socklen_t len = sizeof own;
        g_assert_cmpint(getsockname(f->fd, (struct sockaddr *)&own, &len), ==, 0);
        if (last == list)
                g_test_message("localhost has one address only");
        freeaddrinfo(list);
        net_add_option(f, "syslog-address=udp://localhost:%u", ntohs(own.sin6_port));
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        g_autofree char *one = message("one"), *two = message("two");
        net_expect_datagram(f->fd, one);
        net_expect_datagram(f->fd, two);
        net_wait_delivered(f->log, f->dir, 8);
}

/* The log's socket, which sends to this address. */
static int
find_socket(const struct sockaddr_storage *server)
{
        for (int fd = 3; fd < 1000; fd++) {
                struct sockaddr_storage peer = {0};
                socklen_t len = sizeof peer;
                if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
                    memcmp(&peer, server, sizeof peer) == 0)
                        return fd;
        }
        g_assert_not_reached();
}

/* Returns a socket that receives at a free port of this host, and its address. */
static int
receive_at(const struct addrinfo *host, struct sockaddr_storage *ret)
{
        socklen_t len = sizeof *ret;
        int fd = socket(host->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        *ret = (struct sockaddr_storage){0};
        g_assert_cmpint(bind(fd, host->ai_addr, host->ai_addrlen), ==, 0);
        g_assert_cmpint(getsockname(fd, (struct sockaddr *)ret, &len), ==, 0);
        return fd;
}

static void
write_later(Fixture *f, const char *text, int seconds)
{
        ahead_usec = seconds * G_USEC_PER_SEC;
        log_fixture_write(f->log, STREAM_STDOUT, text);
        ahead_usec = 0;
}

/* The name is resolved again after a minute, and the socket that sends to an address (here: a port) that
 * was not found is replaced. */
static void
test_udp_moves(Fixture *f, gconstpointer data)
{
        struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *list, *last;
        struct sockaddr_storage server, other;
        g_assert_cmpint(getaddrinfo("localhost", NULL, &hints, &list), ==, 0);
        for (last = list; last->ai_next; last = last->ai_next)
                continue;
        f->fd = receive_at(last, &server);
        int old = receive_at(last, &other);
        socklen_t len = last->ai_addrlen;
        freeaddrinfo(list);
        net_add_option(f, "syslog-address=udp://localhost:%u",
                       ntohs(((struct sockaddr_in *)&server)->sin_port));
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        g_autofree char *one = message("one"), *two = message("two"), *three = message("three");
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        net_expect_datagram(f->fd, one);
        g_assert_cmpint(connect(find_socket(&server), (struct sockaddr *)&other, len), ==, 0);
        write_later(f, "two\n", 55);
        net_run(100);
        net_expect_datagram(old, two);
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        net_expect_datagram(old, two);
        write_later(f, "two\n", 65);
        net_expect_datagram(old, two);
        gint64 end = g_get_monotonic_time() + NET_WAIT_USEC;
        for (GPollFD p = {.fd = f->fd, .events = G_IO_IN}; g_poll(&p, 1, 0) == 0; net_run(10)) {
                g_assert_cmpint(g_get_monotonic_time(), <, end);
                log_fixture_write(f->log, STREAM_STDOUT, "three\n");
        }
        net_expect_datagram(f->fd, three);
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        net_wait_delivered(f->log, f->dir, net_count(status, "in", "bytes"));
        (void)close(old);
}

static void
test_unknown_host(Fixture *f, gconstpointer data)
{
        net_add_option(f, "syslog-address=tcp://nowhere.invalid:1");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        gint64 end = g_get_monotonic_time() + NET_WAIT_USEC;
        g_autofree char *status = NULL;
        do {
                g_assert_cmpint(g_get_monotonic_time(), <, end);
                net_run(20);
                g_free(status);
                status = net_status(f->log, f->dir);
        } while (!strstr(status, "\"last\":\"the"));
        /* The second one if there is no name server. */
        g_assert_true(strstr(status, "\"the host name 'nowhere.invalid' was not found\"") ||
                      strstr(status, "\"the name server gave no answer for 'nowhere.invalid'\""));
}

int
main(int argc, char **argv)
{
        log_fixture_set_up();
        g_test_init(&argc, &argv, NULL);
#define ADD(name, function) \
        g_test_add("/log-connection/" name, Fixture, NULL, set_up, function, net_tear_down)
        ADD("unix-unread", test_unix_unread);
        ADD("peer-vanishes", test_peer_vanishes);
        ADD("peer-is-busy", test_peer_is_busy);
        ADD("server-ends", test_server_ends);
        ADD("memory-after-an-outage", test_memory_after_an_outage);
        ADD("udp-refused", test_udp_refused);
        ADD("udp-refused-meanwhile", test_udp_refused_meanwhile);
        ADD("udp-refused-to-the-end", test_udp_refused_to_the_end);
        ADD("udp-refusals-are-reported", test_udp_refusals_are_reported);
        ADD("udp-next-address", test_udp_next_address);
        ADD("udp-moves", test_udp_moves);
        ADD("unknown-host", test_unknown_host);
        return g_test_run();
}
