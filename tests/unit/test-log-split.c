/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/log.h"
#include "log/split.h"

#include <glib.h>
#include <string.h>

static void
test_ready(void)
{
        g_autofree char *long_line = g_strnfill(3 * LOG_RECORD_MAX, 'x');
        g_assert_cmpuint(log_split_ready("a\nb", 3, false), ==, 3);
        g_assert_cmpuint(log_split_ready("a\nb", 3, true), ==, 2);
        g_assert_cmpuint(log_split_ready("ab", 2, true), ==, 0);
        g_assert_cmpuint(log_split_ready("", 0, true), ==, 0);
        g_assert_cmpuint(log_split_ready("\n", 1, true), ==, 1);
        g_assert_cmpuint(log_split_ready(long_line, LOG_RECORD_MAX - 1, true), ==, 0);
        g_assert_cmpuint(log_split_ready(long_line, LOG_RECORD_MAX, true), ==, LOG_RECORD_MAX);
        g_assert_cmpuint(log_split_ready(long_line, 2 * LOG_RECORD_MAX + 5, true), ==, 2 * LOG_RECORD_MAX);
        long_line[9] = '\n';
        g_assert_cmpuint(log_split_ready(long_line, LOG_RECORD_MAX, true), ==, 10);
        g_assert_cmpuint(log_split_ready(long_line, LOG_RECORD_MAX + 10, true), ==, LOG_RECORD_MAX + 10);
}

static LogRecord records[8];

static size_t
cut(LogSplitter *s, const char *data, size_t len, bool more)
{
        size_t used;
        s->more = more;
        s->now_ns = 7;
        size_t n = log_splitter_cut(s, data, len, records, G_N_ELEMENTS(records), &used);
        g_assert_cmpuint(used, ==, len);
        return n;
}

static void
assert_record(size_t i, const char *bytes, size_t len, unsigned flags, uint32_t ordinal)
{
        g_assert_cmpmem(records[i].bytes, records[i].len, bytes, len);
        g_assert_cmpuint(records[i].flags, ==, flags);
        g_assert_cmpuint(records[i].ordinal, ==, ordinal);
        g_assert_cmpint(records[i].time_ns, ==, 7);
        g_assert_cmpuint(records[i].partial_id != 0, ==, ordinal != 0);
}

static void
test_lines(void)
{
        LogSplitter s;
        log_splitter_init(&s, STREAM_STDERR, 99);
        g_assert_cmpuint(cut(&s, "one\n\nthree\n", 11, false), ==, 3);
        assert_record(0, "one", 3, 0, 0);
        assert_record(1, "", 0, 0, 0);
        assert_record(2, "three", 5, 0, 0);
        g_assert_cmpuint(records[2].stream, ==, STREAM_STDERR);
        g_assert_cmpuint(cut(&s, "a\0b\n", 4, false), ==, 1);
        assert_record(0, "a\0b", 3, 0, 0);
}

static void
test_pieces(void)
{
        LogSplitter s;
        log_splitter_init(&s, STREAM_STDOUT, 99);
        g_assert_cmpuint(cut(&s, "x\npro", 5, false), ==, 2);
        assert_record(1, "pro", 3, LOG_RECORD_PARTIAL | LOG_RECORD_PAUSED, 1);
        uint64_t id = records[1].partial_id;
        g_assert_cmpuint(cut(&s, "mp", 2, false), ==, 1);
        assert_record(0, "mp", 2, LOG_RECORD_PARTIAL | LOG_RECORD_CONTINUES | LOG_RECORD_PAUSED, 2);
        g_assert_cmpuint(cut(&s, "t\nnext\n", 7, false), ==, 2);
        assert_record(0, "t", 1, LOG_RECORD_CONTINUES, 3);
        g_assert_cmpuint(records[0].partial_id, ==, id);
        assert_record(1, "next", 4, 0, 0);
        g_assert_cmpuint(cut(&s, "y", 1, false), ==, 1);
        g_assert_cmpuint(records[0].partial_id, !=, id);
        g_assert_cmpuint(cut(&s, "\n", 1, false), ==, 1);
        assert_record(0, "", 0, LOG_RECORD_CONTINUES, 2);
}

static void
test_long_line(void)
{
        LogSplitter s;
        g_autofree char *text = g_strnfill(2 * LOG_RECORD_MAX + 2, 'x');
        text[2 * LOG_RECORD_MAX] = '\n';
        log_splitter_init(&s, STREAM_STDOUT, 0);
        /* A newline directly after a record of the maximum length belongs to that record. */
        g_assert_cmpuint(cut(&s, text, 2 * LOG_RECORD_MAX + 1, false), ==, 2);
        assert_record(0, text, LOG_RECORD_MAX, LOG_RECORD_PARTIAL, 1);
        assert_record(1, text, LOG_RECORD_MAX, LOG_RECORD_CONTINUES, 2);
        g_assert_cmpuint(cut(&s, text, LOG_RECORD_MAX, true), ==, 1);
        assert_record(0, text, LOG_RECORD_MAX, LOG_RECORD_PARTIAL, 1);
        g_assert_cmpuint(cut(&s, "\n", 1, true), ==, 1);
        assert_record(0, "", 0, LOG_RECORD_CONTINUES, 2);
}

static void
test_batch_limit(void)
{
        LogSplitter s;
        size_t used;
        log_splitter_init(&s, STREAM_STDOUT, 0);
        g_assert_cmpuint(log_splitter_cut(&s, "a\nb\nc\n", 6, records, 2, &used), ==, 2);
        g_assert_cmpuint(used, ==, 4);
}

static void
test_ids_differ(void)
{
        LogSplitter out, err;
        log_splitter_init(&out, STREAM_STDOUT, 5);
        log_splitter_init(&err, STREAM_STDERR, 5);
        g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
        for (int i = 0; i < 6; i++) {
                (void)cut(i % 2 ? &err : &out, "x", 1, false);
                g_assert_true(g_hash_table_add(seen, GUINT_TO_POINTER(records[0].partial_id)));
                (void)cut(i % 2 ? &err : &out, "\n", 1, false);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/split/ready", test_ready);
        g_test_add_func("/log/split/lines", test_lines);
        g_test_add_func("/log/split/pieces", test_pieces);
        g_test_add_func("/log/split/long-line", test_long_line);
        g_test_add_func("/log/split/batch-limit", test_batch_limit);
        g_test_add_func("/log/split/ids", test_ids_differ);
        return g_test_run();
}
