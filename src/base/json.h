#pragma once

/* JSON (RFC 8259): writing strings, reading files. */

#include <glib.h>
#include <stddef.h>

/* Appends `len` bytes as a JSON string with its quotation marks. A byte that is not part of valid UTF-8 becomes
 * U+FFFD. */
void json_append_string(GString *out, const char *text, size_t len);
