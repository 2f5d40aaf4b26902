/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/http_answer.h"

#include "base/gstring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The most bytes of a server's text in a message. */
#define PRINTABLE_MAX 200

static int
fail(HttpAnswer *a, const char *problem)
{
        a->problem = problem;
        return -EBADMSG;
}

/* ---- the head ---- */

/* "HTTP/1.1 200 OK" */
static int
take_status_line(HttpAnswer *a, const char *line)
{
        unsigned minor, status;
        int end = 0;
        if (sscanf(line, "HTTP/1.%1u %3u%n", &minor, &status, &end) != 2 || end != 12 ||
            (line[12] != '\0' && line[12] != ' ') || status < 100 || status > 599)
                return fail(a, "it does not speak HTTP/1.1");
        a->status = (int)status;
        a->retry_after = -1;
        a->persistent = minor >= 1;
        a->state = HTTP_FIELDS;
        if (status == 101)
                return fail(a, "it switches to another protocol, which was not requested");
        return 0;
}

/* True if the comma-separated list has this element. */
static bool
has_token(const char *value, const char *token)
{
        g_auto(GStrv) words = g_strsplit(value, ",", -1);
        for (char **w = words; *w; w++)
                if (g_ascii_strcasecmp(g_strstrip(*w), token) == 0)
                        return true;
        return false;
}

/* Parses "Sun, 06 Nov 1994 08:49:37 GMT"; -1 if it is not of this form. */
static time_t
parse_date(const char *text)
{
        static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
        struct tm tm = {0};
        char month[4];
        if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT", &tm.tm_mday, month, &tm.tm_year,
                   &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
                return -1;
        const char *at = strstr(months, month);
        if (!at || strlen(month) != 3 || (at - months) % 3 != 0)
                return -1;
        tm.tm_mon = (int)(at - months) / 3;
        tm.tm_year -= 1900;
        return timegm(&tm);
}

/* An invalid value is ignored: -1. */
static int64_t
parse_retry_after(const char *value)
{
        guint64 seconds;
        if (g_ascii_string_to_unsigned(value, 10, 0, G_MAXUINT32, &seconds, NULL))
                return (int64_t)MIN(seconds * G_USEC_PER_SEC, (guint64)HTTP_RETRY_AFTER_MAX);
        time_t date = parse_date(value);
        if (date < 0)
                return -1;
        return CLAMP((date - time(NULL)) * G_USEC_PER_SEC, 0, HTTP_RETRY_AFTER_MAX);
}

static int
take_length(HttpAnswer *a, const char *value)
{
        guint64 length;
        if (!g_ascii_string_to_unsigned(value, 10, 0, G_MAXINT64, &length, NULL) ||
            (a->has_length && a->left != length))
                return fail(a, "its answer has an invalid Content-Length");
        a->has_length = true;
        a->left = length;
        return 0;
}

static int
take_field(HttpAnswer *a, char *line)
{
        char *colon = strchr(line, ':');
        /* The rest of a folded value (RFC 9112, 5.2). A value that matters here is not that long. */
        if (*line == ' ' || *line == '\t')
                return 0;
        if (!colon || colon == line)
                return fail(a, "its answer has an invalid header field");
        *colon = '\0';
        const char *value = g_strstrip(colon + 1);
        if (g_ascii_strcasecmp(line, "content-length") == 0)
                return take_length(a, value);
        if (g_ascii_strcasecmp(line, "transfer-encoding") == 0) {
                if (g_ascii_strcasecmp(value, "chunked") != 0)
                        return fail(a, "its answer has an unknown Transfer-Encoding");
                a->chunked = true;
        } else if (g_ascii_strcasecmp(line, "connection") == 0) {
                a->persistent =
                        !has_token(value, "close") && (a->persistent || has_token(value, "keep-alive"));
        } else if (g_ascii_strcasecmp(line, "retry-after") == 0) {
                a->retry_after = parse_retry_after(value);
        } else if (g_ascii_strcasecmp(line, "location") == 0) {
                g_free(a->location);
                a->location = http_printable(value, strlen(value));
        }
        return 0;
}

/* After an interim answer, which may come without having been requested, another one follows (RFC 9110,
 * 15.2). */
static void
skip_interim(HttpAnswer *a)
{
        a->chunked = a->has_length = false;
        g_clear_pointer(&a->location, g_free);
        a->state = HTTP_STATUS_LINE;
}

/* The head is complete: it determines the length of the body. */
static void
begin_body(HttpAnswer *a)
{
        if (a->status < 200) {
                skip_interim(a);
        } else if (a->status == 204 || a->status == 304) {
                a->state = HTTP_DONE;
        } else if (a->chunked) {
                a->state = HTTP_CHUNK_HEAD;
                a->left = 0;
        } else if (a->has_length) {
                a->state = a->left > 0 ? HTTP_BODY_COUNTED : HTTP_DONE;
        } else {
                a->state = HTTP_BODY_UNTIL_END;
                a->persistent = false;
        }
}

/* ---- the body ---- */

static void
keep_body(HttpAnswer *a, const char *bytes, size_t len)
{
        if (!a->body)
                a->body = g_string_new(NULL);
        size_t n = MIN(len, a->body_max - a->body->len);
        g_string_append_len(a->body, bytes, (gssize)n);
        a->truncated = a->truncated || n < len;
}

static size_t
take_counted(HttpAnswer *a, const char *bytes, size_t len, HttpState next)
{
        size_t n = (size_t)MIN((uint64_t)len, a->left);
        keep_body(a, bytes, n);
        a->left -= n;
        if (a->left == 0)
                a->state = next;
        return n;
}

/* "1a", possibly followed by a semicolon and extensions. */
static int
take_chunk_head(HttpAnswer *a, char *line)
{
        guint64 size;
        line[strcspn(line, ";")] = '\0';
        if (!g_ascii_string_to_unsigned(g_strchomp(line), 16, 0, G_MAXINT64, &size, NULL))
                return fail(a, "its answer has a chunk with an invalid size");
        a->left = size;
        a->state = size > 0 ? HTTP_CHUNK : HTTP_TRAILER;
        return 0;
}

static int
take_line(HttpAnswer *a, char *line)
{
        switch (a->state) {
        case HTTP_STATUS_LINE:
                return take_status_line(a, line);
        case HTTP_FIELDS:
                if (*line)
                        return take_field(a, line);
                begin_body(a);
                return 0;
        case HTTP_CHUNK_HEAD:
                return take_chunk_head(a, line);
        case HTTP_CHUNK_END:
                if (*line)
                        return fail(a, "its answer has a chunk of the wrong size");
                a->state = HTTP_CHUNK_HEAD;
                return 0;
        default:
                a->state = *line ? HTTP_TRAILER : HTTP_DONE;
                return 0;
        }
}

/* Collects bytes up to the end of the line, then parses it. */
static int
push_line(HttpAnswer *a, const char *bytes, size_t len, size_t *ret_used)
{
        const char *newline = memchr(bytes, '\n', len);
        size_t n = newline ? (size_t)(newline - bytes) + 1 : len;
        bool chunk = a->state == HTTP_CHUNK_HEAD || a->state == HTTP_CHUNK_END;
        *ret_used = n;
        if (!a->line)
                a->line = g_string_new(NULL);
        a->head_len = chunk ? a->line->len + n : a->head_len + n;
        if (a->head_len > HTTP_HEAD_MAX)
                return fail(a, "the head of its answer is too long");
        g_string_append_len(a->line, bytes, (gssize)n);
        if (!newline)
                return 0;
        g_string_truncate(a->line, a->line->len - 1);
        if (a->line->len > 0 && a->line->str[a->line->len - 1] == '\r')
                g_string_truncate(a->line, a->line->len - 1);
        if (strlen(a->line->str) != a->line->len)
                return fail(a, "its answer has an invalid header field");
        int r = take_line(a, a->line->str);
        g_string_truncate(a->line, 0);
        return r;
}

int
http_answer_push(HttpAnswer *a, const char *bytes, size_t len, size_t *ret_used)
{
        size_t at = 0;
        while (at < len && a->state != HTTP_DONE) {
                size_t used = 0;
                int r = 0;
                if (a->state == HTTP_BODY_COUNTED) {
                        used = take_counted(a, bytes + at, len - at, HTTP_DONE);
                } else if (a->state == HTTP_CHUNK) {
                        used = take_counted(a, bytes + at, len - at, HTTP_CHUNK_END);
                } else if (a->state == HTTP_BODY_UNTIL_END) {
                        used = len - at;
                        keep_body(a, bytes + at, used);
                } else {
                        r = push_line(a, bytes + at, len - at, &used);
                }
                at += used;
                if (r < 0)
                        return r;
        }
        *ret_used = at;
        return a->state == HTTP_DONE;
}

bool
http_answer_end(HttpAnswer *a)
{
        if (a->state == HTTP_BODY_UNTIL_END)
                a->state = HTTP_DONE;
        return a->state == HTTP_DONE;
}

bool
http_answer_has_begun(const HttpAnswer *a)
{
        return a->head_len > 0;
}

void
http_answer_clear(HttpAnswer *a)
{
        g_free(a->location);
        gstring_free(a->body);
        gstring_free(a->line);
        *a = (HttpAnswer){.body_max = a->body_max};
}

char *
http_printable(const char *text, size_t len)
{
        g_autofree char *valid = g_utf8_make_valid(text, (gssize)MIN(len, (size_t)PRINTABLE_MAX));
        GString *line = g_string_new(NULL);
        for (const char *at = valid; *at; at = g_utf8_next_char(at)) {
                gunichar c = g_utf8_get_char(at);
                bool blank = g_unichar_isspace(c) || !g_unichar_isprint(c);
                if (!blank)
                        g_string_append_unichar(line, c);
                else if (line->len > 0 && line->str[line->len - 1] != ' ')
                        g_string_append_c(line, ' ');
        }
        return g_strchomp(g_string_free(line, FALSE));
}

void
http_answer_save(const HttpAnswer *a, StateWriter *w)
{
        state_begin(w, "answer");
        state_put_int(w, "status", a->status);
        state_put_int(w, "retry-after", a->retry_after);
        state_put_text(w, "location", a->location);
        state_put_uint(w, "persistent", a->persistent);
        state_put_uint(w, "truncated", a->truncated);
        state_put_string(w, "body", a->body);
        state_put_uint(w, "state", a->state);
        state_put_string(w, "line", a->line);
        state_put_uint(w, "head-length", a->head_len);
        state_put_uint(w, "has-length", a->has_length);
        state_put_uint(w, "chunked", a->chunked);
        state_put_uint(w, "left", a->left);
        state_end(w);
}

void
http_answer_restore(HttpAnswer *a, StateReader *r)
{
        state_enter(r, "answer");
        a->status = (int)state_get_int(r, "status", 0, 599);
        a->retry_after = state_get_int(r, "retry-after", -1, HTTP_RETRY_AFTER_MAX);
        a->location = state_get_text(r, "location");
        a->persistent = state_get_bool(r, "persistent");
        a->truncated = state_get_bool(r, "truncated");
        a->body = state_get_string_or_null(r, "body");
        a->state = (HttpState)state_get_uint(r, "state", HTTP_DONE);
        a->line = state_get_string_or_null(r, "line");
        a->head_len = state_get_uint(r, "head-length", SIZE_MAX / 2);
        a->has_length = state_get_bool(r, "has-length");
        a->chunked = state_get_bool(r, "chunked");
        a->left = state_get_uint(r, "left", UINT64_MAX);
        state_leave(r);
        if (a->body && a->body->len > a->body_max)
                state_fail(r, "The body of an answer is too long");
        if (a->state != HTTP_STATUS_LINE && a->status < 100)
                state_fail(r, "An answer has no status");
}
