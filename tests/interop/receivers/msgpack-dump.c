/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Prints MessagePack from standard input as JSON, one value per line, with libmsgpackc. Binary data is
 * {"bin": hex}, an extension {"ext": type, "data": hex}. */

#include <inttypes.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>

static void
print_hex(const char *bytes, size_t len)
{
        for (size_t i = 0; i < len; i++)
                (void)printf("%02x", (unsigned char)bytes[i]);
}

static void
print_string(const char *bytes, size_t len)
{
        (void)putchar('"');
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)bytes[i];
                if (c < 0x20 || c == '"' || c == '\\')
                        (void)printf("\\u%04x", c);
                else
                        (void)putchar(c);
        }
        (void)putchar('"');
}

static void print(const msgpack_object *o);

static void
print_array(const msgpack_object_array *a)
{
        (void)putchar('[');
        for (uint32_t i = 0; i < a->size; i++) {
                if (i > 0)
                        (void)putchar(',');
                print(&a->ptr[i]);
        }
        (void)putchar(']');
}

static void
print_map(const msgpack_object_map *m)
{
        (void)putchar('{');
        for (uint32_t i = 0; i < m->size; i++) {
                if (i > 0)
                        (void)putchar(',');
                print(&m->ptr[i].key);
                (void)putchar(':');
                print(&m->ptr[i].val);
        }
        (void)putchar('}');
}

static void
print_bytes(const msgpack_object *o)
{
        if (o->type == MSGPACK_OBJECT_BIN) {
                (void)printf("{\"bin\":\"");
                print_hex(o->via.bin.ptr, o->via.bin.size);
        } else {
                (void)printf("{\"ext\":%d,\"data\":\"", o->via.ext.type);
                print_hex(o->via.ext.ptr, o->via.ext.size);
        }
        (void)printf("\"}");
}

static void
print(const msgpack_object *o)
{
        if (o->type == MSGPACK_OBJECT_ARRAY)
                print_array(&o->via.array);
        else if (o->type == MSGPACK_OBJECT_MAP)
                print_map(&o->via.map);
        else if (o->type == MSGPACK_OBJECT_STR)
                print_string(o->via.str.ptr, o->via.str.size);
        else if (o->type == MSGPACK_OBJECT_BIN || o->type == MSGPACK_OBJECT_EXT)
                print_bytes(o);
        else if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
                (void)printf("%" PRIu64, o->via.u64);
        else
                (void)printf("null");
}

static char *
read_all(size_t *ret_len)
{
        size_t len = 0, room = 1 << 16;
        char *data = malloc(room);
        for (size_t n; data && (n = fread(data + len, 1, room - len, stdin)) > 0;) {
                len += n;
                if (len == room)
                        data = realloc(data, room *= 2);
        }
        *ret_len = len;
        return data;
}

int
main(void)
{
        size_t len, at = 0;
        char *data = read_all(&len);
        msgpack_unpacked value;
        msgpack_unpacked_init(&value);
        while (at < len) {
                if (msgpack_unpack_next(&value, data, len, &at) != MSGPACK_UNPACK_SUCCESS) {
                        (void)fprintf(stderr, "no MessagePack at byte %zu of %zu\n", at, len);
                        return 1;
                }
                print(&value.data);
                (void)putchar('\n');
        }
        msgpack_unpacked_destroy(&value);
        free(data);
        return 0;
}
