/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json_walk.h"

void
json_walk_init(JsonWalk *w, JsonFunc func, void *data)
{
        *w = (JsonWalk){.func = func, .data = data};
        for (size_t i = 0; i < JSON_DEPTH_MAX; i++)
                w->names[i] = g_string_new(NULL);
}

void
json_walk_done(JsonWalk *w)
{
        for (size_t i = 0; i < JSON_DEPTH_MAX; i++)
                g_string_free(w->names[i], TRUE);
}

void
json_walk_report(JsonWalk *w, JsonKind kind, const char *text, size_t len)
{
        const char *path[JSON_DEPTH_MAX];
        if (w->depth == 0 || w->depth > JSON_DEPTH_MAX)
                return;
        for (size_t i = 0; i < w->depth; i++)
                path[i] = w->names[i]->str;
        w->func(&(JsonValue){path, w->depth, kind, text, len}, w->data);
}

bool
json_walk_open(JsonWalk *w, JsonKind kind)
{
        json_walk_report(w, kind, NULL, 0);
        if (w->depth < JSON_DEPTH_MAX)
                g_string_truncate(w->names[w->depth], 0);
        return ++w->depth < JSON_NESTING_MAX;
}

void
json_walk_name(JsonWalk *w, const char *name, size_t len)
{
        if (w->depth > JSON_DEPTH_MAX)
                return;
        g_string_truncate(w->names[w->depth - 1], 0);
        g_string_append_len(w->names[w->depth - 1], name, (gssize)len);
}

void
json_walk_close(JsonWalk *w)
{
        w->depth--;
}
