/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A walk through a JSON document, independent of the library that parses it: maintains the path of names to
 * the current value, and calls JsonFunc for each value. */

#include "base/json.h"

#include <stdbool.h>

/* Limits the memory of the parser; no sensible document is nested so deeply. */
#define JSON_NESTING_MAX 1000

typedef struct JsonWalk {
        size_t depth;                   /* of open objects and arrays */
        GString *names[JSON_DEPTH_MAX]; /* of the current member or element in each of them */
        JsonFunc func;
        void *data;
} JsonWalk;

void json_walk_init(JsonWalk *w, JsonFunc func, void *data);
void json_walk_done(JsonWalk *w);

/* A value, or the start of an object or array; text and len as in JsonValue. */
void json_walk_report(JsonWalk *w, JsonKind kind, const char *text, size_t len);

/* Enters an object or array. Returns false if it is nested too deeply. */
bool json_walk_open(JsonWalk *w, JsonKind kind);

/* The next value is the member with this name. */
void json_walk_name(JsonWalk *w, const char *name, size_t len);

/* Leaves the object or array. */
void json_walk_close(JsonWalk *w);
