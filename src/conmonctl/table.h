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
        STYLE_DIM,
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

/* Adds the next cell, from left to right, row after row. Takes ownership of the text. What can't be printed
 * becomes
 * '?', so that no container's name can write to the terminal what it likes. */
void table_add(Table *t, Style style, char *text);

/* Appends the table to `out`: a header line if `header`, `max_rows` rows at most (0: all), with escape
 * sequences if `colour`. */
void table_format(const Table *t, bool header, bool colour, guint max_rows, GString *out);

/* True if stdout is a terminal that shows colours, and NO_COLOR is not set. */
bool table_use_colour(void);

/* The sequence that begins a style; "" without colour. table_style_end ends it. */
const char *table_style(Style style, bool colour);
const char *table_style_end(Style style, bool colour);

/* Replaces in place what can't be printed. */
void table_make_printable(char *text);
