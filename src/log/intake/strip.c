/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/strip.h"

#include "base/page_buffer.h"

#include <glib.h>
#include <string.h>

#define BELL       '\a'
#define CANCEL     '\x18'
#define SUBSTITUTE '\x1a'
#define ESCAPE     '\x1b'

/* The state of the parser. */
typedef enum {
        OUTSIDE,
        AFTER_ESCAPE,
        INTERMEDIATE, /* after ESC, before the final byte: "ESC ( B" */
        CONTROL,      /* a control sequence: "ESC [ 31 m" */
        STRING,       /* "ESC ] 0 ; title BEL", "ESC P ... ESC \" */
        STRING_ESCAPE,
} Place;

typedef struct {
        Place place;
        size_t returns; /* carriage returns at the end of a part: the next byte decides */
} StripLine;

struct LogStripper {
        bool cr;
        bool ansi;
        StripLine lines[N_STREAMS];
        PageBuffer copy;
};

LogStripper *
log_stripper_new(bool cr, bool ansi)
{
        LogStripper *s = g_new0(LogStripper, 1);
        s->cr = cr;
        s->ansi = ansi;
        return s;
}

void
log_stripper_release(LogStripper *s)
{
        page_buffer_release(&s->copy);
}

void
log_stripper_free(LogStripper *s)
{
        if (s)
                log_stripper_release(s);
        g_free(s);
}

static Place
place_after_escape(char c)
{
        if (c == '[')
                return CONTROL;
        if (c && strchr("]PX^_", c))
                return STRING;
        return c >= ' ' && c <= '/' ? INTERMEDIATE : OUTSIDE;
}

/* The state after another byte of a sequence. A byte that is invalid there ends the sequence and is text:
 * then *ret_text is true. */
static Place
next_place(Place place, char c, bool *ret_text)
{
        *ret_text = false;
        if (place == STRING && (c == BELL || c == CANCEL || c == SUBSTITUTE))
                return OUTSIDE;
        if (place == STRING)
                return c == ESCAPE ? STRING_ESCAPE : STRING;
        if (c == ESCAPE)
                return AFTER_ESCAPE;
        *ret_text = place == OUTSIDE || c < ' ' || c > '~';
        if (*ret_text)
                return OUTSIDE;
        if (place == AFTER_ESCAPE || place == STRING_ESCAPE)
                return place_after_escape(c);
        bool last = c >= (place == CONTROL ? '@' : '0');
        return last ? OUTSIDE : place;
}

static char *
put_returns(StripLine *line, size_t keep, char *at)
{
        for (; line->returns > keep; line->returns--)
                *at++ = '\r';
        return at;
}

/* Copies the bytes that remain. Returns their end. */
static char *
strip(const LogStripper *s, StripLine *line, const char *bytes, size_t len, char *at)
{
        for (const char *end = bytes + len; bytes < end; bytes++) {
                bool text = true;
                if (s->ansi && (line->place != OUTSIDE || *bytes == ESCAPE))
                        line->place = next_place(line->place, *bytes, &text);
                if (!text)
                        continue;
                if (s->cr && *bytes == '\r') {
                        line->returns++;
                        continue;
                }
                at = put_returns(line, 0, at);
                *at++ = *bytes;
        }
        return at;
}

/* True if no byte has to be removed, or added from the previous part. */
static bool
is_clean(const LogStripper *s, const LogRecord *r, size_t ahead)
{
        const StripLine *line = &s->lines[r->stream];
        size_t len = r->len + ahead;
        return line->place == OUTSIDE && line->returns == 0 && !(s->cr && memchr(r->bytes, '\r', len)) &&
               !(s->ansi && memchr(r->bytes, ESCAPE, len));
}

LogRecord
log_stripper_apply(LogStripper *s, const LogRecord *r, size_t *ahead)
{
        LogRecord out = *r;
        StripLine *line = &s->lines[r->stream];
        size_t most = r->len + *ahead + line->returns + 1;
        if (is_clean(s, r, *ahead))
                return out;
        if (s->copy.size < most)
                page_buffer_release(&s->copy);
        page_buffer_take(&s->copy, most);
        char *end = strip(s, line, r->bytes, r->len, s->copy.data);
        if (log_record_is_last(r))
                *line = (StripLine){0};
        else
                end = put_returns(line, 1, end);
        out.bytes = s->copy.data;
        out.len = (uint32_t)(end - s->copy.data);
        StripLine later = *line;
        *ahead = (size_t)(strip(s, &later, r->bytes + r->len, *ahead, end) - end);
        if (!(r->flags & LOG_RECORD_PARTIAL))
                *end = '\n';
        return out;
}

void
log_stripper_save(const LogStripper *s, StateWriter *w)
{
        state_begin(w, "stripper");
        state_put_uint(w, "cr", s->cr);
        state_put_uint(w, "ansi", s->ansi);
        for (StreamId i = 0; i < N_STREAMS; i++) {
                state_put_uint(w, "place", s->lines[i].place);
                state_put_uint(w, "returns", s->lines[i].returns);
        }
        state_end(w);
}

void
log_stripper_restore(LogStripper *s, StateReader *r)
{
        state_enter(r, "stripper");
        s->cr = state_get_bool(r, "cr");
        s->ansi = state_get_bool(r, "ansi");
        for (StreamId i = 0; i < N_STREAMS; i++) {
                s->lines[i].place = (Place)state_get_uint(r, "place", STRING_ESCAPE);
                s->lines[i].returns = state_get_uint(r, "returns", 1);
        }
        state_leave(r);
}
