/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/joiner.h"

#include "base/page_buffer.h"

#include <glib.h>
#include <string.h>

/* The line of one stream. */
typedef struct {
        PageBuffer held;  /* max_record bytes, look_ahead bytes and a newline */
        size_t len;       /* bytes held */
        int64_t time_ns;  /* of the first of them */
        uint32_t ordinal; /* of the last emitted piece of this line; 0: none */
        uint64_t partial_id;
} JoinerLine;

struct LogJoiner {
        LogJoinerConfig config;
        uint64_t last_id;
        JoinerLine lines[N_STREAMS];
};

LogJoiner *
log_joiner_new(const LogJoinerConfig *config)
{
        LogJoiner *j = g_new0(LogJoiner, 1);
        j->config = *config;
        j->last_id = (uint64_t)g_get_real_time();
        return j;
}

void
log_joiner_free(LogJoiner *j)
{
        for (int i = 0; j && i < N_STREAMS; i++)
                page_buffer_release(&j->lines[i].held);
        g_free(j);
}

void
log_joiner_release(LogJoiner *j)
{
        for (int i = 0; i < N_STREAMS; i++)
                if (j->lines[i].len == 0)
                        page_buffer_release(&j->lines[i].held);
}

static void
hold(const LogJoiner *j, JoinerLine *line, const LogRecord *r, const char *bytes, size_t len)
{
        page_buffer_take(&line->held, j->config.max_record + j->config.look_ahead + 1);
        if (line->len == 0)
                line->time_ns = r->time_ns;
        memmove(line->held.data + line->len, bytes, len);
        line->len += len;
}

/* Numbers a piece of a line that is emitted in several pieces. */
static void
number_piece(LogJoiner *j, JoinerLine *line, LogRecord *out)
{
        if (line->ordinal == 0)
                line->partial_id = ++j->last_id;
        else
                out->flags |= LOG_RECORD_CONTINUES;
        out->partial_id = line->partial_id;
        out->ordinal = ++line->ordinal;
        if (!(out->flags & LOG_RECORD_PARTIAL))
                line->ordinal = 0;
}

/* How many bytes at the end belong to an incomplete UTF-8 character. */
static size_t
count_unfinished(const char *bytes, size_t len)
{
        for (size_t n = MIN(len, (size_t)3); n > 0; n--) {
                const char *at = bytes + len - n;
                /* (gunichar)-2 stands for an incomplete character. */
                if ((*at & 0xc0) == 0xc0 && g_utf8_get_char_validated(at, (gssize)n) == (gunichar)-2)
                        return n;
        }
        return 0;
}

/* Emits `len` bytes of the line, up to `ahead` more of which follow in memory. Returns how many were emitted:
 * fewer if they end within a character. */
static size_t
emit_bytes(LogJoiner *j, const LogRecord *r, const char *bytes, size_t len, size_t ahead, unsigned flags)
{
        JoinerLine *line = &j->lines[r->stream];
        bool partial = (flags & LOG_RECORD_PARTIAL) != 0;
        bool continues = partial && !(flags & LOG_RECORD_ENDS);
        size_t rest = continues && j->config.characters ? count_unfinished(bytes, len) : 0;
        LogRecord out = {
                .bytes = bytes,
                .len = (uint32_t)(len - rest),
                .time_ns = line->len > 0 ? line->time_ns : r->time_ns,
                .payload = (uint32_t)(len - rest + !partial),
                .stream = r->stream,
                .flags = (uint8_t)flags,
        };
        if (out.payload == 0)
                return 0;
        if (line->ordinal > 0 || continues)
                number_piece(j, line, &out);
        j->config.emit(&out, ahead + rest, j->config.data);
        return out.len;
}

/* The first `n` held bytes were emitted. */
static void
forget(JoinerLine *line, const LogRecord *r, size_t n)
{
        line->len -= n;
        line->time_ns = r->time_ns;
        if (line->len > 0)
                memmove(line->held.data, line->held.data + n, line->len);
}

/* Emits max_record bytes: first the held ones, then some of the `len` given ones. Returns how many of these
 * were used. Nothing is copied if nothing is held. */
static size_t
cut(LogJoiner *j, const LogRecord *r, const char *bytes, size_t len)
{
        JoinerLine *line = &j->lines[r->stream];
        size_t max = j->config.max_record, ahead = j->config.look_ahead;
        if (line->len == 0)
                return emit_bytes(j, r, bytes, max, MIN(len - max, ahead), LOG_RECORD_PARTIAL);
        size_t more = MIN(max + ahead - line->len, len);
        hold(j, line, r, bytes, more);
        forget(line, r, emit_bytes(j, r, line->held.data, max, line->len - max, LOG_RECORD_PARTIAL));
        return more;
}

/* Emits the held bytes and then `len` bytes. */
static void
emit_rest(LogJoiner *j, const LogRecord *r, const char *bytes, size_t len, unsigned flags)
{
        JoinerLine *line = &j->lines[r->stream];
        if (line->len == 0) {
                size_t n = emit_bytes(j, r, bytes, len, 0, flags);
                if (n < len)
                        hold(j, line, r, bytes + n, len - n);
                return;
        }
        hold(j, line, r, bytes, len);
        if (!(flags & LOG_RECORD_PARTIAL))
                line->held.data[line->len] = '\n';
        forget(line, r, emit_bytes(j, r, line->held.data, line->len, 0, flags));
}

void
log_joiner_set_max(LogJoiner *j, size_t max_record)
{
        j->config.max_record = max_record;
}

void
log_joiner_push(LogJoiner *j, const LogRecord *r)
{
        const LogJoinerConfig *c = &j->config;
        const JoinerLine *line = &j->lines[r->stream];
        bool finished = !(r->flags & LOG_RECORD_PARTIAL);
        const char *bytes = r->bytes;
        size_t left = r->len;
        /* A full piece is held until the next byte, where only that shows whether it is the last one. */
        size_t wait = (finished || c->hold) && !c->split_full;
        size_t limit = c->max_record + (finished ? wait : MAX(wait, c->look_ahead));
        while (line->len + left >= limit) {
                size_t used = cut(j, r, bytes, left);
                bytes += used;
                left -= used;
        }
        if (finished)
                emit_rest(j, r, bytes, left, 0);
        else if (c->hold || !(r->flags & LOG_RECORD_PAUSED))
                hold(j, &j->lines[r->stream], r, bytes, left);
        else if (line->len + left > 0)
                emit_rest(j, r, bytes, left, LOG_RECORD_PARTIAL | LOG_RECORD_PAUSED);
}

size_t
log_joiner_count_whole(const LogJoiner *j, const LogRecord *records, size_t n, size_t *ret_payload)
{
        const JoinerLine *line = &j->lines[records->stream];
        size_t i = 0, payload = 0;
        if (line->len > 0 || line->ordinal > 0)
                return 0;
        for (; i < n && records[i].flags == 0 && records[i].len < j->config.max_record; i++)
                payload += records[i].payload;
        *ret_payload = payload;
        return i;
}

void
log_joiner_take_over(LogJoiner *j, LogJoiner *old, StreamId stream)
{
        JoinerLine *from = &old->lines[stream], *to = &j->lines[stream];
        size_t room = j->config.max_record + j->config.look_ahead;
        if (!j->config.hold || from->len > room)
                return;
        if (from->len > 0) {
                page_buffer_take(&to->held, room + 1);
                memcpy(to->held.data, from->held.data, from->len);
        }
        to->len = from->len;
        to->time_ns = from->time_ns;
        to->ordinal = from->ordinal;
        to->partial_id = from->partial_id;
        from->len = 0;
}

bool
log_joiner_is_within(const LogJoiner *j, StreamId stream, uint64_t partial_id)
{
        const JoinerLine *line = &j->lines[stream];
        return line->ordinal > 0 && line->partial_id == partial_id;
}

void
log_joiner_flush(LogJoiner *j)
{
        for (int i = 0; i < N_STREAMS; i++) {
                LogRecord end = {.bytes = "", .stream = (uint8_t)i, .time_ns = j->lines[i].time_ns};
                unsigned flags = LOG_RECORD_PARTIAL | LOG_RECORD_PAUSED | LOG_RECORD_ENDS;
                while (j->lines[i].len > j->config.max_record)
                        (void)cut(j, &end, "", 0);
                if (j->lines[i].len > 0)
                        emit_rest(j, &end, "", 0, flags);
        }
}

void
log_joiner_save(const LogJoiner *j, StateWriter *w)
{
        state_begin(w, "joiner");
        state_put_uint(w, "max-record", j->config.max_record);
        state_put_uint(w, "look-ahead", j->config.look_ahead);
        state_put_uint(w, "last-id", j->last_id);
        for (int i = 0; i < N_STREAMS; i++) {
                const JoinerLine *line = &j->lines[i];
                state_begin(w, stream_name((StreamId)i));
                state_put_bytes(w, "held", line->len > 0 ? line->held.data : "", line->len);
                state_put_int(w, "time", line->time_ns);
                state_put_uint(w, "ordinal", line->ordinal);
                state_put_uint(w, "partial-id", line->partial_id);
                state_end(w);
        }
        state_end(w);
}

/* More than any configuration allows. */
#define HELD_MAX (1 << 24)

static void
restore_line(LogJoiner *j, JoinerLine *line, StateReader *r)
{
        size_t room = j->config.max_record + j->config.look_ahead, len = 0;
        const char *held = state_get_bytes(r, "held", &len);
        line->time_ns = state_get_int(r, "time", INT64_MIN, INT64_MAX);
        line->ordinal = (uint32_t)state_get_uint(r, "ordinal", UINT32_MAX);
        line->partial_id = state_get_uint(r, "partial-id", UINT64_MAX);
        if (len > room)
                state_fail(r, "A held line is too long");
        if (state_failed(r) || len == 0)
                return;
        page_buffer_take(&line->held, room + 1);
        memcpy(line->held.data, held, len);
        line->len = len;
}

void
log_joiner_restore(LogJoiner *j, StateReader *r)
{
        state_enter(r, "joiner");
        j->config.max_record = state_get_uint(r, "max-record", HELD_MAX);
        j->config.look_ahead = state_get_uint(r, "look-ahead", HELD_MAX);
        j->last_id = state_get_uint(r, "last-id", UINT64_MAX);
        if (j->config.max_record == 0)
                state_fail(r, "'max-record' can't be 0");
        for (int i = 0; i < N_STREAMS; i++) {
                state_enter(r, stream_name((StreamId)i));
                restore_line(j, &j->lines[i], r);
                state_leave(r);
        }
        state_leave(r);
}
