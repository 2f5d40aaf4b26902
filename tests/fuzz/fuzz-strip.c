/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/strip.h"

#include "fuzz.h"

static LogRecord
part_of(const char *line, size_t at, size_t len, bool last)
{
        return (LogRecord){
                .bytes = line + at,
                .len = (uint32_t)len,
                .payload = (uint32_t)len + last,
                .flags = (uint8_t)((at > 0 ? LOG_RECORD_CONTINUES : 0) | (last ? 0 : LOG_RECORD_PARTIAL)),
        };
}

/* The result for a line in parts of this size; the next bytes are passed with each part. */
static GString *
strip_parts(LogStripper *s, const char *line, size_t len, size_t size, size_t look_ahead)
{
        GString *text = g_string_new(NULL);
        for (size_t at = 0; at <= len; at += size) {
                bool last = at + size > len;
                LogRecord in = part_of(line, at, MIN(size, len - at), last);
                size_t ahead = last ? 0 : MIN(look_ahead, len - at - size), before = ahead;
                LogRecord out = log_stripper_apply(s, &in, &ahead);
                g_assert_cmpuint(out.len, <=, in.len + 1);
                g_assert_cmpuint(ahead, <=, before + 1);
                g_assert_cmpuint(out.payload, ==, in.payload);
                if (last)
                        g_assert_cmpint(out.bytes[out.len], ==, '\n');
                /* The following bytes are in the same buffer. */
                for (size_t i = 0; i < ahead; i++)
                        g_assert_true(out.bytes[out.len + i] != '\0' || memchr(line, '\0', len));
                g_string_append_len(text, out.bytes, out.len);
        }
        return text;
}

/* Several carriage returns at the end are stripped only if they are in one part; otherwise only the last one
 * is. */
static void
trim_returns(GString *text)
{
        while (text->len > 0 && text->str[text->len - 1] == '\r')
                g_string_truncate(text, text->len - 1);
}

/* The first byte selects what is stripped, the second the length of parts, the third the amount of
 * lookahead. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size < 3 || memchr(data + 3, '\n', size - 3))
                return 0;
        bool cr = data[0] & 1, ansi = data[0] & 2;
        size_t len = size - 3;
        g_autofree char *line = g_malloc(len + 1);
        memcpy(line, data + 3, len);
        line[len] = '\n';
        LogStripper *s = log_stripper_new(cr, ansi);
        GString *whole = strip_parts(s, line, len, len + 1, 0);
        GString *parts = strip_parts(s, line, len, data[1] % 16 + 1u, data[2] % 16);
        if (ansi && !cr)
                g_assert_cmpmem(parts->str, parts->len, whole->str, whole->len);
        if (!ansi)
                g_assert_cmpuint(whole->len, <=, len);
        if (cr)
                g_assert_true(whole->len == 0 || whole->str[whole->len - 1] != '\r');
        trim_returns(whole);
        trim_returns(parts);
        g_assert_cmpmem(parts->str, parts->len, whole->str, whole->len);
        if (ansi && !memchr(line, '\x1b', len) && !cr)
                g_assert_cmpmem(parts->str, parts->len, line, parts->len);
        g_string_free(whole, TRUE);
        g_string_free(parts, TRUE);
        log_stripper_free(s);
        return 0;
}
