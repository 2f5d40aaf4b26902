/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Errors of set-up functions: a GError whose message is a sentence for users. */

#include <glib.h>

#define CONMON_ERROR (conmon_error_quark())
GQuark conmon_error_quark(void);

enum {
        CONMON_ERROR_FAILED,
        /* the command line or the configuration is invalid */
        CONMON_ERROR_USAGE,
        /* a library that is loaded on demand is missing */
        CONMON_ERROR_NO_LIBRARY,
};

/* Sets *error. Always returns FALSE, so that a function can `return error_set(…)`. */
gboolean error_set(GError **error, int code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The same, followed by ": " and the description of errnum, which may be positive or negative. */
gboolean error_set_errno(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Of several errors the first is kept: stores this one in *first, or frees it. */
void error_keep_first(GError **first, GError *error);
