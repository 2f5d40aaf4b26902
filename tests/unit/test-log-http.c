/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "http-fixture.h"

#include <dlfcn.h>
#include <netdb.h>

typedef NetFixture Fixture;

/* The name server of one domain does not answer. */
int
getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
        __typeof__(&getaddrinfo) next;
        *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
        return g_str_has_suffix(host, ".example") ? EAI_AGAIN : next(host, service, hints, list);
}

static void
set_up(Fixture *f, gconstpointer data)
{
        net_set_up(f, "otlp");
        f->config.name = "web";
        f->fd = net_listen(SOCK_STREAM, &f->port);
        net_add_option(f, "otlp-endpoint=http://127.0.0.1:%u/a", f->port);
}

static void
start(Fixture *f)
{
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
}

/* The number of OTLP records in a body: each has one time. */
static unsigned
count_records(const GString *body)
{
        unsigned n = 0;
        int64_t ns = GINT64_TO_LE(TEST_NS);
        char time[9] = "\x09";
        memcpy(time + 1, &ns, sizeof ns);
        const char *end = body->str + body->len;
        for (const char *at = body->str; (at = memmem(at, (size_t)(end - at), time, sizeof time)); at++)
                n++;
        return n;
}

static unsigned
expect_records(int fd)
{
        GString *body = g_string_new(NULL);
        g_free(http_read_request(fd, body));
        unsigned n = count_records(body);
        g_string_free(body, TRUE);
        return n;
}

/* ---- requests ---- */

static void
test_request(Fixture *f, gconstpointer data)
{
        char host[256] = "";
        g_assert_cmpint(gethostname(host, sizeof host - 1), ==, 0);
        net_add_option(f, "batch-wait=0");
        start(f);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        GString *body = g_string_new(NULL);
        g_autofree char *head = http_read_request(fd, body);
        g_autofree char *expected =
                g_strdup_printf("POST /a/v1/logs HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: conmon\r\n"
                                "Accept-Encoding: identity\r\n"
                                "Content-Type: application/x-protobuf\r\nContent-Length: %zu\r\n\r\n",
                                f->port, body->len);
        g_assert_cmpstr(head, ==, expected);
        g_assert_cmpuint(count_records(body), ==, 1);
        g_string_free(body, TRUE);
        log_fixture_write(f->log, STREAM_STDERR, "\xff\n");
        http_say(fd, HTTP_OK);
        g_assert_cmpuint(expect_records(fd), ==, 1);
        http_say(fd, HTTP_OK);
        http_wait_for_count(f, "out", 2);
        http_expect_in_status(f, "\"http\":{\"requests\":2,\"refused\":0,\"status\":200,\"message\":\"\"}");
        (void)close(fd);
}

static void
test_fields(Fixture *f, gconstpointer data)
{
        g_autofree char *path = g_build_filename(f->dir, "headers", NULL);
        g_assert_true(g_file_set_contents(path, "X-Tenant: a b\r\n\nApi_Key:k\n", -1, NULL));
        g_setenv("TEST_PASSWORD", "pass:word", TRUE);
        net_add_option(f, "batch-wait=0");
        net_add_option(f, "otlp-headers-file=%s", path);
        net_add_option(f, "otlp-user=me");
        net_add_option(f, "otlp-password-env=TEST_PASSWORD");
        start(f);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        g_autofree char *head = http_read_request(fd, NULL);
        g_assert_nonnull(strstr(head, "\r\nX-Tenant: a b\r\nApi_Key: k\r\nAuthorization: Basic "
                                      "bWU6cGFzczp3b3Jk\r\nContent-Type: "));
        (void)close(fd);
}

static void
test_environment(Fixture *f, gconstpointer data)
{
        g_autofree char *url = g_strdup_printf("http://localhost:%u/x", f->port);
        g_free(f->options[0]);
        f->options[0] = g_strdup("batch-wait=0");
        g_setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://nowhere.invalid", TRUE);
        g_setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", url, TRUE);
        g_setenv("OTEL_EXPORTER_OTLP_HEADERS", "a=1%202, b = c", TRUE);
        g_setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", TRUE);
        start(f);
        g_unsetenv("OTEL_EXPORTER_OTLP_ENDPOINT");
        g_unsetenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT");
        g_unsetenv("OTEL_EXPORTER_OTLP_HEADERS");
        g_unsetenv("OTEL_EXPORTER_OTLP_COMPRESSION");
        g_autofree char *line = g_strnfill(5000, 'x');
        line[4999] = '\n';
        log_fixture_write(f->log, STREAM_STDOUT, line);
        int fd = net_accept(f->fd);
        GString *body = g_string_new(NULL);
        g_autofree char *head = http_read_request(fd, body);
        g_assert_true(g_str_has_prefix(head, "POST /x HTTP/1.1\r\n"));
        g_assert_nonnull(strstr(head, "\r\na: 1 2\r\nb: c\r\nContent-Type: "));
        g_assert_nonnull(strstr(head, "\r\nContent-Encoding: gzip\r\n"));
        g_assert_cmpmem(body->str, 2, "\x1f\x8b", 2);
        g_assert_cmpuint(body->len, <, 1000);
        g_string_free(body, TRUE);
        (void)close(fd);
}

/* ---- batches ---- */

static void
test_batch_wait(Fixture *f, gconstpointer data)
{
        net_add_option(f, "batch-wait=300ms");
        start(f);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        net_run(20);
        log_fixture_write(f->log, STREAM_STDOUT, "two\nthree\n");
        int fd = net_accept(f->fd);
        g_assert_cmpuint(expect_records(fd), ==, 3);
        http_say(fd, HTTP_OK);
        http_wait_for_count(f, "out", 3);
        (void)close(fd);
}

/* A full batch is sent at once, and so is a record that is larger than a batch. */
static void
test_batch_size(Fixture *f, gconstpointer data)
{
        net_add_option(f, "batch-wait=1h");
        net_add_option(f, "batch-size=500");
        start(f);
        log_fixture_write(f->log, STREAM_STDOUT, "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n");
        int fd = net_accept(f->fd);
        unsigned first = expect_records(fd);
        g_assert_cmpuint(first, >, 2);
        g_assert_cmpuint(first, <, 10);
        http_say(fd, HTTP_OK);
        http_wait_for_count(f, "out", first);
        g_autofree char *line = g_strnfill(2000, 'x');
        log_fixture_write(f->log, STREAM_STDOUT, line);
        log_fixture_write(f->log, STREAM_STDOUT, "\n");
        for (unsigned n = first; n < 11; http_say(fd, HTTP_OK))
                n += expect_records(fd);
        http_wait_for_count(f, "out", 11);
        (void)close(fd);
}

static void
write_lines(Fixture *f, unsigned n)
{
        while (n-- > 0)
                log_fixture_write(f->log, STREAM_STDOUT, "x\n");
}

/* A batch that is too large is sent again in halves; with each that is accepted, their size grows again. */
static void
test_batch_size_grows(Fixture *f, gconstpointer data)
{
        net_add_option(f, "batch-size=1000");
        net_add_option(f, "batch-wait=100ms");
        start(f);
        write_lines(f, 100);
        int fd = net_accept(f->fd);
        unsigned full = expect_records(fd), written = 100, done = 0, n = 0;
        g_assert_cmpuint(full, >, 8);
        http_say(fd, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
        while (n < full) {
                n = expect_records(fd);
                g_assert_cmpuint(n, <=, done == 0 ? full / 2 : full);
                http_say(fd, HTTP_OK);
                done += n;
                write_lines(f, n);
                written += n;
                g_assert_cmpuint(written, <, 200 * full);
        }
        for (; done < written; http_say(fd, HTTP_OK))
                done += expect_records(fd);
        http_wait_for_count(f, "out", written);
        (void)close(fd);
}

/* ---- answers ---- */

typedef struct {
        const char *answer;
        enum { DELIVERED, REFUSED, AGAIN, HALF } outcome; /* HALF: one of two is refused */
        const char *said;                                 /* in the status */
        bool closes;                                      /* the connection is not reused */
} Answer;

static const Answer answers[] = {
        {HTTP_OK, DELIVERED, "\"status\":200,\"message\":\"\"", false},
        {"HTTP/1.1 204 No Content\r\n\r\n", DELIVERED, "\"status\":204", false},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", DELIVERED, "\"status\":200",
         true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x0a\x00\r\n0\r\n\r\n", DELIVERED,
         "\"status\":200", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n\x0a\x08\x08\x01\x12\x04ouch", HALF,
         "\"status\":200,\"message\":\"ouch\"", false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore", DELIVERED, "\"status\":200", true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nnothing", DELIVERED, "\"status\":200", false},
        {"HTTP/1.1 429 Slow down\r\nRetry-After: 0\r\nContent-Length: 4\r\n\r\nlate", AGAIN,
         "\"status\":429,\"message\":\"late\"", false},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 6\r\n\r\n\x12\x04"
         "busy",
         AGAIN, "\"status\":503,\"message\":\"busy\"", false},
        {"HTTP/1.1 400 Bad\r\nContent-Length: 6\r\n\r\n\x12\x04"
         "evil",
         REFUSED, "\"status\":400,\"message\":\"evil\"", false},
        {"HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n", REFUSED, "\"status\":500", false},
        {"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", REFUSED, "\"status\":401", false},
        {"HTTP/1.1 307 Go\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n", REFUSED,
         "\"message\":\"see http://other/; redirects are not followed\"", false},
        {"HTTP/1.1 100 Continue\r\n\r\n" HTTP_OK, DELIVERED, "\"status\":200", false},
        {"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
         "HTTP/1.1 400 Bad\r\nContent-Length: 6\r\n\r\n\x12\x04"
         "evil",
         REFUSED, "\"status\":400,\"message\":\"evil\"", false},
        {"HTTP/1.1 101 Switching Protocols\r\n\r\n", AGAIN,
         "it switches to another protocol, which was not requested", true},
        {"nonsense\r\n", AGAIN, "it does not speak HTTP/1.1", true},
};

static void
check_answer(Fixture *f, gconstpointer data)
{
        const Answer *a = data;
        net_add_option(f, "batch-wait=10ms");
        start(f);
        log_fixture_write(f->log, STREAM_STDOUT, "one\ntwo\n");
        int fd = net_accept(f->fd);
        g_assert_cmpuint(expect_records(fd), ==, 2);
        /* A chunk with a NUL. */
        size_t len = strstr(a->answer, "chunked") ? strlen(a->answer) + strlen("\r\n0\r\n\r\n") + 1
                                                  : strlen(a->answer);
        g_assert_cmpint(write(fd, a->answer, len), ==, (ssize_t)len);
        if (a->closes && a->outcome != AGAIN) {
                http_wait_for_count(f, "out", a->outcome == HALF ? 1 : 2);
                log_fixture_write(f->log, STREAM_STDOUT, "three\n");
        }
        if (a->outcome == AGAIN) {
                if (a->closes) {
                        (void)close(fd);
                        fd = net_accept(f->fd);
                }
                g_assert_cmpuint(expect_records(fd), ==, 2);
                http_expect_in_status(f, a->said);
                http_say(fd, HTTP_OK);
        } else if (a->closes) {
                (void)close(fd);
                fd = net_accept(f->fd);
                g_assert_cmpuint(expect_records(fd), ==, 1);
                http_say(fd, HTTP_OK);
        }
        unsigned n = a->closes && a->outcome != AGAIN ? 3 : 2;
        http_wait_for_count(f, "out", a->outcome == REFUSED ? 0 : a->outcome == HALF ? n - 1 : n);
        http_wait_for_count(f, "refused", a->outcome == REFUSED ? n : a->outcome == HALF);
        http_wait_for_count(f, "queued", 0);
        if (a->outcome != AGAIN)
                http_expect_in_status(f, a->said);
        (void)close(fd);
}

static void
answer_batch(int fd, const char *part, const char *answer)
{
        GString *body = g_string_new(NULL);
        g_free(http_read_request(fd, body));
        if (!memmem(body->str, body->len, part, strlen(part)))
                g_error("no '%s' in the request", part);
        g_string_free(body, TRUE);
        http_say(fd, answer);
}

/* Refused records are reported once, after the server has accepted a later one; a report that it refuses,
 * too, is not repeated. */
static void
test_refusals_are_reported(Fixture *f, gconstpointer data)
{
        static const char bad[] = "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n";
        net_add_option(f, "batch-wait=10ms");
        start(f);
        log_fixture_write(f->log, STREAM_STDOUT, "bad one\nbad two\n");
        int fd = net_accept(f->fd);
        answer_batch(fd, "bad two", bad);
        http_wait_for_count(f, "refused", 2);
        net_expect_nothing(fd);
        log_fixture_write(f->log, STREAM_STDOUT, "bad three\n");
        answer_batch(fd, "bad three", bad);
        http_wait_for_count(f, "refused", 3);
        log_fixture_write(f->log, STREAM_STDOUT, "good one\n");
        answer_batch(fd, "good one", HTTP_OK);
        answer_batch(fd, "conmon: 3 records dropped: refused", HTTP_OK);
        log_fixture_write(f->log, STREAM_STDOUT, "good two\n");
        answer_batch(fd, "good two", HTTP_OK);
        net_expect_nothing(fd);
        log_fixture_write(f->log, STREAM_STDOUT, "bad four\n");
        answer_batch(fd, "bad four", bad);
        http_wait_for_count(f, "refused", 4);
        log_fixture_write(f->log, STREAM_STDOUT, "good three\n");
        answer_batch(fd, "good three", HTTP_OK);
        answer_batch(fd, "conmon: 1 record dropped: refused", bad);
        net_expect_nothing(fd);
        log_fixture_write(f->log, STREAM_STDOUT, "good four\n");
        answer_batch(fd, "good four", HTTP_OK);
        net_expect_nothing(fd);
        http_wait_for_count(f, "out", 4);
        http_wait_for_count(f, "refused", 4);
        (void)close(fd);
}

/* No answer, an incomplete one, or none in time: the batch is sent again. */
static void
test_no_answer(Fixture *f, gconstpointer data)
{
        static const char *const halves[] = {"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
                                             "HTTP/1.1 200 OK\r\n"};
        net_add_option(f, "batch-wait=10ms");
        start(f);
        log_fixture_write(f->log, STREAM_STDOUT, "one\ntwo\n");
        for (size_t i = 0; i < G_N_ELEMENTS(halves); i++) {
                int fd = net_accept(f->fd);
                g_assert_cmpuint(expect_records(fd), ==, 2);
                http_say(fd, halves[i]);
                (void)close(fd);
        }
        int fd = net_accept(f->fd);
        g_assert_cmpuint(expect_records(fd), ==, 2);
        http_expect_in_status(
                f,
                "\"errors\":{\"count\":3,\"last\":\"it closed the connection "
                "in the middle of its answer\"}");
        http_say(fd, HTTP_OK);
        http_wait_for_count(f, "out", 2);
        (void)close(fd);
}

static void
test_timeout(Fixture *f, gconstpointer data)
{
        net_add_option(f, "batch-wait=10ms");
        net_add_option(f, "otlp-timeout=50ms");
        start(f);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int slow = net_accept(f->fd), fd;
        g_assert_cmpuint(expect_records(slow), ==, 1);
        http_say(slow, "HTTP/1.1 200 OK\r\n");
        fd = net_accept(f->fd);
        http_expect_in_status(f, "\"last\":\"it did not answer in time\"");
        (void)close(slow);
        (void)close(fd);
}

/* Starts, and delivers one record. Returns the connection, which is idle then. */
static int
deliver_one(Fixture *f)
{
        start(f);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        g_assert_cmpuint(expect_records(fd), ==, 1);
        http_say(fd, HTTP_OK);
        http_wait_for_count(f, "out", 1);
        return fd;
}

/* A server may close a persistent connection, even while the next request is in flight: that is no
 * failure. */
static void
test_kept_connection_ends(Fixture *f, gconstpointer data)
{
        net_add_option(f, "batch-wait=10ms");
        int fd = deliver_one(f);
        (void)close(fd);
        net_run(20);
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        fd = net_accept(f->fd);
        g_assert_cmpuint(expect_records(fd), ==, 1);
        http_say(fd, HTTP_OK);
        http_wait_for_count(f, "out", 2);
        log_fixture_write(f->log, STREAM_STDOUT, "three\n");
        g_assert_cmpuint(expect_records(fd), ==, 1);
        (void)close(fd);
        fd = net_accept(f->fd);
        g_assert_cmpuint(expect_records(fd), ==, 1);
        http_say(fd, HTTP_OK);
        http_wait_for_count(f, "out", 3);
        http_expect_in_status(f, "\"errors\":{\"count\":0,");
        (void)close(fd);
}

/* The reset of an idle connection is noticed only when the next request is written. */
static void
test_kept_connection_is_reset(Fixture *f, gconstpointer data)
{
        net_add_option(f, "batch-wait=0");
        int fd = deliver_one(f);
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        (void)close(fd);
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        fd = net_accept(f->fd);
        g_assert_cmpuint(expect_records(fd), ==, 1);
        http_say(fd, HTTP_OK);
        http_wait_for_count(f, "out", 2);
        http_expect_in_status(f, "\"errors\":{\"count\":0,");
        (void)close(fd);
}

/* A server may announce the end of an idle connection by an answer, even while the next request is in
 * flight. */
static void
test_kept_connection_times_out(Fixture *f, gconstpointer data)
{
        net_add_option(f, "batch-wait=10ms");
        int fd = deliver_one(f);
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        g_assert_cmpuint(expect_records(fd), ==, 1);
        http_say(fd, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
        int next = net_accept(f->fd);
        g_assert_cmpuint(expect_records(next), ==, 1);
        http_say(next, HTTP_OK);
        http_wait_for_count(f, "out", 2);
        http_expect_in_status(f, "\"errors\":{\"count\":0,");
        (void)close(fd);
        (void)close(next);
}

/* The time limit for an answer is not one for the transfer of the request. */
static void
test_slow_transfer(Fixture *f, gconstpointer data)
{
        const int size = 32768;
        g_assert_cmpint(setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), ==, 0);
        net_add_option(f, "batch-wait=10ms");
        net_add_option(f, "otlp-timeout=2s");
        start(f);
        g_autofree char *line = g_strnfill(16000, 'x');
        line[15999] = '\n';
        for (int i = 0; i < 20; i++)
                log_fixture_write(f->log, STREAM_STDOUT, line);
        int fd = net_accept(f->fd);
        for (int i = 0; i < 60; i++) {
                g_string_free(net_read(fd, 4096), TRUE);
                net_run(50);
        }
        GString *rest = net_read(fd, 20 * 16000 - 60 * 4096);
        g_assert_cmpuint(rest->len, ==, 20 * 16000 - 60 * 4096);
        g_string_free(rest, TRUE);
        http_say(fd, HTTP_OK);
        http_wait_for_count(f, "out", 20);
        http_expect_in_status(f, "\"errors\":{\"count\":0,");
        (void)close(fd);
}

/* A server that answers after the header of a request without reading the rest. */
static void
test_early_answer(Fixture *f, gconstpointer data)
{
        net_add_option(f, "batch-wait=10ms");
        net_add_option(f, "max-buffer-size=16m");
        net_add_option(f, "batch-size=8m");
        start(f);
        g_autofree char *line = g_strnfill(16000, 'x');
        for (int i = 0; i < 400; i++) {
                log_fixture_write(f->log, STREAM_STDOUT, line);
                log_fixture_write(f->log, STREAM_STDOUT, "\n");
        }
        int fd = net_accept(f->fd);
        g_string_free(net_read(fd, 1000), TRUE);
        http_say(fd, "HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\nhead");
        /* Unread bytes lead to a reset. */
        (void)close(fd);
        http_expect_in_status(f, "\"status\":400,\"message\":\"head\"");
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "refused", "records"), >, 0);
}

/* The attempt is a failure, so there is another one without further output. */
static void
test_no_name_server(Fixture *f, gconstpointer data)
{
        net_add_option(f, "batch-wait=10ms");
        net_add_option(f, "otlp-endpoint=http://logs.example");
        start(f);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        http_expect_in_status(
                f, "\"errors\":{\"count\":2,\"last\":\"the name server gave no answer for 'logs.example'\"}");
}

/* ---- invalid options ---- */

static void
test_refused_options(void)
{
        static const struct {
                const char *options[3];
                const char *why;
        } bad[] = {
                {{"otlp-endpoint=localhost:4318"}, "allowed: http://HOST[:PORT][/PATH]"},
                {{"otlp-endpoint=http://"}, "allowed: http://HOST[:PORT][/PATH]"},
                {{"otlp-endpoint=http://h:0"}, "allowed: http://HOST[:PORT][/PATH]"},
                {{"otlp-endpoint=http://h/a b"}, "allowed: http://HOST[:PORT][/PATH]"},
                {{"otlp-endpoint=http://h/#a"}, "allowed: http://HOST[:PORT][/PATH]"},
                {{"otlp-endpoint=http://h/", "otlp-tls-ca-cert=/x"},
                 "TLS is used only for addresses that begin with"},
                {{"otlp-endpoint=http://me:secret@h/"},
                 "option otlp-endpoint can't contain a user and a password"},
                {{"otlp-user=me"},
                 "option otlp-user and otlp-password-file or otlp-password-env must be given together"},
                {{"otlp-password-env=HOME"},
                 "option otlp-user and otlp-password-file or otlp-password-env must be given together"},
                {{"otlp-user=m:e", "otlp-password-env=HOME"}, "option otlp-user can't contain a colon"},
                {{"otlp-user=me", "otlp-password-env=HOME", "otlp-token-env=HOME"},
                 "a token and a password can't both be given"},
                {{"otlp-headers-env=TEST_NONE"}, "there is no environment variable TEST_NONE"},
                {{"otlp-headers-env=TEST_BAD"}, "each line of TEST_BAD must be NAME: VALUE"},
                {{"otlp-headers-env=TEST_HOST"}, "TEST_HOST can't set the field Host"},
                {{"otlp-token-env=TEST_BAD"}, "the token is empty or has control characters"},
                {{"batch-size=0"}, "option batch-size can't be '0'"},
        };
        g_setenv("TEST_BAD", "x y\x01", TRUE);
        g_setenv("TEST_HOST", "Host: x", TRUE);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                char *paths[] = {(char *)"none", NULL}, *drivers[] = {(char *)"otlp", NULL},
                     *options[4] = {NULL};
                for (size_t k = 0; k < 3; k++)
                        options[k] = (char *)bad[i].options[k];
                LogConfig config = log_fixture_config(paths);
                g_autofree char *message = log_fixture_refusal(&config, drivers, options);
                if (!strstr(message, bad[i].why) || strstr(message, "secret"))
                        g_error("no '%s' in '%s'", bad[i].why, message);
        }
}

/* The message names both variables that it may be about. */
static void
test_refused_environment(void)
{
        static const char *const bad[][2] = {{"COMPRESSION", "zstd"}, {"TIMEOUT", "10s"}, {"HEADERS", "x"}};
        char *paths[] = {(char *)"none", NULL}, *drivers[] = {(char *)"otlp", NULL};
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autofree char *name = g_strconcat("OTEL_EXPORTER_OTLP_LOGS_", bad[i][0], NULL);
                g_autofree char *both = g_strconcat("OTEL_EXPORTER_OTLP_[LOGS_]", bad[i][0], NULL);
                LogConfig config = log_fixture_config(paths);
                g_setenv(name, bad[i][1], TRUE);
                g_autofree char *message = log_fixture_refusal(&config, drivers, NULL);
                g_unsetenv(name);
                g_assert_nonnull(strstr(message, both));
        }
}

#define ADD(name, function) g_test_add("/log-http/" name, Fixture, NULL, set_up, function, net_tear_down)

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        log_fixture_set_up();
        ADD("request", test_request);
        ADD("fields", test_fields);
        ADD("environment", test_environment);
        ADD("batch-wait", test_batch_wait);
        ADD("batch-size", test_batch_size);
        ADD("batch-size-grows", test_batch_size_grows);
        for (size_t i = 0; i < G_N_ELEMENTS(answers); i++) {
                g_autofree char *name = g_strdup_printf("/log-http/answer-%zu", i);
                g_test_add(name, Fixture, &answers[i], set_up, check_answer, net_tear_down);
        }
        ADD("refusals-are-reported", test_refusals_are_reported);
        ADD("no-answer", test_no_answer);
        ADD("timeout", test_timeout);
        ADD("kept-connection-ends", test_kept_connection_ends);
        ADD("kept-connection-is-reset", test_kept_connection_is_reset);
        ADD("kept-connection-times-out", test_kept_connection_times_out);
        ADD("slow-transfer", test_slow_transfer);
        ADD("early-answer", test_early_answer);
        ADD("no-name-server", test_no_name_server);
        g_test_add_func("/log-http/refused-options", test_refused_options);
        g_test_add_func("/log-http/refused-environment", test_refused_environment);
        return g_test_run();
}
