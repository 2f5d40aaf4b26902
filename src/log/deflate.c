#include "log/deflate.h"

#include "base/dlopen_note.h"

#include <dlfcn.h>
#include <glib.h>
#include <string.h>

#define ZLIB "libz.so.1"
DLOPEN_NOTE(zlib_note, "gelf", "GELF messages that are compressed", "suggested", ZLIB);

/* The window and the memory for it, as powers of two: 32 kB in all, enough for messages of some kilobytes. */
#define WINDOW_BITS  12
#define MEMORY_LEVEL 5

/* Added to the window bits it asks for gzip's header. */
#define GZIP 16

#define METHOD_DEFLATED 8
#define FLUSH_FINISH    4
#define RESULT_OK       0
#define RESULT_END      1

/* From zlib.h, whose interface is stable. */
typedef struct {
        const void *next_in;
        unsigned avail_in;
        unsigned long total_in;
        void *next_out;
        unsigned avail_out;
        unsigned long total_out;
        const char *message;
        void *state;
        void *alloc, *free, *opaque;
        int data_type;
        unsigned long adler, reserved;
} Stream;

struct DeflateState {
        void *library;
        int (*init)(Stream *, int level, int method, int window, int memory, int strategy,
                    const char *version, int size);
        int (*run)(Stream *, int flush);
        int (*reset)(Stream *);
        int (*end)(Stream *);
        Stream stream;
};

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
        int window = WINDOW_BITS + (d->gzip ? GZIP : 0);
        if (load(s) && s->init(&s->stream, d->level, METHOD_DEFLATED, window, MEMORY_LEVEL, 0, "1",
                               sizeof s->stream) == RESULT_OK) {
                d->state = s;
                return true;
        }
        if (s->library)
                (void)dlclose(s->library);
        g_free(s);
        return false;
}

size_t
deflate_message(Deflate *d, const char *bytes, size_t len, char *out, size_t max)
{
        if (!deflate_is_possible(d))
                return 0;
        Stream *stream = &d->state->stream;
        stream->next_in = bytes;
        stream->avail_in = (unsigned)len;
        stream->next_out = out;
        stream->avail_out = (unsigned)max;
        int r = d->state->run(stream, FLUSH_FINISH);
        size_t n = stream->total_out;
        (void)d->state->reset(stream);
        /* Servers know zlib's format by the head for the largest window, which is as true. */
        if (!d->gzip && r == RESULT_END)
                memcpy(out, "\x78\x01", 2);
        return r == RESULT_END ? n : 0;
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
