/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/http_request.h"

/* The first two pieces. */
enum { HEAD, BEFORE, N_FIXED };

static void
set_piece(HttpRequest *r, guint i, const char *bytes, size_t len)
{
        g_array_index(r->pieces, struct iovec, i) = (struct iovec){(char *)bytes, len};
}

void
http_request_begin(HttpRequest *r)
{
        if (!r->pieces) {
                r->pieces = g_array_new(FALSE, FALSE, sizeof(struct iovec));
                r->head = g_string_new(NULL);
                r->before = g_string_new(NULL);
                r->after = g_string_new(NULL);
        }
        g_array_set_size(r->pieces, N_FIXED);
        set_piece(r, HEAD, "", 0);
        set_piece(r, BEFORE, "", 0);
        r->piece = 0;
        r->body_len = 0;
        g_string_truncate(r->head, 0);
        g_string_truncate(r->before, 0);
        g_string_truncate(r->after, 0);
}

void
http_request_add(HttpRequest *r, const char *bytes, size_t len)
{
        r->body_len += len;
        struct iovec *last = &g_array_index(r->pieces, struct iovec, r->pieces->len - 1);
        if ((const char *)last->iov_base + last->iov_len == bytes) {
                last->iov_len += len;
                return;
        }
        struct iovec piece = {(char *)bytes, len};
        g_array_append_val(r->pieces, piece);
}

void
http_request_end_body(HttpRequest *r)
{
        set_piece(r, BEFORE, r->before->str, r->before->len);
        r->body_len += r->before->len;
        http_request_add(r, r->after->str, r->after->len);
}

bool
http_request_compress(HttpRequest *r, Deflate *deflate)
{
        page_buffer_release(&r->compressed);
        page_buffer_take(&r->compressed, r->body_len);
        const struct iovec *body = &g_array_index(r->pieces, struct iovec, BEFORE);
        size_t len =
                deflate_pieces(deflate, body, r->pieces->len - BEFORE, r->compressed.data, r->body_len);
        if (len == 0)
                return false;
        g_array_set_size(r->pieces, N_FIXED);
        set_piece(r, BEFORE, r->compressed.data, len);
        r->body_len = len;
        return true;
}

void
http_request_set_head(HttpRequest *r, const char *path, const char *host, const char *fields,
                      const char *content_type, bool compressed)
{
        g_string_printf(r->head, "POST %s HTTP/1.1\r\nHost: %s\r\n", path, host);
        g_string_append(r->head, fields);
        g_string_append_printf(r->head, "Content-Type: %s\r\n%sContent-Length: %zu\r\n\r\n", content_type,
                               compressed ? "Content-Encoding: gzip\r\n" : "", r->body_len);
        set_piece(r, HEAD, r->head->str, r->head->len);
}

int
http_request_next(const HttpRequest *r, const struct iovec **ret_pieces)
{
        if (!r->pieces || r->piece == r->pieces->len)
                return 0;
        *ret_pieces = &g_array_index(r->pieces, struct iovec, r->piece);
        return (int)MIN(r->pieces->len - r->piece, HTTP_REQUEST_PIECES);
}

void
http_request_wrote(HttpRequest *r, size_t len)
{
        while (r->piece < r->pieces->len) {
                struct iovec *p = &g_array_index(r->pieces, struct iovec, r->piece);
                size_t n = MIN(len, p->iov_len);
                p->iov_base = (char *)p->iov_base + n;
                p->iov_len -= n;
                len -= n;
                if (p->iov_len > 0)
                        return;
                r->piece++;
        }
}

void
http_request_clear(HttpRequest *r)
{
        page_buffer_release(&r->compressed);
        if (r->pieces) {
                g_string_free(r->head, TRUE);
                g_string_free(r->before, TRUE);
                g_string_free(r->after, TRUE);
                g_array_unref(r->pieces);
        }
        *r = (HttpRequest){0};
}

/* ---- live upgrade ---- */

void
http_request_save(const HttpRequest *r, StateWriter *w)
{
        g_autoptr(GString) rest = g_string_new(NULL);
        for (guint i = r->piece; r->pieces && i < r->pieces->len; i++) {
                const struct iovec *p = &g_array_index(r->pieces, struct iovec, i);
                g_string_append_len(rest, p->iov_base, (gssize)p->iov_len);
        }
        state_put_string(w, "rest", rest);
}

void
http_request_restore(HttpRequest *r, StateReader *s)
{
        size_t len = 0;
        const char *rest = state_get_bytes(s, "rest", &len);
        if (len == 0)
                return;
        http_request_begin(r);
        g_string_append_len(r->head, rest, (gssize)len);
        set_piece(r, HEAD, r->head->str, r->head->len);
}
