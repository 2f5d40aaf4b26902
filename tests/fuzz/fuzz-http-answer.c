/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/http_answer.h"

#include "fuzz.h"

/* Answers of an HTTP server: the result does not depend on the pieces, and all parts are limited. */

#define BODY_MAX 512

static int
push(HttpAnswer *a, const char *text, size_t size, size_t step)
{
        int r = 0;
        for (size_t at = 0, used; at < size && r == 0; at += used) {
                size_t n = MIN(step, size - at);
                r = http_answer_push(a, text + at, n, &used);
                g_assert_true(r < 0 || (r == 0 && used == n) || (r == 1 && used <= n));
        }
        return r < 0 ? r : http_answer_end(a);
}

static void
check(const HttpAnswer *a, int r)
{
        g_assert_cmpint(r < 0, ==, a->problem != NULL);
        g_assert_true(!a->body || a->body->len <= BODY_MAX);
        g_assert_true(!a->line || a->line->len <= HTTP_HEAD_MAX);
        if (r == 1) {
                g_assert_true(a->status >= 200 && a->status <= 599);
                g_assert_true(a->retry_after >= -1 && a->retry_after <= HTTP_RETRY_AFTER_MAX);
        }
        if (a->body) {
                g_autofree char *words = http_printable(a->body->str, a->body->len);
                g_assert_true(g_utf8_validate(words, -1, NULL));
                g_assert_null(strpbrk(words, "\r\n\t\x1b"));
        }
}

/* The first byte is the length of the pieces. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        const char *text = (const char *)data + 1;
        HttpAnswer whole = {.body_max = BODY_MAX}, pieces = {.body_max = BODY_MAX};
        int r = push(&whole, text, size - 1, size);
        g_assert_cmpint(push(&pieces, text, size - 1, 1 + (size_t)data[0]), ==, r);
        check(&whole, r);
        check(&pieces, r);
        g_assert_cmpint(whole.status, ==, pieces.status);
        g_assert_cmpint(whole.persistent, ==, pieces.persistent);
        g_assert_true(!whole.body == !pieces.body || r < 0);
        if (r == 1 && whole.body)
                g_assert_true(g_string_equal(whole.body, pieces.body));
        http_answer_clear(&whole);
        http_answer_clear(&pieces);
        return 0;
}
