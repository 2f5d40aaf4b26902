/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Validation of JSON (RFC 8259) without a library, for texts that are inserted into another document. */

#include <stdbool.h>
#include <stddef.h>

/* True if the text is one JSON value, which may be surrounded by blanks, in valid UTF-8 and not nested too
 * deeply for its readers. */
bool json_is_value(const char *text, size_t len);
