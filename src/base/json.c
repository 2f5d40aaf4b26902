/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Sixteen bytes at a time; the compiler generates the instructions of each processor. */
typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef uint64_t Words2 __attribute__((vector_size(16)));

/* True if none of them has to be escaped. */
static bool
are_plain(Bytes16 b)
{
        Words2 special = (Words2)((b < 0x20) | (b >= 0x80) | (b == '"') | (b == '\\') | (b == '<') |
                                  (b == '>') | (b == '&'));
        return (special[0] | special[1]) == 0;
}

/* The same for one byte, from a table with one bit per ASCII character. */
static bool
is_plain(unsigned char c)
{
        static const uint64_t plain[4] = {
                ~((UINT64_C(1) << 32) - 1) & ~(UINT64_C(1) << '"' | UINT64_C(1) << '&' | UINT64_C(1) << '<' |
                                               UINT64_C(1) << '>'),
                ~(UINT64_C(1) << ('\\' - 64)),
        };
        return plain[c / 64] >> c % 64 & 1;
}

/* The position in the text, and in the JSON string, which has space for JSON_ESCAPE_MAX times the remaining
 * bytes. */
typedef struct {
        const char *at;
        const char *end;
        char *out;
} Escape;

static void
put_number(Escape *e, unsigned c)
{
        static const char digits[] = "0123456789abcdef";
        *e->out++ = '\\';
        *e->out++ = 'u';
        for (int shift = 12; shift >= 0; shift -= 4)
                *e->out++ = digits[c >> shift & 15];
}

/* Escapes one ASCII character. */
static void
put_special(Escape *e)
{
        char c = *e->at++;
        const char *letter = c == '\n' ? "n" : c == '\r' ? "r" : c == '"' ? "\"" : c == '\\' ? "\\" : NULL;
        if (!letter) {
                put_number(e, (unsigned char)c);
                return;
        }
        *e->out++ = '\\';
        *e->out++ = *letter;
}

/* Writes one non-ASCII character, or replaces one invalid byte. */
static void
put_unicode(Escape *e)
{
        gunichar c = g_utf8_get_char_validated(e->at, e->end - e->at);
        /* The two highest values are errors. */
        bool valid = c < (gunichar)-2;
        size_t len = valid ? (size_t)(g_utf8_next_char(e->at) - e->at) : 1;
        if (valid && c != 0x2028 && c != 0x2029)
                e->out = mempcpy(e->out, e->at, len);
        else
                put_number(e, valid ? c : 0xfffd);
        e->at += len;
}

/* Escapes at least up to `until`. */
static void
put_bytes(Escape *e, const char *until)
{
        while (e->at < until) {
                if (is_plain((unsigned char)*e->at))
                        *e->out++ = *e->at++;
                else if ((unsigned char)*e->at < 0x80)
                        put_special(e);
                else
                        put_unicode(e);
        }
}

char *
json_put_text(char *out, const char *text, size_t len)
{
        Escape e = {.at = text, .end = text + len, .out = out};
        while ((size_t)(e.end - e.at) >= sizeof(Bytes16)) {
                /* Writing some bytes twice does no harm. */
                Bytes16 block;
                memcpy(&block, e.at, sizeof block);
                memcpy(e.out, &block, sizeof block);
                if (!are_plain(block)) {
                        put_bytes(&e, e.at + sizeof block);
                        continue;
                }
                e.at += sizeof block;
                e.out += sizeof block;
        }
        put_bytes(&e, e.end);
        return e.out;
}

/* Long texts are escaped piece by piece, so that less than six times their size is reserved. */
#define PIECE_MAX 1024

/* The end of a piece of at most this length, which is not within a character. */
static size_t
cut_piece(const char *text, size_t len)
{
        size_t n = MIN(len, (size_t)PIECE_MAX);
        for (size_t back = 0; n < len && back < 3 && (text[n] & 0xc0) == 0x80; back++)
                n--;
        return n;
}

void
json_append_string(GString *out, const char *text, size_t len)
{
        g_string_append_c(out, '"');
        while (len > 0) {
                size_t n = cut_piece(text, len), old = out->len;
                g_string_set_size(out, old + n * JSON_ESCAPE_MAX);
                const char *end = json_put_text(out->str + old, text, n);
                g_string_set_size(out, (gsize)(end - out->str));
                text += n;
                len -= n;
        }
        g_string_append_c(out, '"');
}

void
json_append_member(GString *out, const char *name, const char *value)
{
        if (out->len == 0 || out->str[out->len - 1] != '{')
                g_string_append_c(out, ',');
        json_append_string(out, name, strlen(name));
        g_string_append_c(out, ':');
        json_append_string(out, value, strlen(value));
}
