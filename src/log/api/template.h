/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The templates of Docker's log tags: the part of Go's text/template that a tag needs. Between {{ and }} is
 * a field, or a function with its arguments (fields, "texts", `texts`, numbers, or such an expression in
 * parentheses); what is left of a | is the last argument of the function to its right. A - inside of the
 * braces takes the white space away that is outside of them.
 *
 * Functions are those of Docker (json, split, join, title, lower, upper, pad, truncate) and of Go (printf,
 * print, println, index, slice, len). Variables, conditions, loops and comments are refused. */

#include <glib.h>

typedef struct LogTemplateFields {
        /* The value of a field, ".ID", to be freed with g_free; NULL if there is no such field. */
        char *(*get)(const char *field, const void *data);
        const void *data;
        const char *names; /* of all, for messages */
} LogTemplateFields;

/* Checks a template whose fields may have any value. */
gboolean log_template_check(const char *template, const LogTemplateFields *fields, GError **error);

/* The result, freed with g_free. NULL and *error if it is no template, or if the values don't allow an
 * operation, such as the third element of a list of two. */
char *log_template_expand(const char *template, const LogTemplateFields *fields, GError **error);
