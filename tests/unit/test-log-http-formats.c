/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* The bytes that each driver sends over HTTP, and its reaction to answers. */

#include "http-fixture.h"

typedef NetFixture Fixture;

/* One driver with some options, two records, and an answer to them. */
typedef struct {
        const char *name;
        const char *driver;
        const char *url; /* the option that sets it, with the path to ask for */
        const char *options[4];
        const char *in;                /* of stdout; NULL: a"b */
        const char *line;              /* of the request */
        const char *field;             /* in its header; NULL: none */
        const char *type;              /* of the body */
        const char *body;              /* %s is the host's name */
        const char *answer;            /* NULL: a success without a body */
        uint64_t out, refused, queued; /* afterwards, of two records */
        const char *said;              /* in the status; NULL: nothing */
} Case;

static const Case cases[] = {
        {.name = "ndjson",
         .driver = "http",
         .url = "http-url=http://127.0.0.1:%u/in?a=b",
         .options = {"tag={{.Name}}"},
         .line = "POST /in?a=b HTTP/1.1",
         .type = "application/x-ndjson",
         .body = "{\"time\":\"2023-11-14T22:13:20.123456789Z\",\"stream\":\"stdout\",\"log\":\"a\\\"b\","
                 "\"container_id\":\"" TEST_CID "\",\"container_name\":\"web\",\"tag\":\"web\","
                 "\"attrs\":{\"A\":\"1\",\"log\":\"2\"}}\n"
                 "{\"time\":\"2023-11-14T22:13:20.123456789Z\",\"stream\":\"stderr\",\"log\":\"c\","
                 "\"container_id\":\"" TEST_CID "\",\"container_name\":\"web\",\"tag\":\"web\","
                 "\"attrs\":{\"A\":\"1\",\"log\":\"2\"}}\n",
         .out = 2},
        {.name = "array",
         .driver = "http",
         .url = "http-url=http://127.0.0.1:%u",
         .options = {"http-format=array"},
         .line = "POST / HTTP/1.1",
         .type = "application/json",
         .body = "[{\"@timestamp\":\"2023-11-14T22:13:20.123456789Z\",\"stream\":\"stdout\",\"message\":"
                 "\"a\\\"b\",\"container_id\":\"" TEST_CID "\",\"container_name\":\"web\","
                 "\"attrs\":{\"A\":\"1\",\"log\":\"2\"}},"
                 "{\"@timestamp\":\"2023-11-14T22:13:20.123456789Z\",\"stream\":\"stderr\",\"message\":"
                 "\"c\",\"container_id\":\"" TEST_CID "\",\"container_name\":\"web\","
                 "\"attrs\":{\"A\":\"1\",\"log\":\"2\"}}]",
         .answer = "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}",
         .out = 2},
        {.name = "bulk",
         .driver = "http",
         .url = "http-url=http://127.0.0.1:%u",
         .options = {"http-format=elasticsearch"},
         .line = "POST /logs-conmon-default/_bulk HTTP/1.1",
         .type = "application/x-ndjson",
         .body = "{\"create\":{}}\n{\"@timestamp\":\"2023-11-14T22:13:20.123456789Z\",\"stream\":\"stdout\","
                 "\"message\":\"a\\\"b\",\"container_id\":\"" TEST_CID "\",\"container_name\":\"web\","
                 "\"attrs\":{\"A\":\"1\",\"log\":\"2\"}}\n"
                 "{\"create\":{}}\n{\"@timestamp\":\"2023-11-14T22:13:20.123456789Z\",\"stream\":\"stderr\","
                 "\"message\":\"c\",\"container_id\":\"" TEST_CID "\",\"container_name\":\"web\","
                 "\"attrs\":{\"A\":\"1\",\"log\":\"2\"}}\n",
         .answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                   "{\"took\":1,\"errors\":false,\"items\":[{\"create\":{}},{\"create\":{}}]}",
         .out = 2},
        {.name = "bulk-each",
         .driver = "http",
         .url = "http-url=http://127.0.0.1:%u/logs/_bulk",
         .options = {"http-format=elasticsearch"},
         .line = "POST /logs/_bulk HTTP/1.1",
         .answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                   "{\"took\":1,\"errors\":true,\"items\":[{\"create\":{\"status\":400,\"error\":"
                   "{\"type\":\"mapper\",\"reason\":\"bad \\\"field\\\"\"}}},{\"create\":{\"status\":429}}]}",
         .refused = 1,
         .queued = 1,
         .said = "bad \\\"field\\\""},
        {.name = "loki",
         .driver = "loki",
         .url = "loki-url=http://127.0.0.1:%u",
         .options = {"loki-external-labels=job=x,1-b={{.Name}}.y,A=2", "loki-tenant-id=me"},
         .line = "POST /loki/api/v1/push HTTP/1.1",
         .field = "X-Scope-OrgID: me",
         .type = "application/json",
         .body = "{\"streams\":[{\"stream\":{\"container_name\":\"web\",\"host\":\"%s\",\"log\":\"2\","
                 "\"job\":\"x\",\"_1_b\":\"web.y\",\"A\":\"2\",\"source\":\"stdout\"},\"values\":["
                 "[\"1700000000123456789\",\"a\\\"b\",{\"container_id\":\"" TEST_CID "\"}]]},"
                 "{\"stream\":{\"container_name\":\"web\",\"host\":\"%s\",\"log\":\"2\","
                 "\"job\":\"x\",\"_1_b\":\"web.y\",\"A\":\"2\",\"source\":\"stderr\"},\"values\":["
                 "[\"1700000000123456789\",\"c\",{\"container_id\":\"" TEST_CID "\"}]]}]}",
         .answer = "HTTP/1.1 204 No Content\r\n\r\n",
         .out = 2},
        {.name = "loki-labels-of-the-user",
         .driver = "loki",
         .url = "loki-url=http://127.0.0.1:%u",
         .options = {"loki-external-labels=container-name=c,source=x,log=y,a.b=1,a-b=2,host=z"},
         .line = "POST /loki/api/v1/push HTTP/1.1",
         .type = "application/json",
         .body = "{\"streams\":[{\"stream\":{\"A\":\"1\",\"container_name\":\"c\",\"source\":\"x\","
                 "\"log\":\"y\",\"a_b\":\"2\",\"host\":\"z\"},\"values\":["
                 "[\"1700000000123456789\",\"a\\\"b\",{\"container_id\":\"" TEST_CID "\"}]]},"
                 "{\"stream\":{\"A\":\"1\",\"container_name\":\"c\",\"source\":\"x\","
                 "\"log\":\"y\",\"a_b\":\"2\",\"host\":\"z\"},\"values\":["
                 "[\"1700000000123456789\",\"c\",{\"container_id\":\"" TEST_CID "\"}]]}]}",
         .answer = "HTTP/1.1 204 No Content\r\n\r\n",
         .out = 2},
        {.name = "loki-refuses",
         .driver = "loki",
         .url = "loki-url=http://127.0.0.1:%u/other/path",
         .line = "POST /other/path HTTP/1.1",
         .answer = "HTTP/1.1 400 Bad Request\r\n\r\nentry too far behind\n",
         .refused = 2,
         .said = "\"status\":400,\"message\":\"entry too far behind\""},
        {.name = "loki-is-limited",
         .driver = "loki",
         .url = "loki-url=http://127.0.0.1:%u/",
         .line = "POST /loki/api/v1/push HTTP/1.1",
         .answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 60\r\n\r\nIngestion rate limit exceeded\n",
         .queued = 2,
         .said = "it answered 429 (Ingestion rate limit exceeded)"},
        {.name = "splunk",
         .driver = "splunk",
         .url = "splunk-url=http://127.0.0.1:%u",
         .options = {"splunk-token-env=TEST_TOKEN", "splunk-index=main", "splunk-source=\"s\""},
         .line = "POST /services/collector/event/1.0 HTTP/1.1",
         .field = "\r\nAuthorization: Splunk abc-def\r\n",
         .type = "application/json",
         .body = "{\"event\":{\"line\":\"a\\\"b\",\"source\":\"stdout\",\"tag\":\"0123456789ab\","
                 "\"attrs\":{\"A\":\"1\",\"log\":\"2\"}},\"time\":\"1700000000.123456\",\"host\":\"%s\","
                 "\"source\":\"\\\"s\\\"\",\"index\":\"main\"}"
                 "{\"event\":{\"line\":\"c\",\"source\":\"stderr\",\"tag\":\"0123456789ab\","
                 "\"attrs\":{\"A\":\"1\",\"log\":\"2\"}},\"time\":\"1700000000.123456\",\"host\":\"%s\","
                 "\"source\":\"\\\"s\\\"\",\"index\":\"main\"}",
         .answer = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"text\":\"Success\",\"code\":0}",
         .out = 2},
        {.name = "splunk-json",
         .driver = "splunk",
         .url = "splunk-url=http://127.0.0.1:%u/",
         .options = {"splunk-token-env=TEST_TOKEN", "splunk-format=json", "tag=t"},
         .in = "{\"a\": [1, true]}\n",
         .line = "POST /services/collector/event/1.0 HTTP/1.1",
         .type = "application/json",
         .body = "{\"event\":{\"line\":{\"a\": [1, true]},\"source\":\"stdout\",\"tag\":\"t\","
                 "\"attrs\":{\"A\":\"1\",\"log\":\"2\"}},\"time\":\"1700000000.123456\",\"host\":\"%s\"}"
                 "{\"event\":{\"line\":\"c\",\"source\":\"stderr\",\"tag\":\"t\","
                 "\"attrs\":{\"A\":\"1\",\"log\":\"2\"}},\"time\":\"1700000000.123456\",\"host\":\"%s\"}",
         .answer = "HTTP/1.1 503 Busy\r\nContent-Length: 34\r\n\r\n{\"text\":\"Server is busy\",\"code\":9}",
         .queued = 2,
         .said = "it answered 503 (Server is busy)"},
        {.name = "splunk-raw",
         .driver = "splunk",
         .url = "splunk-url=http://127.0.0.1:%u/raw",
         .options = {"splunk-token-env=TEST_TOKEN", "splunk-format=raw", "tag=t"},
         .line = "POST /raw HTTP/1.1",
         .type = "application/json",
         .body = "{\"event\":\"t A=1 log=2 a\\\"b\",\"time\":\"1700000000.123456\",\"host\":\"%s\"}"
                 "{\"event\":\"t A=1 log=2 c\",\"time\":\"1700000000.123456\",\"host\":\"%s\"}",
         .answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 33\r\n\r\n{\"text\":\"Invalid "
                   "token\",\"code\":4}",
         .refused = 2,
         .said = "\"status\":403,\"message\":\"Invalid token\""},
        {.name = "splunk-error-in-the-body",
         .driver = "splunk",
         .url = "splunk-url=http://127.0.0.1:%u",
         .options = {"splunk-token-env=TEST_TOKEN"},
         .line = "POST /",
         .answer = "HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n{\"text\":\"Incorrect index\",\"code\":7}",
         .refused = 2,
         .said = "\"status\":200,\"message\":\"Incorrect index\""},
        {.name = "splunk-without-acknowledgements",
         .driver = "splunk",
         .url = "splunk-url=http://127.0.0.1:%u",
         .options = {"splunk-token-env=TEST_TOKEN", "splunk-index-acknowledgment=true"},
         .line = "POST /",
         .answer = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"text\":\"Success\",\"code\":0}",
         .out = 2},
        {.name = "splunk-one-event",
         .driver = "splunk",
         .url = "splunk-url=http://127.0.0.1:%u",
         .options = {"splunk-token-env=TEST_TOKEN"},
         .line = "POST /",
         .answer =
                 "HTTP/1.1 400 Bad\r\nConnection: close\r\n\r\n{\"text\":\"Invalid data format\",\"code\":6,"
                 "\"invalid-event-number\":1}",
         .refused = 1,
         .queued = 1,
         .said = "Invalid data format"},
        {.name = "splunk-not-splunk",
         .driver = "splunk",
         .url = "splunk-url=http://127.0.0.1:%u",
         .options = {"splunk-token-env=TEST_TOKEN"},
         .line = "POST /",
         .answer = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
         .queued = 2,
         .said = "not a valid response of Splunk"},
        {.name = "bulk-half-an-answer",
         .driver = "http",
         .url = "http-url=http://127.0.0.1:%u",
         .options = {"http-format=elasticsearch"},
         .line = "POST /logs-conmon-default/_bulk HTTP/1.1",
         .answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
                   "{\"errors\":true,\"items\":[{\"create\":{\"status\":201}},",
         .out = 0,
         .queued = 2,
         .said = "not a valid response of _bulk"},
};

static void
set_up(Fixture *f, gconstpointer data)
{
        const Case *c = data;
        net_set_up(f, c->driver);
        f->config.name = "web";
        f->fd = net_listen(SOCK_STREAM, &f->port);
        net_add_option(f, c->url, f->port);
        for (size_t i = 0; i < G_N_ELEMENTS(c->options) && c->options[i]; i++)
                net_add_option(f, "%s", c->options[i]);
        net_add_option(f, "batch-wait=20ms");
}

static void
check(Fixture *f, gconstpointer data)
{
        const Case *c = data;
        char host[256] = "";
        char *labels[] = {(char *)"A=1", (char *)"log=2", NULL};
        g_assert_cmpint(gethostname(host, sizeof host - 1), ==, 0);
        f->config.labels = labels;
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, c->in ? c->in : "a\"b\n");
        log_fixture_write(f->log, STREAM_STDERR, "c\n");
        int fd = net_accept(f->fd);
        GString *body = g_string_new(NULL);
        g_autofree char *head = http_read_request(fd, body);
        g_auto(GStrv) parts = g_strsplit(c->body ? c->body : "", "%s", -1);
        g_autofree char *expected = g_strjoinv(host, parts);
        g_assert_true(g_str_has_prefix(head, c->line));
        g_assert_true(!c->field || strstr(head, c->field));
        if (c->body) {
                g_autofree char *type = g_strdup_printf("\r\nContent-Type: %s\r\n", c->type);
                g_assert_nonnull(strstr(head, type));
                g_assert_cmpstr(body->str, ==, expected);
        }
        http_say(fd, c->answer ? c->answer : HTTP_OK);
        (void)close(fd);
        http_wait_for_count(f, "out", c->out);
        http_wait_for_count(f, "refused", c->refused);
        http_wait_for_count(f, "queued", c->queued);
        if (c->said)
                http_expect_in_status(f, c->said);
        g_string_free(body, TRUE);
}

/* A batch that is not indexed yet stays in the queue, also if the connection is closed between two queries;
 * the next one is not sent before. */
static void
test_acknowledgment(Fixture *f, gconstpointer data)
{
        static const char *const answers[] = {"{\"acks\":{\"7\":false}}", "{\"acks\":{\"7\":true}}"};
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        g_autofree char *head = http_read_request(fd, NULL);
        const char *channel = strstr(head, "\r\nX-Splunk-Request-Channel: ");
        g_assert_nonnull(channel);
        g_autofree char *guid = g_strndup(channel + strlen("\r\nX-Splunk-Request-Channel: "), 36);
        g_autofree char *line = g_strdup_printf("POST /services/collector/ack?channel=%s HTTP/1.1\r\n", guid);
        http_say(
                fd,
                "HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n{\"text\":\"Success\",\"code\":0,\"ackId\":7}");
        for (size_t i = 0; i < G_N_ELEMENTS(answers); i++) {
                GString *body = g_string_new(NULL);
                g_autofree char *asked = http_read_request(fd, body);
                g_assert_true(g_str_has_prefix(asked, line));
                g_assert_cmpstr(body->str, ==, "{\"acks\":[7]}");
                g_string_free(body, TRUE);
                http_wait_for_count(f, "queued", 1 + i);
                g_autofree char *answer = g_strdup_printf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                                                          strlen(answers[i]), answers[i]);
                http_say(fd, answer);
                if (i > 0)
                        break;
                log_fixture_write(f->log, STREAM_STDOUT, "two\n");
                (void)close(fd);
                fd = net_accept(f->fd);
        }
        http_wait_for_count(f, "out", 1);
        http_expect_in_status(f, "\"errors\":{\"count\":0,");
        (void)close(fd);
}

/* Answers a batch, and then queries, but acknowledges nothing. */
static void
say_not_indexed(int fd)
{
        GPollFD p = {.fd = fd, .events = G_IO_IN};
        if (g_poll(&p, 1, 0) == 0)
                return;
        g_autofree char *head = http_read_request(fd, NULL);
        if (strstr(head, "/ack?channel="))
                http_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"acks\":{\"7\":false}}");
        else
                http_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\n"
                             "{\"text\":\"Success\",\"code\":0,\"ackId\":7}");
}

/* A server that answers queries without ever acknowledging a batch makes no progress: the container does not
 * wait for it. */
static void
test_no_acknowledgment(Fixture *f, gconstpointer data)
{
        net_add_option(f, "stall-timeout=3s"); /* longer than the delays between queries */
        net_add_option(f, "max-buffer-size=4k");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        gint64 end = g_get_monotonic_time() + NET_WAIT_USEC;
        for (int i = 0; i < 200; i++)
                log_fixture_write(f->log, STREAM_STDOUT, "a line\n");
        while (!log_wants(f->log, STREAM_STDOUT)) {
                g_assert_cmpint(g_get_monotonic_time(), <, end);
                say_not_indexed(fd);
                net_run(5);
        }
        for (int i = 0; i < 200; i++)
                log_fixture_write(f->log, STREAM_STDOUT, "a line\n");
        g_assert_true(log_wants(f->log, STREAM_STDOUT));
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "queue-full", "records"), >, 0);
        (void)close(fd);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        log_fixture_set_up();
        g_setenv("TEST_TOKEN", "abc-def", TRUE);
        static const Case acknowledgment = {
                .driver = "splunk",
                .url = "splunk-url=http://127.0.0.1:%u",
                .options = {"splunk-token-env=TEST_TOKEN", "splunk-index-acknowledgment=true"},
        };
        g_test_add("/log-http-formats/acknowledgment", Fixture, &acknowledgment, set_up, test_acknowledgment,
                   net_tear_down);
        g_test_add("/log-http-formats/no-acknowledgment", Fixture, &acknowledgment, set_up,
                   test_no_acknowledgment, net_tear_down);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *name = g_strconcat("/log-http-formats/", cases[i].name, NULL);
                g_test_add(name, Fixture, &cases[i], set_up, check, net_tear_down);
        }
        return g_test_run();
}
