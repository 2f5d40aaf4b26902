/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

GQuark
conmon_error_quark(void)
{
        return g_quark_from_static_string("conmon-error");
}

gboolean
error_set(GError **error, int code, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        g_autoptr(GError) made = g_error_new_valist(CONMON_ERROR, code, format, args);
        va_end(args);
        g_propagate_error(error, g_steal_pointer(&made));
        return FALSE;
}

gboolean
error_set_errno(GError **error, int errnum, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        g_autofree char *what = g_strdup_vprintf(format, args);
        va_end(args);
        return error_set(error, CONMON_ERROR_FAILED, "%s: %s", what, strerror(abs(errnum)));
}

void
error_keep_first(GError **first, GError *error)
{
        if (*first)
                g_error_free(error);
        else
                *first = error;
}
