#include "base/json.h"

#include "base/dlopen_note.h"
#include "base/error.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#define YAJL "libyajl.so.2"
DLOPEN_NOTE(yajl_note, "json", "Labels, environment and annotations of containers", "recommended", YAJL);

/* No sensible document is nested so deep, and the parser's memory grows with it. */
#define NESTING_MAX 1000

typedef struct {
        size_t depth; /* of open objects and arrays */
        GString *names[JSON_DEPTH_MAX]; /* of the member or element at hand in each of them */
        JsonFunc func;
        void *data;
} Reader;

static bool
needs_number(gunichar c)
{
        return c < 0x20 || c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029;
}

static void
append_char(GString *out, gunichar c)
{
        static const char letters[] = "\"\\\n\r\t", escapes[] = "\"\\nrt";
        const char *special = c && c < 0x80 ? strchr(letters, (int)c) : NULL;
        if (special)
                g_string_append_printf(out, "\\%c", escapes[special - letters]);
        else if (needs_number(c))
                g_string_append_printf(out, "\\u%04x", c);
        else
                g_string_append_unichar(out, c);
}

void
json_append_string(GString *out, const char *text, size_t len)
{
        const char *end = text + len;
        g_string_append_c(out, '"');
        while (text < end) {
                gunichar c = *text ? g_utf8_get_char_validated(text, end - text) : 0;
                /* The two highest values are errors. */
                bool valid = c < (gunichar)-2;
                append_char(out, valid ? c : 0xfffd);
                text = valid ? g_utf8_next_char(text) : text + 1;
        }
        g_string_append_c(out, '"');
}

static int
tell(Reader *r, const char *text, size_t len)
{
        const char *path[JSON_DEPTH_MAX];
        if (r->depth == 0 || r->depth > JSON_DEPTH_MAX)
                return 1;
        for (size_t i = 0; i < r->depth; i++)
                path[i] = r->names[i]->str;
        r->func(&(JsonValue){path, r->depth, text, len}, r->data);
        return 1;
}

static int
on_string(void *data, const unsigned char *text, size_t len)
{
        return tell(data, (const char *)text, len);
}

static int
on_number(void *data, const char *text, size_t len)
{
        return tell(data, NULL, 0);
}

static int
on_boolean(void *data, int value)
{
        return tell(data, NULL, 0);
}

static int
on_null(void *data)
{
        return tell(data, NULL, 0);
}

static int
on_start(void *data)
{
        Reader *r = data;
        (void)tell(r, NULL, 0);
        if (r->depth < JSON_DEPTH_MAX)
                g_string_truncate(r->names[r->depth], 0);
        return ++r->depth < NESTING_MAX;
}

static int
on_name(void *data, const unsigned char *text, size_t len)
{
        Reader *r = data;
        if (r->depth > JSON_DEPTH_MAX)
                return 1;
        g_string_truncate(r->names[r->depth - 1], 0);
        g_string_append_len(r->names[r->depth - 1], (const char *)text, (gssize)len);
        return 1;
}

static int
on_end(void *data)
{
        ((Reader *)data)->depth--;
        return 1;
}

/* The functions of the library, which is there only while a document is read: most monitors read none. */
typedef struct {
        void *library;
        __typeof__(yajl_alloc) *alloc;
        __typeof__(yajl_config) *config;
        __typeof__(yajl_parse) *parse;
        __typeof__(yajl_complete_parse) *complete_parse;
        __typeof__(yajl_get_bytes_consumed) *get_bytes_consumed;
        __typeof__(yajl_free) *free;
} Yajl;

static gboolean
load(Yajl *y, GError **error)
{
        y->library = dlopen(YAJL, RTLD_NOW | RTLD_LOCAL);
        if (!y->library)
                return error_set(error, CONMON_ERROR_FAILED,
                                 "the library that reads JSON can't be loaded (%s)", dlerror());
        *(void **)&y->alloc = dlsym(y->library, "yajl_alloc");
        *(void **)&y->config = dlsym(y->library, "yajl_config");
        *(void **)&y->parse = dlsym(y->library, "yajl_parse");
        *(void **)&y->complete_parse = dlsym(y->library, "yajl_complete_parse");
        *(void **)&y->get_bytes_consumed = dlsym(y->library, "yajl_get_bytes_consumed");
        *(void **)&y->free = dlsym(y->library, "yajl_free");
        if (y->alloc && y->config && y->parse && y->complete_parse && y->get_bytes_consumed && y->free)
                return TRUE;
        (void)dlclose(y->library);
        return error_set(error, CONMON_ERROR_FAILED, "the library that reads JSON, %s, lacks functions",
                         YAJL);
}

static gboolean
parse(const Yajl *y, Reader *reader, const char *text, size_t len, GError **error)
{
        static const yajl_callbacks callbacks = {
                .yajl_null = on_null,           .yajl_boolean = on_boolean, .yajl_number = on_number,
                .yajl_string = on_string,       .yajl_start_map = on_start, .yajl_map_key = on_name,
                .yajl_end_map = on_end,         .yajl_start_array = on_start, .yajl_end_array = on_end,
        };
        yajl_handle parser = y->alloc(&callbacks, NULL, reader);
        (void)y->config(parser, yajl_dont_validate_strings, 1);
        yajl_status status = y->parse(parser, (const unsigned char *)text, len);
        size_t at = y->get_bytes_consumed(parser);
        if (status == yajl_status_ok)
                status = y->complete_parse(parser);
        y->free(parser);
        if (status == yajl_status_ok)
                return TRUE;
        return error_set(error, CONMON_ERROR_FAILED, "it is not valid JSON (byte %zu of %zu)", at, len);
}

gboolean
json_read(const char *text, size_t len, JsonFunc func, void *data, GError **error)
{
        Yajl yajl = {0};
        Reader reader = {.func = func, .data = data};
        if (!load(&yajl, error))
                return FALSE;
        for (size_t i = 0; i < JSON_DEPTH_MAX; i++)
                reader.names[i] = g_string_new(NULL);
        gboolean ok = parse(&yajl, &reader, text, len, error);
        for (size_t i = 0; i < JSON_DEPTH_MAX; i++)
                g_string_free(reader.names[i], TRUE);
        (void)dlclose(yajl.library);
        return ok;
}
