/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/severity.h"

#define PREFIX_LEN 3

void
log_severity_init(LogSeverity *s, const LogSeverityOptions *o)
{
        s->parse_prefix = o->parse_prefix;
        s->usual[STREAM_STDOUT] = (uint8_t)o->of_stdout;
        s->usual[STREAM_STDERR] = (uint8_t)o->of_stderr;
        for (StreamId i = 0; i < N_STREAMS; i++)
                s->line[i] = s->usual[i];
}

static bool
has_prefix(const LogRecord *r)
{
        return r->len >= PREFIX_LEN && r->bytes[0] == '<' && r->bytes[1] >= '0' && r->bytes[1] <= '7' &&
               r->bytes[2] == '>';
}

int
log_severity_parse(LogSeverity *s, LogRecord *r)
{
        uint8_t *line = &s->line[r->stream];
        if (r->flags & LOG_RECORD_CONTINUES)
                return *line;
        *line = s->usual[r->stream];
        if (r->flags & LOG_RECORD_MARKER || !has_prefix(r))
                return *line;
        *line = (uint8_t)(r->bytes[1] - '0');
        r->bytes += PREFIX_LEN;
        r->len -= PREFIX_LEN;
        return *line;
}

void
log_severity_save(const LogSeverity *s, StateWriter *w)
{
        state_begin(w, "severity");
        state_put_uint(w, "parse-prefix", s->parse_prefix);
        for (StreamId i = 0; i < N_STREAMS; i++) {
                state_put_uint(w, "usual", s->usual[i]);
                state_put_uint(w, "line", s->line[i]);
        }
        state_end(w);
}

void
log_severity_restore(LogSeverity *s, StateReader *r)
{
        state_enter(r, "severity");
        s->parse_prefix = state_get_bool(r, "parse-prefix");
        for (StreamId i = 0; i < N_STREAMS; i++) {
                s->usual[i] = (uint8_t)state_get_uint(r, "usual", 7);
                s->line[i] = (uint8_t)state_get_uint(r, "line", 7);
        }
        state_leave(r);
}
