/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/joiner.h"
#include "log/log.h"
#include "log/split.h"

#include "fuzz.h"

#define BATCH 16

/* A reader that joins the parts of a line. */
typedef struct {
        GString *text;
        size_t payload;
        size_t max; /* bytes a record may have */
        bool open;
        uint32_t ordinal;
        uint64_t id;
        LogJoiner *joiner;
} Reader;

static void
check_order(Reader *reader, const LogRecord *r)
{
        bool continues = r->flags & LOG_RECORD_PARTIAL && !(r->flags & LOG_RECORD_ENDS);
        g_assert_cmpint((r->flags & LOG_RECORD_CONTINUES) != 0, ==, reader->open);
        if (continues || reader->open) {
                g_assert_cmpuint(r->ordinal, ==, reader->open ? reader->ordinal + 1 : 1);
                g_assert_cmpuint(r->partial_id, !=, 0);
                if (reader->open)
                        g_assert_cmpuint(r->partial_id, ==, reader->id);
        } else {
                g_assert_cmpuint(r->ordinal, ==, 0);
        }
        reader->open = continues;
        reader->ordinal = r->ordinal;
        reader->id = r->partial_id;
}

static void
take(const LogRecord *r, size_t ahead, void *data)
{
        Reader *reader = data;
        bool partial = (r->flags & LOG_RECORD_PARTIAL) != 0;
        g_assert_cmpuint(r->len, <=, reader->max);
        g_assert_null(memchr(r->bytes, '\n', r->len));
        check_order(reader, r);
        g_string_append_len(reader->text, r->bytes, r->len);
        if (!partial) {
                g_assert_cmpint(r->bytes[r->len], ==, '\n');
                g_string_append_c(reader->text, '\n');
        }
        reader->payload += r->payload;
}

static void
push(Reader *shared, Reader *joined, const LogRecord *r)
{
        take(r, 0, shared);
        log_joiner_push(joined->joiner, r);
}

/* As in the monitor, bytes that are not consumed are passed again before the next ones. Returns the number of
 * consumed bytes. */
static size_t
cut(LogSplitter *s, const char *at, size_t len, bool more, Reader *shared, Reader *joined)
{
        size_t ready = log_split_ready(at, len, more);
        g_assert_cmpuint(ready, <=, len);
        if (more)
                g_assert_cmpuint(len - ready, <, LOG_RECORD_MAX);
        else
                g_assert_cmpuint(ready, ==, len);
        s->more = more;
        for (size_t done = 0, used; done < ready; done += used) {
                LogRecord records[BATCH];
                size_t n = log_splitter_cut(s, at + done, ready - done, records, BATCH, &used);
                g_assert_true(n > 0 && used > 0);
                for (size_t i = 0; i < n; i++)
                        push(shared, joined, &records[i]);
        }
        return ready;
}

/* The first byte selects the size of the chunks, the second the maximum length of joined records. */
static void
run(const uint8_t *data, size_t size)
{
        LogSplitter s;
        LogJoinerConfig config = {.max_record = 1 + data[1] * 8,
                                  .look_ahead = data[0] & 1 ? data[1] % 4 * 5 : 0,
                                  .hold = data[0] & 1,
                                  .split_full = data[0] & 2,
                                  .emit = take};
        Reader shared = {.text = g_string_new(NULL), .max = LOG_RECORD_MAX};
        Reader joined = {.text = g_string_new(NULL), .max = config.max_record};
        config.data = &joined;
        joined.joiner = log_joiner_new(&config);
        const char *text = (const char *)data + 2;
        size_t len = size - 2, chunk = 1 + (data[0] >> 2) * 5u;
        log_splitter_init(&s, STREAM_STDOUT, 7);
        for (size_t at = 0, end = 0; end < len;) {
                end = MIN(end + chunk, len);
                at += cut(&s, text + at, end - at, (data[at] & 1) && end < len, &shared, &joined);
        }
        log_joiner_flush(joined.joiner);
        g_assert_cmpmem(shared.text->str, shared.text->len, text, len);
        g_assert_cmpmem(joined.text->str, joined.text->len, text, len);
        g_assert_cmpuint(shared.payload, ==, len);
        g_assert_cmpuint(joined.payload, ==, len);
        log_joiner_free(joined.joiner);
        g_string_free(shared.text, TRUE);
        g_string_free(joined.text, TRUE);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size >= 2)
                run(data, size);
        return 0;
}
