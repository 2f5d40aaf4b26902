/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "conmonctl/table.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNDERLINE "\033[4m"
#define RESET     "\033[0m"

typedef struct {
        char *text;
        Style style;
} Cell;

struct Table {
        const Column *columns;
        guint n_columns;
        GArray *cells;
};

static void
clear_cell(void *data)
{
        g_free(((Cell *)data)->text);
}

Table *
table_new(const Column *columns)
{
        Table *t = g_new0(Table, 1);
        t->columns = columns;
        while (columns[t->n_columns].title)
                t->n_columns++;
        t->cells = g_array_new(FALSE, FALSE, sizeof(Cell));
        g_array_set_clear_func(t->cells, clear_cell);
        return t;
}

void
table_free(Table *t)
{
        g_array_unref(t->cells);
        g_free(t);
}

void
table_make_printable(char *text)
{
        for (char *at = text; *at;) {
                gunichar c = g_utf8_get_char_validated(at, -1);
                bool valid = c < (gunichar)-2;
                char *next = valid ? g_utf8_next_char(at) : at + 1;
                if (!valid || !g_unichar_isprint(c))
                        memset(at, '?', (size_t)(next - at));
                at = next;
        }
}

void
table_add(Table *t, Style style, char *text)
{
        Cell cell = {text, style};
        table_make_printable(text);
        g_array_append_val(t->cells, cell);
}

bool
table_use_color(void)
{
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
        return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

const char *
table_style(Style style, bool color)
{
        static const char *const sequences[N_STYLES] = {
                [STYLE_PLAIN] = "",         [STYLE_GOOD] = "\033[32m", [STYLE_WARN] = "\033[33m",
                [STYLE_BAD] = "\033[1;31m",
        };
        return color ? sequences[style] : "";
}

const char *
table_style_end(Style style, bool color)
{
        return color && style != STYLE_PLAIN ? RESET : "";
}

static const Cell *
cell_at(const Table *t, guint row, guint column)
{
        return &g_array_index(t->cells, Cell, row * t->n_columns + column);
}

static glong
width_of(const Table *t, guint column, bool header, guint rows)
{
        glong width = header ? g_utf8_strlen(t->columns[column].title, -1) : 0;
        for (guint row = 0; row < rows; row++)
                width = MAX(width, g_utf8_strlen(cell_at(t, row, column)->text, -1));
        return width;
}

static void
pad(GString *out, glong n)
{
        for (; n > 0; n--)
                g_string_append_c(out, ' ');
}

/* The last column is not padded. */
static void
append_cell(GString *out, const char *text, const char *begin, const char *end, glong width, bool right,
            bool last)
{
        glong blanks = width - g_utf8_strlen(text, -1);
        if (right)
                pad(out, blanks);
        g_string_append_printf(out, "%s%s%s", begin, text, end);
        if (!right && !last)
                pad(out, blanks);
        g_string_append_c(out, last ? '\n' : ' ');
}

void
table_format(const Table *t, bool header, bool color, guint max_rows, GString *out)
{
        guint rows = t->cells->len / t->n_columns;
        g_autofree glong *widths = g_new(glong, t->n_columns);
        rows = max_rows > 0 ? MIN(rows, max_rows) : rows;
        for (guint column = 0; column < t->n_columns; column++)
                widths[column] = width_of(t, column, header, rows);
        for (guint column = 0; header && column < t->n_columns; column++)
                append_cell(out, t->columns[column].title, color ? UNDERLINE : "", color ? RESET : "",
                            widths[column], t->columns[column].right, column + 1 == t->n_columns);
        for (guint row = 0; row < rows; row++) {
                for (guint column = 0; column < t->n_columns; column++) {
                        const Cell *cell = cell_at(t, row, column);
                        append_cell(out, cell->text, table_style(cell->style, color),
                                    table_style_end(cell->style, color), widths[column],
                                    t->columns[column].right, column + 1 == t->n_columns);
                }
        }
}
