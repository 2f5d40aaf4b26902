#pragma once

/* Errors of set-up functions: GError with a sentence for the person who reads it. */

#include <glib.h>

#define CONMON_ERROR (conmon_error_quark())
GQuark conmon_error_quark(void);

enum {
        CONMON_ERROR_FAILED,
        /* the command line or the configuration asks for something that is not possible */
        CONMON_ERROR_USAGE,
};

/* Sets *error to the sentence. Always returns FALSE, so that a failing function can `return error_set(…)`. */
gboolean error_set(GError **error, int code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The same, with ": " and the description of errnum (positive or negative) behind the sentence. */
gboolean error_set_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);
