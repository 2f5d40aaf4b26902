/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* JSON (RFC 8259): writing strings, reading documents. */

#include <glib.h>
#include <stddef.h>

/* The most bytes that one byte of text is escaped to: \u0000. */
#define JSON_ESCAPE_MAX 6

/* Escapes `len` bytes of text for a JSON string, without the quotation marks, exactly like Go's encoder, and
 * thus Docker's json-file: \" \\ \n \r; \uXXXX for other control characters, `<`, `>`, `&`, U+2028 and
 * U+2029, and \ufffd for each byte that is not valid UTF-8. Returns the end. `out` must have space for len *
 * * JSON_ESCAPE_MAX bytes, all of which may be overwritten. */
char *json_put_text(char *out, const char *text, size_t len);

/* Appends such a string, with quotation marks. */
void json_append_string(GString *out, const char *text, size_t len);

/* Appends a member `"name":"value"`, after a comma unless it is the first one of its object. */
void json_append_member(GString *out, const char *name, const char *value);

/* Values that are nested deeper are not reported. */
#define JSON_DEPTH_MAX 6

typedef enum {
        JSON_NULL,
        JSON_FALSE,
        JSON_TRUE,
        JSON_NUMBER,
        JSON_STRING,
        JSON_ARRAY,
        JSON_OBJECT,
} JsonKind;

/* One value of a document. Borrowed for the call. */
typedef struct JsonValue {
        const char *const *path; /* the names from the top to this member; "" for an element of an array */
        size_t depth;            /* how many there are, 1 to JSON_DEPTH_MAX */
        JsonKind kind;
        /* of a string without its quotation marks and escapes, of a number in the form of JSON; else NULL.
         * Without a NUL at the end; a string may contain one. */
        const char *text;
        size_t len;
} JsonValue;
typedef void (*JsonFunc)(const JsonValue *value, void *data);

/* Parses a document and calls func for each of its values, in order, and for an object or array before its
 * members. Strings may be invalid UTF-8. Two things depend on the library: the value of an unpaired
 * surrogate, and whether an object with duplicate names is accepted. CONMON_ERROR_NO_LIBRARY: the library is
 * missing. */
gboolean json_read(const char *text, size_t len, JsonFunc func, void *data, GError **error);
