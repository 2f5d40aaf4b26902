/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json.h"

#include "base/dlopen_note.h"
#include "base/error.h"
#include "base/json_walk.h"

#include <dlfcn.h>
#include <yajl/yajl_parse.h>

#define YAJL "libyajl.so.2"
DLOPEN_NOTE(yajl_note, "json", "Labels, environment and annotations of containers", "recommended", YAJL);

static int
on_string(void *data, const unsigned char *text, size_t len)
{
        json_walk_report(data, JSON_STRING, (const char *)text, len);
        return 1;
}

static int
on_number(void *data, const char *text, size_t len)
{
        json_walk_report(data, JSON_NUMBER, text, len);
        return 1;
}

static int
on_boolean(void *data, int value)
{
        json_walk_report(data, value ? JSON_TRUE : JSON_FALSE, NULL, 0);
        return 1;
}

static int
on_null(void *data)
{
        json_walk_report(data, JSON_NULL, NULL, 0);
        return 1;
}

static int
on_object(void *data)
{
        return json_walk_open(data, JSON_OBJECT);
}

static int
on_array(void *data)
{
        return json_walk_open(data, JSON_ARRAY);
}

static int
on_name(void *data, const unsigned char *text, size_t len)
{
        json_walk_name(data, (const char *)text, len);
        return 1;
}

static int
on_end(void *data)
{
        json_walk_close(data);
        return 1;
}

/* The functions of the library, which is loaded only while a document is parsed: most monitors parse none. */
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
                return error_set(error, CONMON_ERROR_NO_LIBRARY,
                                 "the library that reads JSON can't be loaded (%s); install the package "
                                 "libyajl2 or yajl", dlerror());
        *(void **)&y->alloc = dlsym(y->library, "yajl_alloc");
        *(void **)&y->config = dlsym(y->library, "yajl_config");
        *(void **)&y->parse = dlsym(y->library, "yajl_parse");
        *(void **)&y->complete_parse = dlsym(y->library, "yajl_complete_parse");
        *(void **)&y->get_bytes_consumed = dlsym(y->library, "yajl_get_bytes_consumed");
        *(void **)&y->free = dlsym(y->library, "yajl_free");
        if (y->alloc && y->config && y->parse && y->complete_parse && y->get_bytes_consumed && y->free)
                return TRUE;
        (void)dlclose(y->library);
        return error_set(error, CONMON_ERROR_NO_LIBRARY, "the library that reads JSON, %s, lacks functions",
                         YAJL);
}

static gboolean
parse(const Yajl *y, JsonWalk *walk, const char *text, size_t len, GError **error)
{
        static const yajl_callbacks callbacks = {
                .yajl_null = on_null,           .yajl_boolean = on_boolean, .yajl_number = on_number,
                .yajl_string = on_string,       .yajl_start_map = on_object, .yajl_map_key = on_name,
                .yajl_end_map = on_end,         .yajl_start_array = on_array, .yajl_end_array = on_end,
        };
        yajl_handle parser = y->alloc(&callbacks, NULL, walk);
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
        JsonWalk walk;
        if (!load(&yajl, error))
                return FALSE;
        json_walk_init(&walk, func, data);
        gboolean ok = parse(&yajl, &walk, text, len, error);
        json_walk_done(&walk);
        (void)dlclose(yajl.library);
        return ok;
}
