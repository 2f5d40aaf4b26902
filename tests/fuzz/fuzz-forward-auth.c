/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/fluentd/forward_auth.h"
#include "log/drivers/fluentd/msgpack.h"

#include "fuzz.h"

#include <errno.h>

static ForwardAuth
make_auth(void)
{
        return (ForwardAuth){
                .shared_key = g_strdup("key"),
                .hostname = g_strdup("host"),
                .username = g_strdup("user"),
                .password = g_strdup("secret"),
        };
}

/* A number of one byte is a complete value, so every value can be terminated. */
static void
skip_all(const char *data, size_t size)
{
        MsgpackReader r = {data, data + size};
        int e;
        do {
                const char *before = r.at;
                e = msgpack_skip(&r);
                g_assert_true(r.at >= data && r.at <= data + size);
                if (e == 0)
                        g_assert_true(r.at > before);
        } while (e == 0);
        g_assert_true(e == -EAGAIN || e == -EBADMSG);
}

/* A proof can't be valid without the key. */
static void
greet(ForwardAuth *a, const char *data, size_t size)
{
        MsgpackReader r = {data, data + size};
        GString *ping = NULL;
        int e = forward_auth_answer(a, &r, &ping);
        g_assert_true(e == 0 || e == -EAGAIN || e == -EBADMSG);
        g_assert_cmpint(e == 0, ==, ping != NULL);
        if (e < 0) {
                g_assert_true(r.at == data);
                return;
        }
        MsgpackReader back = {ping->str, ping->str + ping->len};
        MsgpackValue v;
        g_assert_cmpint(msgpack_read(&back, &v), ==, 0);
        g_assert_true(v.type == MSGPACK_ARRAY && v.n == 6);
        for (int i = 0; i < 6; i++)
                g_assert_cmpint(msgpack_skip(&back), ==, 0);
        g_assert_true(back.at == back.end);
        g_assert_null(g_strstr_len(ping->str, (gssize)ping->len, "secret"));
        g_string_free(ping, TRUE);
        e = forward_auth_check(a, &r);
        g_assert_true(e == -EAGAIN || e == -EBADMSG || e == -EACCES);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        ForwardAuth a = make_auth();
        skip_all((const char *)data, size);
        greet(&a, (const char *)data, size);
        forward_auth_done(&a);
        return 0;
}
