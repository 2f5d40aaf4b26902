#pragma once

/* JSON (RFC 8259): writing strings, reading documents. */

#include <glib.h>
#include <stddef.h>

/* Appends `len` bytes as a JSON string with its quotation marks. A byte that is not part of valid UTF-8
 * becomes U+FFFD. Also escaped are `<`, `>`, `&`, U+2028 and U+2029, as Go's encoder does. */
void json_append_string(GString *out, const char *text, size_t len);

/* Values that are nested deeper are not told. */
#define JSON_DEPTH_MAX 4

/* One value of a document: a string, or, with a text of NULL, anything else. Borrowed for the call. */
typedef struct JsonValue {
        const char *const *path; /* the names from the top to this member; "" for an element of an array */
        size_t depth;            /* how many there are, 1 to JSON_DEPTH_MAX */
        const char *text;        /* without NUL behind it; may contain one */
        size_t len;
} JsonValue;
typedef void (*JsonFunc)(const JsonValue *value, void *data);

/* Reads a document and calls func for each of its values, in their order; for an object or array before its
 * members. Strings are not checked to be UTF-8. */
gboolean json_read(const char *text, size_t len, JsonFunc func, void *data, GError **error);
