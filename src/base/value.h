/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The types of settings on command lines and in configuration files: which values are valid, how they are
 * parsed, and how messages and the help describe them. */

#include <stdbool.h>
#include <stdint.h>

typedef enum {
        VALUE_TEXT,
        VALUE_FILE,        /* a path */
        VALUE_LIST,        /* names separated by commas; blanks around them are ignored */
        VALUE_BOOL,        /* true, false, yes, no, t, f, 1, 0, in any case */
        VALUE_CHOICE,      /* one of the words in `choices`; as a number its index */
        VALUE_INT,         /* a whole number */
        VALUE_SIZE,        /* bytes with Docker's units of 1000: 10m, 10mb and 10mib are 10000000 */
        VALUE_BINARY_SIZE, /* bytes with Docker's units of 1024: 1m is 1048576 */
        VALUE_DURATION,    /* as Go writes them: 500ms, 2s, 1h30m; as a number microseconds */
} ValueKind;

typedef struct ValueType {
        ValueKind kind;
        char choices[36]; /* separated by |; a | at the end allows an empty value */
        int64_t min, max;    /* of an INT, a size or a duration; max 0: no limit */
} ValueType;

/* Parses a value. *ret_number is its number (bytes, microseconds, 0 or 1 for BOOL, the index of a CHOICE); 0
 * for texts. Returns false if it is invalid or out of range. */
bool value_parse(const ValueType *type, const char *text, int64_t *ret_number);

/* Describes valid values for messages: "a whole number, from 1 to 9". Freed with g_free. */
char *value_describe(const ValueType *type);

/* The range alone: "from 1 to 9", "at least 1", "at most 9", or "". Freed with g_free. */
char *value_describe_range(const ValueType *type);

/* The placeholder for a value in the help: "SIZE", "FILE", "true|false". */
const char *value_placeholder(const ValueType *type);

/* The elements of a LIST, each without blanks around it; ends with NULL. Freed with g_strfreev. */
char **value_split_list(const char *text);
