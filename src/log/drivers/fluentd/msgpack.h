/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The parts of MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md) that
 * the forward protocol needs. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- writing: each function writes at `at` and returns where it ended ---- */

/* The maximum size of the header of a value. */
#define MSGPACK_HEAD_MAX 5

char *msgpack_put_array(char *at, uint32_t n);
char *msgpack_put_map(char *at, uint32_t n);
char *msgpack_put_uint(char *at, uint32_t value);

/* Strings are UTF-8: a byte of the text that is not part of it becomes U+FFFD. The buffer has
 * MSGPACK_STR_MAX(len) bytes. */
#define MSGPACK_STR_MAX(len) (MSGPACK_HEAD_MAX + 3 * (len))
char *msgpack_put_str(char *at, const char *text, size_t len);
char *msgpack_put_text(char *at, const char *text);

/* The head of a string or of binary data whose bytes come from elsewhere. */
char *msgpack_put_str_head(char *at, size_t len);
char *msgpack_put_bin_head(char *at, size_t len);

/* An EventTime of the forward protocol: extension type 0, seconds and nanoseconds. MSGPACK_TIME_LEN bytes. */
#define MSGPACK_TIME_LEN 10
char *msgpack_put_time(char *at, int64_t ns);

/* ---- reading ---- */

typedef enum {
        MSGPACK_OTHER, /* a number, nil, an extension */
        MSGPACK_FALSE,
        MSGPACK_TRUE,
        MSGPACK_STR, /* or binary data */
        MSGPACK_ARRAY,
        MSGPACK_MAP,
} MsgpackType;

typedef struct MsgpackValue {
        MsgpackType type;
        uint32_t n;       /* members of an array, pairs of a map */
        const char *text; /* of a STR; within the input */
        size_t len;
} MsgpackValue;

typedef struct MsgpackReader {
        const char *at, *end;
} MsgpackReader;

/* Reads the next value, of arrays and maps only the head. Returns 0, -EAGAIN if the input ends within it,
 * or -EBADMSG if it is none. */
int msgpack_read(MsgpackReader *r, MsgpackValue *ret);

/* Finds the end of a value that arrives in pieces, parsing each byte about once. Starts with all zero. */
#define MSGPACK_DEPTH_MAX 16
typedef struct MsgpackScan {
        size_t at; /* parsed up to here */
        size_t depth;
        uint64_t left[MSGPACK_DEPTH_MAX]; /* values that are missing in each open array or map */
} MsgpackScan;

/* Continues with `len` bytes, including those of earlier calls. Returns 0 if the value ends at s->at,
 * -EAGAIN, or -EBADMSG if it is none or nested too deep. */
int msgpack_scan(MsgpackScan *s, const char *text, size_t len);

/* Skips the next value with all its members. The same results. */
int msgpack_skip(MsgpackReader *r);
