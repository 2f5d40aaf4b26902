/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The part of Protocol Buffers that log formats need (https://protobuf.dev/programming-guides/encoding/).
 * Field numbers are limited to those with a head of one byte: 1 to 15. */

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

/* The most bytes of a number, and of the head of a field with bytes. */
#define PROTOBUF_VARINT_MAX 10
#define PROTOBUF_HEAD_MAX   (1 + PROTOBUF_VARINT_MAX)

/* The encoded length of a number. */
size_t protobuf_varint_len(uint64_t n);

/* The encoded length of a field with `len` bytes. */
size_t protobuf_bytes_len(size_t len);

/* These write to `at`, which must have enough space, and return the end. */
char *protobuf_put_number(char *at, unsigned field, uint64_t n);
char *protobuf_put_fixed64(char *at, unsigned field, uint64_t n);
char *protobuf_put_head(char *at, unsigned field, size_t len);
char *protobuf_put_bytes(char *at, unsigned field, const char *bytes, size_t len);

/* Append a field with bytes, or only its head. */
void protobuf_append_bytes(GString *out, unsigned field, const char *bytes, size_t len);
void protobuf_append_head(GString *out, unsigned field, size_t len);

typedef struct ProtobufReader {
        const char *at, *end;
} ProtobufReader;

typedef struct ProtobufField {
        uint64_t number;   /* of the field */
        uint64_t value;    /* of a number; 0 for bytes */
        const char *bytes; /* NULL: it is a number */
        size_t len;
} ProtobufField;

/* Reads the next field. Returns 1, 0 at the end, or -EBADMSG. */
int protobuf_next(ProtobufReader *r, ProtobufField *ret);
