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
        memcpy(line->held.data + line->len, bytes, len);
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

/* Emits what is held and then `len` bytes, without copying if nothing is held. */
static void
emit_piece(LogJoiner *j, const LogRecord *r, const char *bytes, size_t len, unsigned flags, LogRecordFunc emit,
           void *data)
{
        JoinerLine *line = &j->lines[r->stream];
        LogRecord out = {.time_ns = r->time_ns, .stream = r->stream, .flags = (uint8_t)flags};
        if (line->len > 0) {
                hold(j, line, r, bytes, len);
                out.time_ns = line->time_ns;
                bytes = line->held.data;
                len = line->len;
                line->held.data[len] = '\n';
        }
        out.bytes = bytes;
        out.len = (uint32_t)len;
        out.payload = out.len + !(flags & LOG_RECORD_PARTIAL);
        if (line->ordinal > 0 || flags & LOG_RECORD_PARTIAL)
                number_piece(j, line, &out);
        line->len = 0;
        emit(&out, data);
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

void
log_joiner_flush(LogJoiner *j, LogRecordFunc emit, void *data)
{
        for (int i = 0; i < N_STREAMS; i++) {
                LogRecord end = {.bytes = "", .stream = (uint8_t)i};
                if (j->lines[i].len > 0)
                        emit_piece(j, &end, "", 0, LOG_RECORD_PARTIAL | LOG_RECORD_PAUSED, emit, data);
        }
}
