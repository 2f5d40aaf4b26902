/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A POST request (HTTP/1.1, RFC 9112) as a list of pieces for writev(2): the head, and a body of messages
 * that stay where they are. */

#include "base/page_buffer.h"
#include "base/state.h"
#include "log/net/deflate.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

/* The most pieces that one system call writes. */
#define HTTP_REQUEST_PIECES 64

/* All zero is no request. */
typedef struct HttpRequest {
        GArray *pieces; /* struct iovec; NULL: none */
        guint piece;    /* the first one that is not completely written */
        size_t body_len;
        GString *head;
        GString *before, *after; /* the beginning and the end of the body, around the messages */
        PageBuffer compressed;
} HttpRequest;

/* Starts a request with an empty body. */
void http_request_begin(HttpRequest *r);

/* Adds bytes to the body. They are not copied, and must stay valid until the request is answered. */
void http_request_add(HttpRequest *r, const char *bytes, size_t len);

/* The body is complete: adds what `before` and `after` contain. */
void http_request_end_body(HttpRequest *r);

/* Compresses the body. Returns false if that would make it longer. */
bool http_request_compress(HttpRequest *r, Deflate *deflate);

/* Adds the head. `fields` have their line ends. Nothing is added after this. */
void http_request_set_head(HttpRequest *r, const char *path, const char *host, const char *fields,
                           const char *content_type, bool compressed);

/* Points *ret_pieces to the next pieces to write, and returns how many; 0: everything is written. */
int http_request_next(const HttpRequest *r, const struct iovec **ret_pieces);

/* The next `len` bytes have been written. */
void http_request_wrote(HttpRequest *r, size_t len);

/* Frees everything. */
void http_request_clear(HttpRequest *r);

/* Live upgrade: the unwritten part. Restoring makes one piece of it. */
void http_request_save(const HttpRequest *r, StateWriter *w);
void http_request_restore(HttpRequest *r, StateReader *s);
