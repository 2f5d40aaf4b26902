/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* An incremental parser for the answers of an HTTP/1.1 server (RFC 9112). They are untrusted: lines, head and
 * body are limited in size. */

#include "base/state.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The most bytes of a head, and of the line with the size of a chunk. */
#define HTTP_HEAD_MAX 16384

/* Upper bound for Retry-After, microseconds. */
#define HTTP_RETRY_AFTER_MAX (INT64_C(3600) * 1000000)

typedef enum {
        HTTP_STATUS_LINE,
        HTTP_FIELDS,
        HTTP_BODY_COUNTED,   /* Content-Length */
        HTTP_BODY_UNTIL_END, /* of the connection */
        HTTP_CHUNK_HEAD,
        HTTP_CHUNK,
        HTTP_CHUNK_END,
        HTTP_TRAILER,
        HTTP_DONE,
} HttpState;

/* Before the first byte all members but body_max are zero. */
typedef struct HttpAnswer {
        size_t body_max; /* the rest of a longer body is read and discarded */

        int status;          /* 100 to 599 */
        int64_t retry_after; /* microseconds; -1: not given */
        char *location;      /* of a redirect; NULL: not given */
        bool persistent;     /* the server keeps the connection open for another request */
        bool truncated;      /* the body is longer than body_max, and `body` is its beginning */
        GString *body;       /* NULL: nothing received yet */
        const char *problem; /* the error, after http_answer_push has failed */

        HttpState state;
        GString *line; /* an incomplete line; NULL: none */
        size_t head_len; /* so far, with interim answers; while chunks are read, that of the line */
        bool has_length, chunked;
        uint64_t left; /* bytes of the body or of the chunk that are still to come */
} HttpAnswer;

/* Parses received bytes. Returns 1 if the answer is complete (*ret_used of the bytes belong to it), 0 if it
 * is not yet, or -EBADMSG if it is invalid: then `problem` describes the error, without a full stop. */
int http_answer_push(HttpAnswer *a, const char *bytes, size_t len, size_t *ret_used);

/* To be called at the end of the connection. True if that completes the answer. */
bool http_answer_end(HttpAnswer *a);

/* True if any part of it was received, be it an interim answer. */
bool http_answer_has_begun(const HttpAnswer *a);

/* Frees the contents; ready for the next answer. */
void http_answer_clear(HttpAnswer *a);

/* The beginning of a text from a server as one printable line, for messages. Freed with g_free. */
char *http_printable(const char *text, size_t len);

/* Live upgrade: the received part of an answer. body_max must be set before restoring. */
void http_answer_save(const HttpAnswer *a, StateWriter *w);
void http_answer_restore(HttpAnswer *a, StateReader *r);
