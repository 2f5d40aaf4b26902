/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Text in columns, as systemctl(1) and loginctl(1) print it. */

#include <glib.h>
#include <stdbool.h>

typedef enum {
        STYLE_PLAIN,
        STYLE_GOOD, /* green */
        STYLE_WARN, /* yellow */
        STYLE_BAD,  /* red */
        N_STYLES,
} Style;

typedef struct Column {
        const char *title;
        bool right; /* aligned to the right: numbers */
} Column;

typedef struct Table Table;

/* `columns` ends with a title of NULL and must outlive the table. */
Table *table_new(const Column *columns);
void table_free(Table *t);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)

/* Adds the next cell, from left to right, row by row. Takes ownership of the text. Characters that are not
 * printable become '?', so that a container's name can't contain escape sequences for the terminal. */
void table_add(Table *t, Style style, char *text);

/* Appends the table to `out`: a header line if `header`, `max_rows` rows at most (0: all), with escape
 * sequences if `color`. */
void table_format(const Table *t, bool header, bool color, guint max_rows, GString *out);

/* True if stdout is a terminal with colors, and NO_COLOR is not set. */
bool table_use_color(void);

/* The sequence that begins a style; "" without color. table_style_end ends it. */
const char *table_style(Style style, bool color);
const char *table_style_end(Style style, bool color);

/* Replaces characters that are not printable in place. */
void table_make_printable(char *text);
