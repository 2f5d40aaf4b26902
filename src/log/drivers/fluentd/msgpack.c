/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/fluentd/msgpack.h"

#include <endian.h>
#include <errno.h>
#include <glib.h>
#include <string.h>

static char *
put_u8(char *at, unsigned type, unsigned value)
{
        *at++ = (char)type;
        *at++ = (char)value;
        return at;
}

static char *
put_u16(char *at, unsigned type, uint32_t value)
{
        uint16_t big = htobe16((uint16_t)value);
        *at++ = (char)type;
        memcpy(at, &big, sizeof big);
        return at + sizeof big;
}

static char *
put_u32(char *at, unsigned type, uint32_t value)
{
        uint32_t big = htobe32(value);
        *at++ = (char)type;
        memcpy(at, &big, sizeof big);
        return at + sizeof big;
}

static char *
put_count(char *at, unsigned fix, unsigned type16, uint32_t n)
{
        if (n > UINT16_MAX)
                return put_u32(at, type16 + 1, n);
        if (n > 15)
                return put_u16(at, type16, n);
        *at = (char)(fix | n);
        return at + 1;
}

char *
msgpack_put_array(char *at, uint32_t n)
{
        return put_count(at, 0x90, 0xdc, n);
}

char *
msgpack_put_map(char *at, uint32_t n)
{
        return put_count(at, 0x80, 0xde, n);
}

char *
msgpack_put_uint(char *at, uint32_t value)
{
        if (value > UINT16_MAX)
                return put_u32(at, 0xce, value);
        if (value > UINT8_MAX)
                return put_u16(at, 0xcd, value);
        if (value > 127)
                return put_u8(at, 0xcc, value);
        *at = (char)value;
        return at + 1;
}

char *
msgpack_put_str_head(char *at, size_t len)
{
        if (len > UINT16_MAX)
                return put_u32(at, 0xdb, (uint32_t)len);
        if (len > UINT8_MAX)
                return put_u16(at, 0xda, (uint32_t)len);
        if (len > 31)
                return put_u8(at, 0xd9, (unsigned)len);
        *at = (char)(0xa0 | len);
        return at + 1;
}

char *
msgpack_put_bin_head(char *at, size_t len)
{
        if (len > UINT16_MAX)
                return put_u32(at, 0xc6, (uint32_t)len);
        if (len > UINT8_MAX)
                return put_u16(at, 0xc5, (uint32_t)len);
        return put_u8(at, 0xc4, (unsigned)len);
}

/* Bytes of the character at `at`; 0: there is none. */
static size_t
char_len(const char *at, const char *end)
{
        if ((unsigned char)*at < 0x80)
                return 1;
        /* The two highest values are errors. */
        bool valid = g_utf8_get_char_validated(at, end - at) < (gunichar)-2;
        return valid ? (size_t)(g_utf8_next_char(at) - at) : 0;
}

static const char replacement[] = "\xef\xbf\xbd";
#define REPLACEMENT_LEN (sizeof replacement - 1)

/* Skips words of ASCII: most text has nothing else, and looking at each byte took a third of the time. */
static const char *
skip_ascii(const char *at, const char *end)
{
        uint64_t word;
        for (; end - at >= (ptrdiff_t)sizeof word; at += sizeof word) {
                memcpy(&word, at, sizeof word);
                if (word & UINT64_C(0x8080808080808080))
                        break;
        }
        return at;
}

static size_t
valid_len(const char *at, const char *end)
{
        size_t sum = 0;
        while (at < end) {
                const char *next = skip_ascii(at, end);
                size_t n = next > at ? (size_t)(next - at) : char_len(at, end);
                sum += n ? n : REPLACEMENT_LEN;
                at += n ? n : 1;
        }
        return sum;
}

static char *
put_valid(char *out, const char *at, const char *end)
{
        while (at < end) {
                size_t n = char_len(at, end);
                out = n ? mempcpy(out, at, n) : mempcpy(out, replacement, REPLACEMENT_LEN);
                at += n ? n : 1;
        }
        return out;
}

char *
msgpack_put_str(char *at, const char *text, size_t len)
{
        size_t valid = valid_len(text, text + len);
        at = msgpack_put_str_head(at, valid);
        return valid == len ? mempcpy(at, text, len) : put_valid(at, text, text + len);
}

char *
msgpack_put_text(char *at, const char *text)
{
        return msgpack_put_str(at, text, strlen(text));
}

char *
msgpack_put_time(char *at, int64_t ns)
{
        uint32_t parts[2] = {htobe32((uint32_t)(ns / 1000000000)), htobe32((uint32_t)(ns % 1000000000))};
        at = put_u8(at, 0xd7, 0);
        memcpy(at, parts, sizeof parts);
        return at + sizeof parts;
}

/* Reads a number of 1, 2, 4 or 8 bytes, most significant first. */
static int
take_number(MsgpackReader *r, size_t size, uint64_t *ret)
{
        uint64_t sum = 0;
        if ((size_t)(r->end - r->at) < size)
                return -EAGAIN;
        for (size_t i = 0; i < size; i++)
                sum = sum << 8 | (unsigned char)*r->at++;
        *ret = sum;
        return 0;
}

static int
take_bytes(MsgpackReader *r, MsgpackValue *v, MsgpackType type, uint64_t len)
{
        if ((uint64_t)(r->end - r->at) < len)
                return -EAGAIN;
        v->type = type;
        v->text = r->at;
        v->len = (size_t)len;
        r->at += len;
        return 0;
}

static int
take_counted(MsgpackReader *r, MsgpackValue *v, MsgpackType type, size_t size)
{
        uint64_t n = 0;
        int e = take_number(r, size, &n);
        v->type = type;
        v->n = (uint32_t)n;
        return e;
}

/* A string, binary data, or an extension, whose type is one byte more. */
static int
take_sized(MsgpackReader *r, MsgpackValue *v, MsgpackType type, size_t size)
{
        uint64_t len = 0;
        int e = take_number(r, size, &len);
        return e < 0 ? e : take_bytes(r, v, type, len + (type == MSGPACK_OTHER));
}

/* The types from 0xc0 to 0xdf. */
static int
take_long(MsgpackReader *r, MsgpackValue *v, unsigned type)
{
        if (type == 0xc2 || type == 0xc3)
                v->type = type == 0xc3 ? MSGPACK_TRUE : MSGPACK_FALSE;
        else if (type >= 0xc4 && type <= 0xc6)
                return take_sized(r, v, MSGPACK_STR, (size_t)1 << (type - 0xc4));
        else if (type >= 0xc7 && type <= 0xc9)
                return take_sized(r, v, MSGPACK_OTHER, (size_t)1 << (type - 0xc7));
        else if (type == 0xca || type == 0xcb)
                return take_bytes(r, v, MSGPACK_OTHER, type == 0xca ? 4 : 8);
        else if (type >= 0xcc && type <= 0xd3)
                return take_bytes(r, v, MSGPACK_OTHER, (uint64_t)1 << ((type - 0xcc) & 3));
        else if (type >= 0xd4 && type <= 0xd8)
                return take_bytes(r, v, MSGPACK_OTHER, ((uint64_t)1 << (type - 0xd4)) + 1);
        else if (type >= 0xd9 && type <= 0xdb)
                return take_sized(r, v, MSGPACK_STR, (size_t)1 << (type - 0xd9));
        else if (type >= 0xdc)
                return take_counted(r, v, type < 0xde ? MSGPACK_ARRAY : MSGPACK_MAP, type & 1 ? 4 : 2);
        return type == 0xc1 ? -EBADMSG : 0;
}

static int
take_value(MsgpackReader *r, MsgpackValue *v)
{
        if (r->at == r->end)
                return -EAGAIN;
        unsigned type = (unsigned char)*r->at++;
        *v = (MsgpackValue){.type = MSGPACK_OTHER, .n = type & 15};
        if (type < 0x80 || type >= 0xe0)
                return 0;
        if (type >= 0xc0)
                return take_long(r, v, type);
        if (type >= 0xa0)
                return take_bytes(r, v, MSGPACK_STR, type & 31);
        v->type = type < 0x90 ? MSGPACK_MAP : MSGPACK_ARRAY;
        return 0;
}

int
msgpack_read(MsgpackReader *r, MsgpackValue *ret)
{
        MsgpackReader copy = *r;
        MsgpackValue v;
        int e = take_value(&copy, &v);
        if (e < 0)
                return e;
        *r = copy;
        *ret = v;
        return 0;
}

int
msgpack_scan(MsgpackScan *s, const char *text, size_t len)
{
        for (;;) {
                MsgpackReader r = {text + s->at, text + len};
                MsgpackValue v;
                int e = msgpack_read(&r, &v);
                if (e < 0)
                        return e;
                s->at = (size_t)(r.at - text);
                if (v.type >= MSGPACK_ARRAY && v.n > 0) {
                        if (s->depth == MSGPACK_DEPTH_MAX)
                                return -EBADMSG;
                        s->left[s->depth++] = (uint64_t)v.n * (v.type == MSGPACK_MAP ? 2 : 1);
                        continue;
                }
                while (s->depth > 0 && --s->left[s->depth - 1] == 0)
                        s->depth--;
                if (s->depth == 0)
                        return 0;
        }
}

static int
skip(MsgpackReader *r, int depth)
{
        MsgpackValue v;
        int e = depth > MSGPACK_DEPTH_MAX ? -EBADMSG : take_value(r, &v);
        if (e < 0 || v.type < MSGPACK_ARRAY)
                return e;
        uint64_t n = (uint64_t)v.n * (v.type == MSGPACK_MAP ? 2 : 1);
        while (e == 0 && n-- > 0)
                e = skip(r, depth + 1);
        return e;
}

int
msgpack_skip(MsgpackReader *r)
{
        MsgpackReader copy = *r;
        int e = skip(&copy, 0);
        if (e == 0)
                *r = copy;
        return e;
}
