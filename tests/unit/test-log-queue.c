/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/queue.h"
#include "log/sink/audit.h"

#include <glib.h>
#include <string.h>

/* Adds `text` as the message for a record of the same size. */
static void
add(LogQueue *q, const char *text, StreamId stream, unsigned flags)
{
        size_t len = strlen(text);
        LogRecord r = {
                .bytes = text,
                .len = (uint32_t)len,
                .payload = (uint32_t)len + !(flags & LOG_RECORD_PARTIAL),
                .stream = (uint8_t)stream,
                .flags = (uint8_t)flags,
        };
        LogBlock *b = log_queue_block(q, len);
        char *at = log_block_room(b, len);
        g_assert_nonnull(at);
        memcpy(at, text, len);
        log_block_add(b, len, &r);
        log_queue_added(b, (LogCount){.records = 1, .bytes = r.payload});
}

static void
assert_next(LogQueue *q, size_t max, const char *text)
{
        const char *bytes = "";
        size_t len = log_queue_next(q, max, &bytes);
        g_assert_cmpmem(bytes, len, text, strlen(text));
}

static void
test_write(void)
{
        LogQueue q = {0};
        g_assert_true(log_queue_is_empty(&q));
        assert_next(&q, 99, "");
        add(&q, "one", STREAM_STDOUT, 0);
        add(&q, "two", STREAM_STDERR, LOG_RECORD_PARTIAL);
        add(&q, "three", STREAM_STDOUT, 0);
        assert_next(&q, SIZE_MAX, "onetwothree");
        assert_next(&q, 10, "onetwo");
        assert_next(&q, 2, "");
        g_assert_cmpuint(log_queue_next_len(&q), ==, 3);
        log_queue_wrote(&q, 4);
        g_assert_cmpuint(q.partially_sent, ==, 1);
        assert_next(&q, 1, "wo");
        g_assert_cmpuint(q.done.records, ==, 1);
        g_assert_cmpuint(q.done.bytes, ==, 4);
        log_queue_wrote(&q, 2);
        assert_next(&q, 5, "three");
        log_queue_wrote(&q, 5);
        g_assert_true(log_queue_is_empty(&q));
        g_assert_cmpuint(q.done.records, ==, 3);
        g_assert_cmpuint(q.done.bytes, ==, 4 + 3 + 6);
        g_assert_cmpuint(log_queue_memory(&q), ==, 0);
        log_queue_release(&q);
        g_assert_null(q.head);
}

static void
test_rewind(void)
{
        LogQueue q = {0};
        add(&q, "one", STREAM_STDOUT, 0);
        add(&q, "two", STREAM_STDOUT, 0);
        log_queue_wrote(&q, 5);
        assert_next(&q, SIZE_MAX, "o");
        log_queue_rewind(&q);
        assert_next(&q, SIZE_MAX, "two");
        log_queue_release(&q);
        g_assert_nonnull(q.head);
        LogCount dropped = {0};
        log_queue_clear(&q, &dropped);
        g_assert_cmpuint(dropped.records, ==, 1);
        g_assert_cmpuint(dropped.bytes, ==, 4);
}

static void
test_acknowledged(void)
{
        LogQueue q = {0};
        add(&q, "one", STREAM_STDOUT, 0);
        add(&q, "two", STREAM_STDOUT, 0);
        add(&q, "six", STREAM_STDOUT, 0);
        log_queue_sent(&q, 6);
        assert_next(&q, SIZE_MAX, "six");
        log_queue_sent(&q, 3);
        g_assert_cmpuint(log_queue_next_len(&q), ==, 0);
        g_assert_false(log_queue_is_empty(&q));
        log_queue_done(&q, 1);
        g_assert_cmpuint(q.done.records, ==, 1);
        log_queue_rewind(&q);
        assert_next(&q, SIZE_MAX, "twosix");
        log_queue_sent(&q, 6);
        log_queue_done(&q, 2);
        g_assert_true(log_queue_is_empty(&q));
        add(&q, "new", STREAM_STDOUT, 0);
        assert_next(&q, SIZE_MAX, "new");
        log_queue_wrote(&q, 3);
        g_assert_cmpuint(q.done.records, ==, 4);
        log_queue_release(&q);
}

static void
test_arrived(void)
{
        LogQueue q = {0};
        add(&q, "one", STREAM_STDOUT, 0);
        add(&q, "four", STREAM_STDOUT, 0);
        add(&q, "six", STREAM_STDOUT, 0);
        log_queue_sent(&q, 8);
        g_assert_cmpuint(log_queue_arrived(&q, 0), ==, 0);
        g_assert_cmpuint(log_queue_arrived(&q, 2), ==, 0);
        g_assert_cmpuint(log_queue_arrived(&q, 6), ==, 3);
        g_assert_cmpuint(q.done.records, ==, 1);
        g_assert_cmpuint(log_queue_sent_count(&q).records, ==, 2);
        log_queue_sent(&q, 2);
        g_assert_cmpuint(log_queue_sent_count(&q).records, ==, 3);
        g_assert_cmpuint(log_queue_arrived(&q, 7), ==, 7);
        g_assert_true(log_queue_is_empty(&q));
        g_assert_cmpuint(q.done.records, ==, 3);
        log_queue_release(&q);
}

/* More than fits into a block; each message is sent once and in order, with any sizes of partial sends. */
/* Sent messages are acknowledged individually; the remaining ones are sent again, in order. */
static void
test_decide(void)
{
        LogQueue q = {0};
        LogCount refused = {0};
        static const LogFate fates[] = {LOG_FATE_DONE, LOG_FATE_AGAIN, LOG_FATE_REFUSED, LOG_FATE_AGAIN,
                                        LOG_FATE_REFUSED};
        for (const char *text = "abcdefg"; *text; text++) {
                char one[] = {*text, '\0'};
                add(&q, one, STREAM_STDOUT, 0);
        }
        log_queue_reserve(&q, 5);
        g_assert_cmpuint(q.taken, ==, 0);
        log_queue_decide(&q, fates, G_N_ELEMENTS(fates), &refused);
        log_audit_queue(&q);
        g_assert_cmpuint(q.taken, >, 0);
        g_assert_cmpuint(q.done.records, ==, 1);
        g_assert_cmpuint(q.done.bytes, ==, 2);
        g_assert_cmpuint(refused.records, ==, 2);
        g_assert_cmpuint(refused.bytes, ==, 4);
        g_assert_cmpuint(log_queue_queued(&q).records, ==, 4);
        assert_next(&q, SIZE_MAX, "b");
        log_queue_reserve(&q, 1);
        assert_next(&q, SIZE_MAX, "d");
        log_queue_reserve(&q, 1);
        assert_next(&q, SIZE_MAX, "fg");
        log_queue_decide(&q, (LogFate[]){LOG_FATE_DONE, LOG_FATE_DONE}, 2, &refused);
        log_audit_queue(&q);
        assert_next(&q, SIZE_MAX, "fg");
        log_queue_wrote(&q, 2);
        g_assert_true(log_queue_is_empty(&q));
        g_assert_cmpuint(q.done.records, ==, 5);
        log_queue_clear(&q, &refused);
}

/* The same across block boundaries. */
static void
test_decide_blocks(void)
{
        LogQueue q = {0};
        LogCount refused = {0};
        enum { N = 60000 };
        g_autofree LogFate *fates = g_new(LogFate, N);
        for (int i = 0; i < N; i++) {
                add(&q, "message", i % 2 ? STREAM_STDERR : STREAM_STDOUT, 0);
                fates[i] = i % 3 == 0 ? LOG_FATE_REFUSED : i % 3 == 1 ? LOG_FATE_DONE : LOG_FATE_AGAIN;
        }
        g_assert_true(q.head != q.tail);
        log_queue_reserve(&q, (size_t)N * 7);
        g_assert_cmpuint(log_queue_next_len(&q), ==, 0);
        log_queue_decide(&q, fates, N, &refused);
        g_assert_cmpuint(refused.records, ==, N / 3);
        g_assert_cmpuint(q.done.records, ==, N / 3);
        g_assert_cmpuint(log_queue_queued(&q).records, ==, N / 3);
        for (int i = 0; i < N; i++)
                fates[i] = LOG_FATE_DONE;
        log_queue_reserve(&q, (size_t)N / 3 * 7);
        log_queue_decide(&q, fates, N / 3, &refused);
        g_assert_true(log_queue_is_empty(&q));
        g_assert_cmpuint(q.n_dead, ==, 0);
        log_queue_clear(&q, &refused);
}

static void
test_blocks(void)
{
        LogQueue q = {0};
        g_autoptr(GString) in = g_string_new(NULL), out = g_string_new(NULL);
        for (int i = 0; i < 60000; i++) {
                g_autofree char *text = g_strdup_printf("message %d;", i);
                add(&q, text, i % 2 ? STREAM_STDERR : STREAM_STDOUT, 0);
                g_string_append(in, text);
        }
        g_assert_true(q.head != q.tail);
        g_assert_cmpuint(log_queue_memory(&q), ==, in->len + 60000 * sizeof(LogEntry));
        g_assert_cmpuint(log_queue_queued(&q).records, ==, 60000);
        const char *bytes;
        for (size_t len, step = 1; (len = log_queue_next(&q, 5000, &bytes)) > 0; step = step * 7 % 4999) {
                g_string_append_len(out, bytes, (gssize)MIN(len, step));
                log_queue_wrote(&q, MIN(len, step));
        }
        g_assert_cmpstr(in->str, ==, out->str);
        g_assert_cmpuint(q.done.records, ==, 60000);
        g_assert_true(log_queue_is_empty(&q));
        log_queue_release(&q);
}

static void
test_big_message(void)
{
        LogQueue q = {0};
        g_autofree char *text = g_strnfill(1 << 20, 'b');
        add(&q, "small", STREAM_STDOUT, 0);
        add(&q, text, STREAM_STDOUT, 0);
        assert_next(&q, SIZE_MAX, "small");
        log_queue_wrote(&q, 5);
        assert_next(&q, SIZE_MAX, text);
        log_queue_wrote(&q, 1 << 20);
        log_queue_release(&q);
        g_assert_null(q.head);
}

static void
test_undo(void)
{
        LogQueue q = {0};
        add(&q, "one", STREAM_STDOUT, 0);
        add(&q, "two", STREAM_STDOUT, 0);
        log_queue_undo(&q);
        add(&q, "six", STREAM_STDOUT, 0);
        assert_next(&q, SIZE_MAX, "onesix");
        log_queue_wrote(&q, 6);
        log_queue_release(&q);
}

static void
test_peek(void)
{
        LogQueue q = {0};
        LogMessage m[2];
        add(&q, "one", STREAM_STDERR, 0);
        add(&q, "two", STREAM_STDOUT, 0);
        add(&q, "six", STREAM_STDOUT, 0);
        g_assert_cmpuint(log_queue_peek(&q, m, 2), ==, 2);
        g_assert_cmpmem(m[0].bytes, m[0].len, "one", 3);
        g_assert_cmpuint(m[0].stream, ==, STREAM_STDERR);
        g_assert_cmpmem(m[1].bytes, m[1].len, "two", 3);
        log_queue_wrote(&q, 6);
        g_assert_cmpuint(log_queue_peek(&q, m, 2), ==, 1);
        g_assert_cmpmem(m[0].bytes, m[0].len, "six", 3);
        log_queue_wrote(&q, 3);
        g_assert_cmpuint(log_queue_peek(&q, m, 2), ==, 0);
        log_queue_release(&q);
}

static LogCount
drop(LogQueue *q, bool expected, bool expected_open)
{
        LogDropped dropped = {0};
        g_assert_cmpint(log_queue_drop_oldest(q, &dropped), ==, expected);
        g_assert_cmpint(dropped.open, ==, expected_open);
        return dropped.count;
}

static void
test_drop_oldest(void)
{
        LogQueue q = {0};
        (void)drop(&q, false, false);
        add(&q, "a", STREAM_STDOUT, 0);
        add(&q, "b", STREAM_STDOUT, LOG_RECORD_PARTIAL);
        add(&q, "E", STREAM_STDERR, 0);
        add(&q, "c", STREAM_STDOUT, LOG_RECORD_PARTIAL | LOG_RECORD_CONTINUES);
        add(&q, "d", STREAM_STDOUT, LOG_RECORD_CONTINUES);
        add(&q, "f", STREAM_STDOUT, LOG_RECORD_PARTIAL);
        g_assert_cmpuint(drop(&q, true, false).bytes, ==, 2);
        LogCount line = drop(&q, true, false);
        g_assert_cmpuint(line.records, ==, 3);
        g_assert_cmpuint(line.bytes, ==, 4);
        assert_next(&q, SIZE_MAX, "E");
        g_assert_cmpuint(log_queue_queued(&q).records, ==, 2);
        log_queue_wrote(&q, 1);
        assert_next(&q, SIZE_MAX, "f");
        (void)drop(&q, true, true);
        g_assert_true(log_queue_is_empty(&q));
        add(&q, "new", STREAM_STDOUT, 0);
        log_queue_wrote(&q, 1);
        (void)drop(&q, false, false);
        log_queue_wrote(&q, 2);
        g_assert_true(log_queue_is_empty(&q));
        g_assert_cmpuint(q.done.records, ==, 2);
        log_queue_release(&q);
}

/* A message that does not fit into the block that was just emptied. */
static void
test_block_after_empty_one(void)
{
        LogQueue q = {0};
        g_autofree char *big = g_strnfill(300000, 'b');
        add(&q, "one", STREAM_STDOUT, 0);
        log_queue_wrote(&q, 3);
        add(&q, big, STREAM_STDOUT, 0);
        log_queue_sent(&q, 300000);
        log_queue_done(&q, 1);
        g_assert_true(log_queue_is_empty(&q));
        g_assert_cmpuint(q.done.bytes, ==, 4 + 300001);
        g_assert_cmpuint(log_queue_memory(&q), ==, 0);
        log_queue_release(&q);
}

/* A model of the queue as a list: the state of each message, and the progress of sending. */
typedef struct {
        char text[24];
        bool sent;
} ModelMessage;

static size_t
first_unsent(const GArray *model)
{
        size_t i = 0;
        while (i < model->len && g_array_index(model, ModelMessage, i).sent)
                i++;
        return i;
}

static void
send_some(LogQueue *q, GArray *model, GRand *rand)
{
        const char *bytes;
        size_t at = first_unsent(model), max = (size_t)g_rand_int_range(rand, 1, 200), len;
        g_assert_cmpuint(log_queue_next_len(q), ==,
                         at < model->len ? strlen(g_array_index(model, ModelMessage, at).text) : 0);
        len = log_queue_next(q, max, &bytes);
        for (size_t sum = 0; sum < len; at++) {
                ModelMessage *m = &g_array_index(model, ModelMessage, at);
                g_assert_cmpmem(bytes + sum, strlen(m->text), m->text, strlen(m->text));
                m->sent = true;
                sum += strlen(m->text);
        }
        log_queue_sent(q, len);
}

/* Acknowledges the first n messages, and a byte of the next one if it was sent. */
static void
confirm_bytes(LogQueue *q, GArray *model, size_t n, bool more)
{
        size_t len = 0;
        for (size_t i = 0; i < n; i++)
                len += strlen(g_array_index(model, ModelMessage, i).text);
        more = more && strlen(g_array_index(model, ModelMessage, n).text) > 1;
        g_assert_cmpuint(log_queue_arrived(q, len + more), ==, len);
}

static void
confirm_some(LogQueue *q, GArray *model, GRand *rand)
{
        size_t n = first_unsent(model);
        n = n > 0 ? (size_t)g_rand_int_range(rand, 0, (int)n + 1) : 0;
        if (g_rand_boolean(rand))
                log_queue_done(q, n);
        else
                confirm_bytes(q, model, n, first_unsent(model) > n);
        if (n > 0)
                g_array_remove_range(model, 0, (guint)n);
}

static void
drop_one(LogQueue *q, GArray *model)
{
        LogDropped dropped;
        size_t at = first_unsent(model);
        bool can = at < model->len;
        g_assert_cmpint(log_queue_drop_oldest(q, &dropped), ==, can);
        if (can)
                g_array_remove_index(model, (guint)at);
}

/* After sent, unacknowledged messages, others and their blocks are added and removed. */
static void
test_drop_behind_sent(void)
{
        LogQueue q = {0};
        g_autofree char *text = g_strnfill(1000, 'x');
        add(&q, "sent", STREAM_STDOUT, 0);
        add(&q, "part", STREAM_STDOUT, 0);
        log_queue_sent(&q, 6);
        for (int i = 0; i < 5000; i++) {
                add(&q, text, STREAM_STDOUT, 0);
                if (i >= 10)
                        g_assert_cmpuint(drop(&q, true, false).bytes, ==, 1001);
        }
        size_t n = 0;
        for (const LogBlock *b = q.head; b; b = b->next)
                n++;
        g_assert_cmpuint(n, <=, 3);
        g_assert_cmpuint(log_queue_memory(&q), ==, 8 + 10 * 1000 + 12 * sizeof(LogEntry));
        g_assert_cmpuint(log_queue_arrived(&q, 6), ==, 4);
        assert_next(&q, SIZE_MAX, "rt");
        log_queue_sent(&q, 2);
        for (int i = 0; i < 10; i++) {
                assert_next(&q, 1000, text);
                log_queue_sent(&q, 1000);
        }
        g_assert_cmpuint(log_queue_arrived(&q, 10004), ==, 10004);
        g_assert_true(log_queue_is_empty(&q));
        g_assert_cmpuint(q.done.records, ==, 12);
        log_queue_release(&q);
}

/* With random operations the queue agrees with the model. */
static void
test_random(void)
{
        LogQueue q = {0};
        g_autoptr(GRand) rand = g_rand_new_with_seed(42);
        g_autoptr(GArray) model = g_array_new(FALSE, FALSE, sizeof(ModelMessage));
        for (int i = 0; i < 300000; i++) {
                int what = g_rand_int_range(rand, 0, 100);
                if (what < (i / 50000 % 2 ? 40 : 70)) {
                        ModelMessage m = {.sent = false};
                        (void)g_snprintf(m.text, sizeof m.text, "%d:%.*s", i, what % 12, "............");
                        add(&q, m.text, what % 2 ? STREAM_STDERR : STREAM_STDOUT, 0);
                        g_array_append_val(model, m);
                } else if (what < 90) {
                        send_some(&q, model, rand);
                } else if (what < 97) {
                        confirm_some(&q, model, rand);
                } else if (what < 98) {
                        log_queue_rewind(&q);
                        for (guint k = 0; k < model->len; k++)
                                g_array_index(model, ModelMessage, k).sent = false;
                } else {
                        drop_one(&q, model);
                }
                if (i % 64 == 0)
                        g_assert_cmpuint(log_queue_queued(&q).records, ==, model->len);
                if (i % 1024 == 0)
                        log_queue_release(&q);
        }
        LogCount rest = {0};
        log_queue_clear(&q, &rest);
        g_assert_cmpuint(rest.records, ==, model->len);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/queue/write", test_write);
        g_test_add_func("/log/queue/rewind", test_rewind);
        g_test_add_func("/log/queue/acknowledged", test_acknowledged);
        g_test_add_func("/log/queue/arrived", test_arrived);
        g_test_add_func("/log/queue/blocks", test_blocks);
        g_test_add_func("/log/queue/decide", test_decide);
        g_test_add_func("/log/queue/decide-blocks", test_decide_blocks);
        g_test_add_func("/log/queue/big-message", test_big_message);
        g_test_add_func("/log/queue/block-after-empty-one", test_block_after_empty_one);
        g_test_add_func("/log/queue/undo", test_undo);
        g_test_add_func("/log/queue/peek", test_peek);
        g_test_add_func("/log/queue/drop-oldest", test_drop_oldest);
        g_test_add_func("/log/queue/drop-behind-sent", test_drop_behind_sent);
        g_test_add_func("/log/queue/random", test_random);
        return g_test_run();
}
