/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/protobuf.h"

#include <errno.h>
#include <string.h>

enum {
        WIRE_VARINT = 0,
        WIRE_FIXED64 = 1,
        WIRE_BYTES = 2,
        WIRE_FIXED32 = 5,
};

size_t
protobuf_varint_len(uint64_t n)
{
        size_t len = 1;
        for (; n >= 0x80; n >>= 7)
                len++;
        return len;
}

size_t
protobuf_bytes_len(size_t len)
{
        return 1 + protobuf_varint_len(len) + len;
}

static char *
put_varint(char *at, uint64_t n)
{
        for (; n >= 0x80; n >>= 7)
                *at++ = (char)(n | 0x80);
        *at++ = (char)n;
        return at;
}

char *
protobuf_put_number(char *at, unsigned field, uint64_t n)
{
        *at++ = (char)(field << 3 | WIRE_VARINT);
        return put_varint(at, n);
}

char *
protobuf_put_fixed64(char *at, unsigned field, uint64_t n)
{
        uint64_t little = GUINT64_TO_LE(n);
        *at++ = (char)(field << 3 | WIRE_FIXED64);
        return mempcpy(at, &little, sizeof little);
}

char *
protobuf_put_head(char *at, unsigned field, size_t len)
{
        *at++ = (char)(field << 3 | WIRE_BYTES);
        return put_varint(at, len);
}

char *
protobuf_put_bytes(char *at, unsigned field, const char *bytes, size_t len)
{
        return mempcpy(protobuf_put_head(at, field, len), bytes, len);
}

void
protobuf_append_head(GString *out, unsigned field, size_t len)
{
        char head[PROTOBUF_HEAD_MAX];
        g_string_append_len(out, head, protobuf_put_head(head, field, len) - head);
}

void
protobuf_append_bytes(GString *out, unsigned field, const char *bytes, size_t len)
{
        protobuf_append_head(out, field, len);
        g_string_append_len(out, bytes, (gssize)len);
}

static int
read_varint(ProtobufReader *r, uint64_t *ret)
{
        uint64_t n = 0;
        for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
                uint8_t byte = (uint8_t)*r->at++;
                n |= (uint64_t)(byte & 0x7f) << shift;
                if (byte < 0x80) {
                        *ret = n;
                        return 0;
                }
        }
        return -EBADMSG;
}

/* A number of fixed size, whose value is not used. */
static int
skip(ProtobufReader *r, size_t len)
{
        if ((size_t)(r->end - r->at) < len)
                return -EBADMSG;
        r->at += len;
        return 1;
}

int
protobuf_next(ProtobufReader *r, ProtobufField *ret)
{
        uint64_t head, len;
        if (r->at == r->end)
                return 0;
        if (read_varint(r, &head) < 0 || head >> 3 == 0)
                return -EBADMSG;
        *ret = (ProtobufField){.number = head >> 3};
        switch (head & 7) {
        case WIRE_VARINT:
                return read_varint(r, &ret->value) < 0 ? -EBADMSG : 1;
        case WIRE_BYTES:
                if (read_varint(r, &len) < 0 || len > (size_t)(r->end - r->at))
                        return -EBADMSG;
                ret->bytes = r->at;
                ret->len = (size_t)len;
                r->at += len;
                return 1;
        case WIRE_FIXED64:
                return skip(r, 8);
        case WIRE_FIXED32:
                return skip(r, 4);
        default:
                return -EBADMSG;
        }
}
