/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json_check.h"

#include <glib.h>
#include <string.h>

/* The limit for nested arrays and objects. */
#define NESTING_MAX 64

typedef struct {
        const char *at, *end;
        unsigned depth;
} Scan;

static void
skip_blanks(Scan *s)
{
        while (s->at < s->end && memchr(" \t\r\n", *s->at, 4))
                s->at++;
}

static bool
take(Scan *s, char c)
{
        if (s->at == s->end || *s->at != c)
                return false;
        s->at++;
        return true;
}

static bool
take_word(Scan *s, const char *word)
{
        size_t len = strlen(word);
        if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
                return false;
        s->at += len;
        return true;
}

static bool
take_digits(Scan *s)
{
        const char *from = s->at;
        while (s->at < s->end && g_ascii_isdigit(*s->at))
                s->at++;
        return s->at > from;
}

static bool
take_number(Scan *s)
{
        (void)take(s, '-');
        if (!take(s, '0') && !take_digits(s))
                return false;
        if (take(s, '.') && !take_digits(s))
                return false;
        if (!take(s, 'e') && !take(s, 'E'))
                return true;
        if (!take(s, '+'))
                (void)take(s, '-');
        return take_digits(s);
}

/* Takes what follows a backslash. */
static bool
take_escape(Scan *s)
{
        if (!take(s, 'u')) {
                bool known = s->at < s->end && memchr("\"\\/bfnrt", *s->at, 8);
                s->at += known;
                return known;
        }
        for (int i = 0; i < 4; i++, s->at++)
                if (s->at == s->end || !g_ascii_isxdigit(*s->at))
                        return false;
        return true;
}

static bool
take_string(Scan *s)
{
        if (!take(s, '"'))
                return false;
        while (s->at < s->end) {
                char c = *s->at++;
                if (c == '"')
                        return true;
                if ((unsigned char)c < 0x20 || (c == '\\' && !take_escape(s)))
                        return false;
        }
        return false;
}

static bool take_value(Scan *s);

static bool
take_member(Scan *s)
{
        skip_blanks(s);
        if (!take_string(s))
                return false;
        skip_blanks(s);
        return take(s, ':') && take_value(s);
}

/* Takes what follows an opening brace or bracket. */
static bool
take_list(Scan *s, bool (*take_element)(Scan *), char end)
{
        if (s->depth == NESTING_MAX)
                return false;
        s->depth++;
        skip_blanks(s);
        if (!take(s, end)) {
                do {
                        if (!take_element(s))
                                return false;
                } while (take(s, ','));
                if (!take(s, end))
                        return false;
        }
        s->depth--;
        return true;
}

/* Takes a value and the blanks around it. */
static bool
take_value(Scan *s)
{
        bool good;
        skip_blanks(s);
        if (take(s, '{'))
                good = take_list(s, take_member, '}');
        else if (take(s, '['))
                good = take_list(s, take_value, ']');
        else if (s->at < s->end && *s->at == '"')
                good = take_string(s);
        else
                good = take_word(s, "true") || take_word(s, "false") || take_word(s, "null") ||
                       take_number(s);
        skip_blanks(s);
        return good;
}

bool
json_is_value(const char *text, size_t len)
{
        Scan s = {.at = text, .end = text + len};
        return take_value(&s) && s.at == s.end && g_utf8_validate_len(text, len, NULL);
}
