/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/deflate.h"

#include "base/dlopen_note.h"
#include "base/page_buffer.h"

#include <dlfcn.h>
#include <glib.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>

#define ZLIB "libz.so.1"
DLOPEN_NOTE(zlib_note, "gelf", "Compression of log messages", "suggested", ZLIB);

/* As powers of two, see deflateInit2: 32 kB in all, which is enough for messages of some kilobytes. */
#define WINDOW_BITS  12
#define MEMORY_LEVEL 5

/* Added to the window bits for gzip's header. */
#define GZIP 16

struct DeflateState {
        void *library;
        __typeof__(deflateInit2_) *init;
        __typeof__(deflate) *run;
        __typeof__(deflateReset) *reset;
        __typeof__(deflateEnd) *end;
        z_stream stream;
};

/* The library gets whole pages, because its memory would fragment the heap. Each block begins with its
 * length, for munmap. */
static void *
take_memory(void *unused, unsigned n, unsigned size)
{
        size_t len = sizeof(max_align_t) + (size_t)n * size;
        max_align_t *pages = pages_take(len);
        memcpy(pages, &len, sizeof len);
        return pages + 1;
}

static void
give_memory(void *unused, void *memory)
{
        max_align_t *pages = (max_align_t *)memory - 1;
        size_t len;
        memcpy(&len, pages, sizeof len);
        (void)munmap(pages, len);
}

static bool
load(struct DeflateState *s)
{
        s->library = dlopen(ZLIB, RTLD_NOW | RTLD_LOCAL);
        if (!s->library)
                return false;
        *(void **)&s->init = dlsym(s->library, "deflateInit2_");
        *(void **)&s->run = dlsym(s->library, "deflate");
        *(void **)&s->reset = dlsym(s->library, "deflateReset");
        *(void **)&s->end = dlsym(s->library, "deflateEnd");
        return s->init && s->run && s->reset && s->end;
}

bool
deflate_is_possible(Deflate *d)
{
        if (d->state)
                return true;
        struct DeflateState *s = g_new0(struct DeflateState, 1);
        s->stream.zalloc = take_memory;
        s->stream.zfree = give_memory;
        int window = WINDOW_BITS + (d->gzip ? GZIP : 0);
        if (load(s) && s->init(&s->stream, d->level, Z_DEFLATED, window, MEMORY_LEVEL, Z_DEFAULT_STRATEGY,
                               ZLIB_VERSION, sizeof s->stream) == Z_OK) {
                d->state = s;
                return true;
        }
        if (s->library)
                (void)dlclose(s->library);
        g_free(s);
        return false;
}

size_t
deflate_pieces(Deflate *d, const struct iovec *pieces, size_t n, char *out, size_t max)
{
        if (!deflate_is_possible(d))
                return 0;
        z_stream *stream = &d->state->stream;
        stream->next_out = (Bytef *)out;
        stream->avail_out = (unsigned)max;
        int r = Z_OK;
        for (size_t i = 0; i < n && (r == Z_OK || r == Z_BUF_ERROR); i++) {
                stream->next_in = pieces[i].iov_base;
                stream->avail_in = (unsigned)pieces[i].iov_len;
                r = d->state->run(stream, i + 1 < n ? Z_NO_FLUSH : Z_FINISH);
                if (stream->avail_in > 0)
                        break;
        }
        size_t len = stream->total_out;
        (void)d->state->reset(stream);
        /* Servers recognize zlib's format by the header of the largest window, which is valid for smaller
         * ones, too. */
        if (!d->gzip && r == Z_STREAM_END)
                memcpy(out, "\x78\x01", 2);
        return r == Z_STREAM_END ? len : 0;
}

void
deflate_release(Deflate *d)
{
        if (!d->state)
                return;
        (void)d->state->end(&d->state->stream);
        (void)dlclose(d->state->library);
        g_clear_pointer(&d->state, g_free);
}
