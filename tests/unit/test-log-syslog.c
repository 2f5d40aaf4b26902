#include "net-fixture.h"

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
        f->log = log_fixture_start(&f->config);
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
        f->log = log_fixture_start(&f->config);
        int64_t other = TEST_NS - INT64_C(8 * 86400) * 1000000000;
        g_assert_cmpuint(log_write(f->log, STREAM_STDOUT, "x\n", 2, false, other), ==, 2);
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

/* Over a local stream there is no length in front. A line of more than 8000 bytes comes in marked pieces. */
static void
test_partial(Fixture *f, gconstpointer data)
{
        /* 8000 bytes end in the euro sign. */
        g_autofree char *line = g_strnfill(7998, 'x'), *path = g_build_filename(f->dir, "socket", NULL);
        g_autofree char *host = host_name();
        f->fd = net_listen_unix(SOCK_STREAM, path);
        net_add_option(f, "syslog-address=unix://%s", path);
        net_add_option(f, "syslog-format=rfc5424");
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, line);
        log_fixture_write(f->log, STREAM_STDOUT, "\xe2\x82\xac end\n");
        int fd = net_accept(f->fd);
        g_autofree char *head =
                g_strdup_printf("<30>1 2023-11-15T03:43:20+05:30 %s 0123456789ab %d 0123456789ab ", host,
                                getpid());
        net_expect(fd, head);
        GString *id = net_read(fd, strlen("[partial@32473 id=\"0123456789abcdef"));
        g_assert_true(g_str_has_prefix(id->str, "[partial@32473 id=\""));
        g_autofree char *rest = g_strconcat("\" ordinal=\"1\" last=\"false\"] ", line, "\n", head, id->str,
                                            "\" ordinal=\"2\" last=\"true\"] \xe2\x82\xac end\n", NULL);
        net_expect(fd, rest);
        g_string_free(id, TRUE);
        (void)close(fd);
}

/* What is queued while there is no server arrives when there is one; nothing twice, nothing lost. */
static void
test_late_server(Fixture *f, gconstpointer data)
{
        net_add_option(f, "tag=t");
        f->fd = net_listen(SOCK_STREAM, &f->port);
        (void)close(f->fd);
        net_add_option(f, "syslog-address=tcp://127.0.0.1:%u", f->port);
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        net_run(50);
        f->fd = net_listen(SOCK_STREAM, &f->port);
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        int fd = net_accept(f->fd);
        g_autofree char *expected =
                g_strdup_printf("<30>Nov 15 03:43:20 t[%d]: one\n<30>Nov 15 03:43:20 t[%d]: two\n", getpid(),
                                getpid());
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

/* A server that accepts and does not read: the queue is bounded, the container goes on, the sum is right. A
 * message that was sent in part goes on where it was, and what was dropped is told. */
static void
test_deaf_server(Fixture *f, gconstpointer data)
{
        net_add_option(f, "tag=t");
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
        g_assert_cmpuint(net_count(status, "queue-full", "records"), >, 0);
        uint64_t dropped = net_count(status, "queue-full", "records");

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
                g_strdup_printf("conmon: %" G_GUINT64_FORMAT " records dropped: queue full\n", dropped);
        all = net_read(fd, strlen(frame) + strlen(said));
        g_assert_true(g_str_has_suffix(all->str, said));
        g_string_free(all, TRUE);
        (void)close(fd);
}

/* The server says something, which is read and ignored, and goes away in the middle of a message. */
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

static void
test_too_large(Fixture *f, gconstpointer data)
{
        f->fd = net_listen(SOCK_DGRAM, &f->port);
        net_add_option(f, "syslog-address=udp://localhost:%u", f->port);
        net_add_option(f, "max-record=100k");
        net_add_option(f, "tag=t");
        g_autofree char *line = g_strnfill(70000, 'x');
        f->log = log_fixture_start(&f->config);
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
                {"syslog-address=tcp+tls://x",
                 "Log driver syslog: option syslog-address can't be 'tcp+tls://x'; allowed: "
                 "unix://PATH, unixgram://PATH, udp://HOST[:PORT], tcp://HOST[:PORT]"},
                {"syslog-address=tcp://h:0", NULL},
                {"syslog-address=tcp://h:65536", NULL},
                {"syslog-address=tcp://:514", NULL},
                {"syslog-address=tcp://[::1", NULL},
                {"syslog-address=tcp://[::1]514", NULL},
                {"syslog-address=unix://rel", NULL},
                {"syslog-facility=local8",
                 "Log driver syslog: option syslog-facility can't be 'local8'; allowed: kern, user, "
                 "mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp, local0 to "
                 "local7, 0 to 23"},
                {"syslog-facility=24", NULL},
                {"syslog-format=rfc9",
                 "Log driver syslog: option syslog-format can't be 'rfc9'; allowed: rfc3164, rfc5424, "
                 "rfc5424micro"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                char *opts[] = {(char *)cases[i][0], NULL};
                f->config.options = opts;
                g_assert_null(log_new(&f->config, &error));
                if (cases[i][1])
                        g_assert_cmpstr(error->message, ==, cases[i][1]);
                else
                        g_assert_true(g_str_has_prefix(error->message, "Log driver syslog: option syslog-"));
        }
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
        g_test_add("/log-syslog/partial", Fixture, NULL, set_up, test_partial, net_tear_down);
        g_test_add("/log-syslog/late-server", Fixture, NULL, set_up, test_late_server, net_tear_down);
        g_test_add("/log-syslog/deaf-server", Fixture, NULL, set_up, test_deaf_server, net_tear_down);
        g_test_add("/log-syslog/broken-server", Fixture, NULL, set_up, test_broken_server, net_tear_down);
        g_test_add("/log-syslog/too-large", Fixture, NULL, set_up, test_too_large, net_tear_down);
        g_test_add("/log-syslog/refused", Fixture, NULL, set_up, test_refused, net_tear_down);
        return g_test_run();
}
