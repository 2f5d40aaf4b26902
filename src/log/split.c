/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/split.h"

#include <glib.h>
#include <string.h>

size_t
log_split_ready(const char *data, size_t len, bool more)
{
        if (!more || len == 0)
                return len;
        const char *newline = memrchr(data, '\n', len);
        size_t finished = newline ? (size_t)(newline - data) + 1 : 0;
        return finished + (len - finished) / LOG_RECORD_MAX * LOG_RECORD_MAX;
}

void
log_splitter_init(LogSplitter *s, StreamId stream, uint64_t seed)
{
        /* The ids of the two streams increase in steps of two, so that they never coincide. */
        *s = (LogSplitter){.stream = stream, .next_id = (seed << 1 | 2) + stream};
}

/* The first piece of a split line gets an id, the later ones the same id and a number. */
static void
number_piece(LogSplitter *s, LogRecord *r)
{
        if (s->ordinal == 0) {
                s->partial_id = s->next_id;
                s->next_id += N_STREAMS;
        } else {
                r->flags |= LOG_RECORD_CONTINUES;
        }
        r->partial_id = s->partial_id;
        r->ordinal = ++s->ordinal;
        if (!(r->flags & LOG_RECORD_PARTIAL))
                s->ordinal = 0;
}

size_t
log_splitter_cut(LogSplitter *s, const char *data, size_t len, LogRecord *records, size_t max,
                 size_t *ret_used)
{
        const char *at = data, *end = data + len;
        size_t n = 0;
        for (; n < max && at < end; n++) {
                size_t left = (size_t)(end - at);
                const char *newline = memchr(at, '\n', MIN(left, (size_t)LOG_RECORD_MAX + 1));
                size_t piece = newline ? (size_t)(newline - at) : MIN(left, (size_t)LOG_RECORD_MAX);
                records[n] = (LogRecord){
                        .bytes = at,
                        .len = (uint32_t)piece,
                        .payload = (uint32_t)piece + (newline != NULL),
                        .time_ns = s->now_ns,
                        .stream = (uint8_t)s->stream,
                };
                at += piece;
                if (newline)
                        at++;
                else
                        records[n].flags =
                                LOG_RECORD_PARTIAL | (at == end && !s->more ? LOG_RECORD_PAUSED : 0);
                if (!newline || s->ordinal > 0)
                        number_piece(s, &records[n]);
        }
        *ret_used = (size_t)(at - data);
        return n;
}

void
log_splitter_save(const LogSplitter *s, StateWriter *w)
{
        state_begin(w, stream_name(s->stream));
        state_put_uint(w, "ordinal", s->ordinal);
        state_put_uint(w, "partial-id", s->partial_id);
        state_put_uint(w, "next-id", s->next_id);
        state_end(w);
}

void
log_splitter_restore(LogSplitter *s, StateReader *r)
{
        state_enter(r, stream_name(s->stream));
        s->ordinal = (uint32_t)state_get_uint(r, "ordinal", UINT32_MAX);
        s->partial_id = state_get_uint(r, "partial-id", UINT64_MAX);
        s->next_id = state_get_uint(r, "next-id", UINT64_MAX);
        state_leave(r);
}
