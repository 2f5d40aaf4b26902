/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "net-fixture.h"

#include <netdb.h>
#include <stdlib.h>

typedef NetFixture Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
        net_set_up(f, "syslog");
        f->config.name = "web";
}

static char *
host_name(void)
{
        char name[256] = "";
        g_assert_cmpint(gethostname(name, sizeof name - 1), ==, 0);
        return g_strdup(name);
}

static void
start_tcp(Fixture *f)
{
        f->fd = net_listen(SOCK_STREAM, &f->port);
        net_add_option(f, "syslog-address=tcp://127.0.0.1:%u", f->port);
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
}

static void
test_local(Fixture *f, gconstpointer data)
{
        start_tcp(f);
        log_fixture_write(f->log, STREAM_STDOUT, "hello\n\n");
        log_fixture_write(f->log, STREAM_STDERR, "oh\n");
        int fd = net_accept(f->fd);
        g_autofree char *expected = g_strdup_printf("<30>Nov 15 03:43:20 0123456789ab[%d]: hello\n<30>Nov 15 "
                                                    "03:43:20 0123456789ab[%d]: \n"
                                                    "<27>Nov 15 03:43:20 0123456789ab[%d]: oh\n",
                                                    getpid(), getpid(), getpid());
        net_expect(fd, expected);
        (void)close(fd);
}

static void
test_rfc3164(Fixture *f, gconstpointer data)
{
        g_autofree char *host = host_name();
        f->fd = net_listen(SOCK_DGRAM, &f->port);
        net_add_option(f, "syslog-address=udp://127.0.0.1:%u", f->port);
        net_add_option(f, "syslog-format=rfc3164");
        net_add_option(f, "syslog-facility=local3");
        net_add_option(f, "tag={{.Name}}/a b[c]:");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        int64_t other = TEST_NS - INT64_C(8 * 86400) * 1000000000;
        g_assert_cmpuint(log_write(f->log, STREAM_STDOUT, "x\n", 2, false, other), ==, 2);
        log_flush(f->log);
        g_autofree char *expected =
                g_strdup_printf("<158>Nov  7 03:43:20 %s web/a_b_c__[%d]: x\n", host, getpid());
        net_expect_datagram(f->fd, expected);
}

static void
test_rfc5424(Fixture *f, gconstpointer data)
{
        g_autofree char *host = host_name();
        bool micro = data != NULL;
        char *labels[] = {(char *)"A=b\"]\\=", NULL};
        f->config.labels = labels;
        net_add_option(f, "syslog-format=%s", micro ? "rfc5424micro" : "rfc5424");
        net_add_option(f, "tag={{.Name}}");
        start_tcp(f);
        log_fixture_write(f->log, STREAM_STDOUT, "hello\n");
        int fd = net_accept(f->fd);
        g_autofree char *message = g_strdup_printf("<30>1 2023-11-15T03:43:20%s+05:30 %s web %d web "
                                                   "[attributes@32473 A=\"b\\\"\\]\\\\=\"] hello",
                                                   micro ? ".123456" : "", host, getpid());
        g_autofree char *frame = g_strdup_printf("%zu %s", strlen(message), message);
        net_expect(fd, frame);
        (void)close(fd);
}

/* With many attributes a message stays within 8000 bytes: the last ones are omitted. */
static void
test_long_attributes(Fixture *f, gconstpointer data)
{
        g_autofree char *value = g_strnfill(3500, 'v'), *host = host_name(), *line = g_strnfill(20000, 'x');
        g_autofree char *a = g_strconcat("A=", value, NULL), *b = g_strconcat("B=", value, NULL);
        char *labels[] = {a, b, (char *)"C=c", NULL};
        f->config.labels = labels;
        net_add_option(f, "syslog-format=rfc5424");
        start_tcp(f);
        log_fixture_write(f->log, STREAM_STDOUT, line);
        log_fixture_write(f->log, STREAM_STDOUT, "\n");
        int fd = net_accept(f->fd);
        g_autofree char *head = g_strdup_printf("<30>1 2023-11-15T03:43:20+05:30 %s 0123456789ab %d "
                                                "0123456789ab [attributes@32473 A=\"%s\" C=\"c\"]",
                                                host, getpid(), value);
        size_t got = 0;
        while (got < strlen(line)) {
                GString *count = net_read(fd, 5);
                size_t len = g_ascii_strtoull(count->str, NULL, 10);
                g_assert_cmpuint(len, <=, 8000);
                g_assert_cmpint(count->str[4], ==, ' ');
                GString *message = net_read(fd, len);
                g_assert_true(g_str_has_prefix(message->str, head));
                const char *text = strstr(message->str + strlen(head), "\"] ") + 3;
                got += strspn(text, "x");
                g_assert_cmpint(text[strspn(text, "x")], ==, '\0');
                g_string_free(count, TRUE);
                g_string_free(message, TRUE);
        }
        g_assert_cmpuint(got, ==, strlen(line));
        (void)close(fd);
}

/* A long tag leaves room for the line. The old formats have no attributes. */
static void
test_long_tag(Fixture *f, gconstpointer data)
{
        g_autofree char *value = g_strnfill(9000, 'v'), *line = g_strnfill(20000, 'x');
        g_autofree char *label = g_strconcat("A=", value, NULL);
        char *labels[] = {label, NULL};
        f->config.labels = labels;
        f->config.tag = value;
        net_add_option(f, "syslog-format=");
        start_tcp(f);
        log_fixture_write(f->log, STREAM_STDOUT, line);
        log_fixture_write(f->log, STREAM_STDOUT, "\n");
        int fd = net_accept(f->fd);
        g_autofree char *head =
                g_strdup_printf("<30>Nov 15 03:43:20 %.1024s[%d]: ", value, getpid());
        /* Three messages; what a message has around its text is counted generously. */
        GString *all = net_read(fd, strlen(line) + 3 * (strlen(head) + 1));
        g_auto(GStrv) messages = g_strsplit(all->str, "\n", -1);
        g_assert_cmpuint(g_strv_length(messages), ==, 4);
        for (size_t i = 0; i < 3; i++) {
                g_assert_cmpuint(strlen(messages[i]), <=, 8000);
                g_assert_true(g_str_has_prefix(messages[i], head));
        }
        g_string_free(all, TRUE);
        (void)close(fd);
}

/* The prefix of a line sets the severity of all of its parts; the next line has its own. */
static void
test_severity(Fixture *f, gconstpointer data)
{
        net_add_option(f, "parse-prefix=yes");
        net_add_option(f, "priority-stdout=5");
        net_add_option(f, "priority-stderr=4");
        net_add_option(f, "max-record=64");
        net_add_option(f, "tag=t");
        start_tcp(f);
        g_autofree char *long_line = g_strdup_printf("<2>%061d%064d%d\n", 1, 2, 3);
        log_fixture_write(f->log, STREAM_STDOUT, "<0>a\n<8>b\n");
        log_fixture_write(f->log, STREAM_STDOUT, long_line);
        log_fixture_write(f->log, STREAM_STDOUT, "<7>\nc\n");
        log_fixture_write(f->log, STREAM_STDERR, "d\n");
        int fd = net_accept(f->fd);
        static const struct {
                int priority, width;
                const char *message;
        } cases[] = {{24, 0, "a"}, {29, 0, "<8>b"}, {26, 61, "1"}, {26, 64, "2"},
                     {26, 0, "3"}, {31, 0, ""},     {29, 0, "c"},  {28, 0, "d"}};
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *zeros = g_strnfill((size_t)MAX(cases[i].width - 1, 0), '0');
                g_autofree char *expected =
                        g_strdup_printf("<%d>Nov 15 03:43:20 t[%d]: %s%s\n", cases[i].priority, getpid(),
                                        zeros, cases[i].message);
                net_expect(fd, expected);
        }
        (void)close(fd);
}

/* On a local stream there is no octet counting. A line of more than max-record bytes is sent in marked
 * parts. */
static void
test_partial(Fixture *f, gconstpointer data)
{
        /* 8000 bytes end in the euro sign. */
        g_autofree char *line = g_strnfill(7998, 'x'), *path = g_build_filename(f->dir, "socket", NULL);
        g_autofree char *host = host_name();
        f->fd = net_listen_unix(SOCK_STREAM, path);
        net_add_option(f, "syslog-address=unix://%s", path);
        net_add_option(f, "syslog-format=rfc5424");
        net_add_option(f, "max-record=8000");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, line);
        log_fixture_write(f->log, STREAM_STDOUT, "\xe2\x82\xac end\n");
        int fd = net_accept(f->fd);
        g_autofree char *head = g_strdup_printf(
                "<30>1 2023-11-15T03:43:20+05:30 %s 0123456789ab %d 0123456789ab ", host, getpid());
        net_expect(fd, head);
        GString *id = net_read(fd, strlen("[partial@32473 id=\"0123456789abcdef"));
        g_assert_true(g_str_has_prefix(id->str, "[partial@32473 id=\""));
        g_autofree char *rest = g_strconcat("\" ordinal=\"1\" last=\"false\"] ", line, "\n", head, id->str,
                                            "\" ordinal=\"2\" last=\"true\"] \xe2\x82\xac end\n", NULL);
        net_expect(fd, rest);
        g_string_free(id, TRUE);
        (void)close(fd);
}

/* Records queued without a server arrive when there is one, once and complete. */
static void
test_late_server(Fixture *f, gconstpointer data)
{
        net_add_option(f, "tag=t");
        f->fd = net_listen(SOCK_STREAM, &f->port);
        (void)close(f->fd);
        net_add_option(f, "syslog-address=tcp://127.0.0.1:%u", f->port);
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        net_run(50);
        f->fd = net_listen(SOCK_STREAM, &f->port);
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        int fd = net_accept(f->fd);
        g_autofree char *expected = g_strdup_printf(
                "<30>Nov 15 03:43:20 t[%d]: one\n<30>Nov 15 03:43:20 t[%d]: two\n", getpid(), getpid());
        net_expect(fd, expected);
        (void)close(fd);
        net_run(20);
        log_fixture_write(f->log, STREAM_STDOUT, "three\n");
        fd = net_accept(f->fd);
        g_autofree char *third = g_strdup_printf("<30>Nov 15 03:43:20 t[%d]: three\n", getpid());
        net_expect(fd, third);
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "out", "bytes"), ==, 14);
        (void)close(fd);
}

/* A server that accepts and does not read: the queue is limited, the container continues, the counters are
 * correct. A partially sent message is continued, and dropped records are reported. */
static void
test_server_does_not_read(Fixture *f, gconstpointer data)
{
        net_add_option(f, "tag=t");
        net_add_option(f, "mode=non-blocking");
        start_tcp(f);
        log_fixture_write(f->log, STREAM_STDOUT, "first\n");
        int fd = net_accept(f->fd);
        g_autofree char *line = g_strnfill(999, 'x');
        g_autofree char *text = g_strconcat(line, "\n", NULL);
        for (int i = 0; i < 8000; i++)
                log_fixture_write(f->log, STREAM_STDOUT, text);
        g_assert_true(log_wants(f->log, STREAM_STDOUT));
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "not-connected", "records"), >, 0);
        uint64_t dropped = net_count(status, "not-connected", "records");

        uint64_t n = 8001 - dropped;
        g_autofree char *frame = g_strdup_printf("<30>Nov 15 03:43:20 t[%d]: ", getpid());
        GString *all = net_read(fd, n * strlen(frame) + 6 + (n - 1) * 1000);
        g_auto(GStrv) lines = g_strsplit(all->str, "\n", -1);
        g_assert_cmpuint(g_strv_length(lines), ==, n + 1);
        for (size_t i = 1; i < n; i++) {
                g_assert_true(g_str_has_prefix(lines[i], frame));
                g_assert_cmpstr(lines[i] + strlen(frame), ==, line);
        }
        g_string_free(all, TRUE);
        g_autofree char *said =
                g_strdup_printf("conmon: %" G_GUINT64_FORMAT " records dropped: not connected\n", dropped);
        all = net_read(fd, strlen(frame) + strlen(said));
        g_assert_true(g_str_has_suffix(all->str, said));
        g_string_free(all, TRUE);
        (void)close(fd);
}

/* The server sends data, which is ignored, and closes the connection within a message. */
static void
test_broken_server(Fixture *f, gconstpointer data)
{
        g_autofree char *line = g_strnfill(7000, 'x');
        g_autofree char *text = g_strconcat(line, "\n", NULL);
        net_add_option(f, "tag=t");
        net_add_option(f, "max-buffer-size=64m");
        start_tcp(f);
        log_fixture_write(f->log, STREAM_STDOUT, "first\n");
        int fd = net_accept(f->fd), on = 1;
        g_assert_cmpint((int)write(fd, "garbage", 7), ==, 7);
        net_run(20);
        for (int i = 0; i < 2000; i++)
                log_fixture_write(f->log, STREAM_STDOUT, text);
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){on, 0}, sizeof(struct linger));
        (void)close(fd);
        fd = net_accept(f->fd);
        g_autofree char *frame = g_strdup_printf("<30>Nov 15 03:43:20 t[%d]: ", getpid());
        net_expect(fd, frame);
        net_expect(fd, text);
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        (void)close(fd);
}

/* A socket bound to the first address of localhost, of either family. */
static int
receive_at_localhost(uint16_t *ret_port)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM};
        struct addrinfo *list = NULL;
        g_assert_cmpint(getaddrinfo("localhost", NULL, &hints, &list), ==, 0);
        int fd = socket(list->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_assert_cmpint(bind(fd, list->ai_addr, list->ai_addrlen), ==, 0);
        freeaddrinfo(list);
        struct sockaddr_in6 own; /* the port has the same offset in both families */
        socklen_t len = sizeof own;
        g_assert_cmpint(getsockname(fd, (struct sockaddr *)&own, &len), ==, 0);
        *ret_port = ntohs(own.sin6_port);
        return fd;
}

static void
test_too_large(Fixture *f, gconstpointer data)
{
        f->fd = receive_at_localhost(&f->port);
        net_add_option(f, "syslog-address=udp://localhost:%u", f->port);
        net_add_option(f, "max-record=100k");
        net_add_option(f, "tag=t");
        g_autofree char *line = g_strnfill(70000, 'x');
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, line);
        log_fixture_write(f->log, STREAM_STDOUT, "\nsmall\n");
        g_autofree char *small = g_strdup_printf("<30>Nov 15 03:43:20 t[%d]: small\n", getpid());
        net_expect_datagram(f->fd, small);
        log_fixture_write(f->log, STREAM_STDOUT, "");
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "encoding", "bytes"), ==, 70001);
        g_assert_cmpuint(net_count(status, "out", "bytes"), ==, 6);
}

static void
test_refused(Fixture *f, gconstpointer data)
{
        static const char *const cases[][2] = {
                {"syslog-address=tls://x",
                 "Log driver syslog: option syslog-address can't be 'tls://x'; allowed: unix://PATH, "
                 "unixgram://PATH, udp://HOST[:PORT], tcp://HOST[:PORT], tcp+tls://HOST[:PORT]"},
                {"syslog-address=tcp://h:0", NULL},
                {"syslog-address=tcp://h:65536", NULL},
                {"syslog-address=tcp://:514", NULL},
                {"syslog-address=tcp://[::1", NULL},
                {"syslog-address=tcp://[::1]514", NULL},
                {"syslog-address=tcp://h/", NULL},
                {"syslog-address=udp://me@h:514", NULL},
                {"syslog-address=udp:// h", NULL},
                {"syslog-address=unix://rel", NULL},
                {"syslog-facility=local8",
                 "Log driver syslog: option syslog-facility can't be 'local8'; allowed: kern, user, "
                 "mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, local0 to "
                 "local7, 0 to 23"},
                {"syslog-facility=24", NULL},
                {"syslog-format=rfc9",
                 "Log driver syslog: option syslog-format can't be 'rfc9'; allowed: rfc3164, rfc5424, "
                 "rfc5424micro, or nothing"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                char *opts[] = {(char *)cases[i][0], NULL};
                g_autofree char *message = log_fixture_refusal(&f->config, f->drivers, opts);
                if (cases[i][1])
                        g_assert_cmpstr(message, ==, cases[i][1]);
                else
                        g_assert_true(g_str_has_prefix(message, "Log driver syslog: option syslog-"));
        }
}

/* A message is not longer than servers accept, with any header. */
static void
test_long_message(Fixture *f, gconstpointer data)
{
        static char *labels[] = {(char *)"A=0123456789012345678901234567890123456789", NULL};
        f->config.labels = labels;
        net_add_option(f, "syslog-format=%s", (const char *)data);
        start_tcp(f);
        g_autofree char *line = g_strnfill(8050, 'x');
        log_fixture_write(f->log, STREAM_STDOUT, line);
        log_fixture_write(f->log, STREAM_STDOUT, "\n");
        int fd = net_accept(f->fd);
        GString *text = net_read(fd, 7000);
        size_t len = text->len;
        /* The new format begins with the length and a blank, the old one ends with a newline. */
        if (strcmp(data, "rfc5424") == 0)
                len = strtoul(text->str, NULL, 10) + strlen("7000 ");
        for (char c = '\0'; strcmp(data, "rfc3164") == 0 && c != '\n'; len++) {
                net_wait_readable(fd);
                g_assert_cmpint((int)read(fd, &c, 1), ==, 1);
        }
        g_string_free(text, TRUE);
        g_assert_cmpuint(len, <=, 8000);
        g_assert_cmpuint(len, >, 7000);
        (void)close(fd);
}

/* A local socket of a different type than the address says. */
static void
test_other_type(Fixture *f, gconstpointer data)
{
        bool datagram = data != NULL;
        f->fd = net_listen_unix(datagram ? SOCK_DGRAM : SOCK_STREAM, f->path);
        net_add_option(f, "syslog-address=%s://%s", datagram ? "unix" : "unixgram", f->path);
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "x\n");
        g_autofree char *expected = g_strdup_printf("<30>Nov 15 03:43:20 0123456789ab[%d]: x\n", getpid());
        if (datagram) {
                net_expect_datagram(f->fd, expected);
                return;
        }
        int fd = net_accept(f->fd);
        net_expect(fd, expected);
        (void)close(fd);
}

int
main(int argc, char **argv)
{
        log_fixture_set_up();
        g_test_init(&argc, &argv, NULL);
        g_test_add("/log-syslog/local", Fixture, NULL, set_up, test_local, net_tear_down);
        g_test_add("/log-syslog/rfc3164", Fixture, NULL, set_up, test_rfc3164, net_tear_down);
        g_test_add("/log-syslog/rfc5424", Fixture, NULL, set_up, test_rfc5424, net_tear_down);
        g_test_add("/log-syslog/rfc5424micro", Fixture, "x", set_up, test_rfc5424, net_tear_down);
        g_test_add("/log-syslog/long-attributes", Fixture, NULL, set_up, test_long_attributes, net_tear_down);
        g_test_add("/log-syslog/long-tag", Fixture, NULL, set_up, test_long_tag, net_tear_down);
        g_test_add("/log-syslog/severity", Fixture, NULL, set_up, test_severity, net_tear_down);
        g_test_add("/log-syslog/partial", Fixture, NULL, set_up, test_partial, net_tear_down);
        g_test_add("/log-syslog/late-server", Fixture, NULL, set_up, test_late_server, net_tear_down);
        g_test_add("/log-syslog/server-does-not-read", Fixture, NULL, set_up, test_server_does_not_read,
                   net_tear_down);
        g_test_add("/log-syslog/broken-server", Fixture, NULL, set_up, test_broken_server, net_tear_down);
        g_test_add("/log-syslog/too-large", Fixture, NULL, set_up, test_too_large, net_tear_down);
        g_test_add("/log-syslog/refused", Fixture, NULL, set_up, test_refused, net_tear_down);
        g_test_add("/log-syslog/long-message-old", Fixture, "rfc3164", set_up, test_long_message,
                   net_tear_down);
        g_test_add("/log-syslog/long-message-new", Fixture, "rfc5424", set_up, test_long_message,
                   net_tear_down);
        g_test_add("/log-syslog/datagram-as-stream", Fixture, "x", set_up, test_other_type, net_tear_down);
        g_test_add("/log-syslog/stream-as-datagram", Fixture, NULL, set_up, test_other_type, net_tear_down);
        return g_test_run();
}
