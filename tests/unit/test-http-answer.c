/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/http_answer.h"

#include <errno.h>
#include <string.h>

#define BODY_MAX 16

typedef struct {
        const char *text; /* received data, until the end of the connection */
        int status;       /* 0: not an answer */
        const char *body;
        bool persistent;
        int64_t retry_after; /* seconds */
        const char *problem; /* expected error */
} Case;

static const Case cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", true, -1, NULL},
        {"HTTP/1.1 200 OK\nContent-Length:3\n\nabc", 200, "abc", true, -1, NULL},
        {"HTTP/1.1 204 No Content\r\n\r\n", 204, NULL, true, -1, NULL},
        {"HTTP/1.1 204\r\nContent-Length: 7\r\n\r\n", 204, NULL, true, -1, NULL},
        {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, NULL, true, -1, NULL},
        {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", false, -1, NULL},
        {"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", 200, "x", true, -1, NULL},
        {"HTTP/1.1 503 Busy\r\nconnection: x , CLOSE\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nlate", 503,
         "late", false, 7, NULL},
        {"HTTP/1.1 429 Slow\r\nRetry-After: 99999\r\nContent-Length: 0\r\n\r\n", 429, NULL, true, 3600, NULL},
        {"HTTP/1.1 429 Slow\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n", 429,
         NULL, true, 0, NULL},
        {"HTTP/1.1 429 Slow\r\nRetry-After: Sun, 06 Nov 2094 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n", 429,
         NULL, true, 3600, NULL},
        {"HTTP/1.1 429 Slow\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", 429, NULL, true, -1, NULL},
        {"HTTP/1.1 429 Slow\r\nRetry-After: -5\r\nContent-Length: 0\r\n\r\n", 429, NULL, true, -1, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n00A;x=y\r\ncdefghijkl\r\n0\r\nT: "
         "1\r\n\r\n",
         200, "abcdefghijkl", true, -1, NULL},
        {"HTTP/1.1 200 OK\r\nA: b\r\n Content-Length: 9\r\n\tmore\r\nContent-Length: 1\r\n\r\na", 200, "a",
         true, -1, NULL},
        {"HTTP/1.1 200 OK\r\n\r\nto the end", 200, "to the end", false, -1, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789abcdefghij", 200, "0123456789abcdef", true,
         -1, NULL},
        /* Incomplete. */
        {"", 0, NULL, false, -1, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Le", 0, NULL, false, -1, NULL},
        {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", 0, NULL, false, -1, NULL},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n", 0, NULL, false, -1, NULL},
        /* Invalid. */
        {"SSH-2.0-OpenSSH_9.2\r\n", 0, NULL, false, -1, "it does not speak HTTP/1.1"},
        {"HTTP/2 200\r\n", 0, NULL, false, -1, "it does not speak HTTP/1.1"},
        {"HTTP/1.1 20 OK\r\n", 0, NULL, false, -1, "it does not speak HTTP/1.1"},
        {"HTTP/1.1 600 OK\r\n", 0, NULL, false, -1, "it does not speak HTTP/1.1"},
        {"HTTP/1.1 2000 OK\r\n", 0, NULL, false, -1, "it does not speak HTTP/1.1"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", 200, NULL, false, -1, NULL},
        {"HTTP/1.1 103 Hints\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nRetry-After: 7\r\n\r\n"
         "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
         200, "a", true, -1, NULL},
        {"HTTP/1.1 102 Processing\r\n\r\n", 0, NULL, false, -1, NULL},
        {"HTTP/1.1 101 Switching\r\n\r\n", 0, NULL, false, -1,
         "it switches to another protocol, which was not requested"},
        {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", 0, NULL, false, -1, "its answer has an invalid header field"},
        {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, NULL, false, -1,
         "its answer has an invalid Content-Length"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 0, NULL, false, -1,
         "its answer has an invalid Content-Length"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", 0, NULL, false, -1,
         "its answer has an unknown Transfer-Encoding"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 0, NULL, false, -1,
         "its answer has an unknown Transfer-Encoding"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 0, NULL, false, -1,
         "its answer has a chunk with an invalid size"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 0, NULL, false, -1,
         "its answer has a chunk with an invalid size"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 0, NULL, false, -1,
         "its answer has a chunk of the wrong size"},
};

/* Parses a text in pieces. */
static int
push(HttpAnswer *a, const char *text, size_t step)
{
        size_t len = strlen(text);
        int r = 0;
        for (size_t at = 0, used; at < len && r == 0; at += used)
                r = http_answer_push(a, text + at, MIN(step, len - at), &used);
        return r < 0 ? r : http_answer_end(a);
}

static void
check(const Case *c, size_t step)
{
        HttpAnswer a = {.body_max = BODY_MAX};
        int r = push(&a, c->text, step);
        g_assert_cmpint(r, ==, c->problem ? -EBADMSG : c->status ? 1 : 0);
        g_assert_cmpstr(a.problem, ==, c->problem);
        if (c->status) {
                g_assert_cmpint(a.status, ==, c->status);
                g_assert_cmpstr(a.body ? a.body->str : NULL, ==, c->body);
                g_assert_cmpint(a.persistent, ==, c->persistent);
                g_assert_cmpint(a.truncated, ==, c->body && strlen(c->body) == BODY_MAX);
                g_assert_cmpint(a.retry_after < 0 ? -1 : a.retry_after / G_USEC_PER_SEC, ==, c->retry_after);
        }
        g_assert_cmpint(http_answer_has_begun(&a), ==, *c->text != '\0');
        http_answer_clear(&a);
        g_assert_false(http_answer_has_begun(&a));
}

static void
test_table(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
                for (size_t step = 1; step < 200; step += step < 8 ? 1 : 64)
                        check(&cases[i], step);
}

/* Data after the answer is not consumed. */
static void
test_used(void)
{
        static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP";
        HttpAnswer a = {.body_max = BODY_MAX};
        size_t used = 0;
        g_assert_cmpint(http_answer_push(&a, text, strlen(text), &used), ==, 1);
        g_assert_cmpuint(used, ==, strlen(text) - 4);
        http_answer_clear(&a);
}

static void
test_limits(void)
{
        HttpAnswer a = {.body_max = BODY_MAX};
        size_t used = 0;
        int r = push(&a, "HTTP/1.1 200 OK\r\n", 100);
        for (int i = 0; i < 2 * HTTP_HEAD_MAX / 8 && r == 0; i++)
                r = http_answer_push(&a, "a: 567\r\n", 8, &used);
        g_assert_cmpint(r, ==, -EBADMSG);
        g_assert_cmpstr(a.problem, ==, "the head of its answer is too long");
        http_answer_clear(&a);
        /* Also for a line that never ends. */
        r = 0;
        for (int i = 0; i < 2 * HTTP_HEAD_MAX && r == 0; i++)
                r = http_answer_push(&a, "H", 1, &used);
        g_assert_cmpint(r, ==, -EBADMSG);
        g_assert_cmpuint(a.line->len, <=, HTTP_HEAD_MAX);
        http_answer_clear(&a);
}

static void
test_redirect(void)
{
        HttpAnswer a = {.body_max = BODY_MAX};
        g_assert_cmpint(
                push(&a, "HTTP/1.1 301 Moved\r\nLocation: https://x/\x01y\r\nContent-Length: 0\r\n\r\n", 9),
                ==, 1);
        g_assert_cmpstr(a.location, ==, "https://x/ y");
        http_answer_clear(&a);
}

static void
test_printable(void)
{
        static const char *const texts[][2] = {
                {"plain", "plain"}, {" a\r\n\tb\n", "a b"},   {"\x1b[31mred", "[31mred"},
                {"", ""},           {"\xff", "\xef\xbf\xbd"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autofree char *printable = http_printable(texts[i][0], strlen(texts[i][0]));
                g_assert_cmpstr(printable, ==, texts[i][1]);
        }
        g_autofree char *line = g_strnfill(1000, 'x'), *printable = http_printable(line, 1000);
        g_assert_cmpuint(strlen(printable), ==, 200);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/http-answer/table", test_table);
        g_test_add_func("/http-answer/used", test_used);
        g_test_add_func("/http-answer/limits", test_limits);
        g_test_add_func("/http-answer/redirect", test_redirect);
        g_test_add_func("/http-answer/printable", test_printable);
        return g_test_run();
}
