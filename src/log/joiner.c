#include "log/joiner.h"

#include "base/page_buffer.h"

#include <glib.h>
#include <string.h>

/* The line of one stream. */
typedef struct {
        PageBuffer held;  /* max_record bytes and a newline */
        size_t len;       /* bytes held */
        int64_t time_ns;  /* of the first of them */
        uint32_t ordinal; /* of the piece that was emitted last; 0: none of this line */
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
        page_buffer_take(&line->held, j->config.max_record + 1);
        if (line->len == 0)
                line->time_ns = r->time_ns;
        memmove(line->held.data + line->len, bytes, len);
        line->len += len;
}

/* Numbers a piece of a line that is emitted in several. */
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

/* How many bytes at the end begin a UTF-8 character that is not finished. */
static size_t
count_unfinished(const char *bytes, size_t len)
{
        for (size_t n = MIN(len, (size_t)3); n > 0; n--) {
                const char *at = bytes + len - n;
                /* The second highest value is the error of a character that is cut off. */
                if ((*at & 0xc0) == 0xc0 && g_utf8_get_char_validated(at, (gssize)n) == (gunichar)-2)
                        return n;
        }
        return 0;
}

/* Emits what is held and then `len` bytes, without copying if nothing is held. */
static void
emit_piece(LogJoiner *j, const LogRecord *r, const char *bytes, size_t len, unsigned flags,
           LogRecordFunc emit, void *data)
{
        JoinerLine *line = &j->lines[r->stream];
        LogRecord out = {.time_ns = r->time_ns, .stream = r->stream, .flags = (uint8_t)flags};
        bool partial = (flags & LOG_RECORD_PARTIAL) != 0;
        if (line->len > 0) {
                hold(j, line, r, bytes, len);
                out.time_ns = line->time_ns;
                bytes = line->held.data;
                len = line->len;
                if (!partial)
                        line->held.data[len] = '\n';
        }
        size_t rest = partial && j->config.characters ? count_unfinished(bytes, len) : 0;
        out.bytes = bytes;
        out.len = (uint32_t)(len - rest);
        out.payload = out.len + !partial;
        if (out.payload > 0 && (line->ordinal > 0 || partial))
                number_piece(j, line, &out);
        line->len = 0;
        if (out.payload > 0)
                emit(&out, data);
        if (rest > 0)
                hold(j, line, r, bytes + out.len, rest);
}

void
log_joiner_push(LogJoiner *j, const LogRecord *r, LogRecordFunc emit, void *data)
{
        const JoinerLine *line = &j->lines[r->stream];
        bool finished = !(r->flags & LOG_RECORD_PARTIAL);
        size_t max = j->config.max_record, left = r->len;
        const char *bytes = r->bytes;
        size_t limit = finished && !j->config.split_full ? max + 1 : max;
        while (line->len + left >= limit) {
                size_t part = max - line->len;
                emit_piece(j, r, bytes, part, LOG_RECORD_PARTIAL, emit, data);
                bytes += part;
                left -= part;
        }
        if (finished)
                emit_piece(j, r, bytes, left, 0, emit, data);
        else if (j->config.hold || !(r->flags & LOG_RECORD_PAUSED))
                hold(j, &j->lines[r->stream], r, bytes, left);
        else if (line->len + left > 0)
                emit_piece(j, r, bytes, left, LOG_RECORD_PARTIAL | LOG_RECORD_PAUSED, emit, data);
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
log_joiner_flush(LogJoiner *j, LogRecordFunc emit, void *data)
{
        j->config.characters = false;
        for (int i = 0; i < N_STREAMS; i++) {
                LogRecord end = {.bytes = "", .stream = (uint8_t)i};
                if (j->lines[i].len > 0)
                        emit_piece(j, &end, "", 0, LOG_RECORD_PARTIAL | LOG_RECORD_PAUSED, emit, data);
        }
}
