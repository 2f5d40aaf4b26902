/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

#include <glib.h>

/* Frees a string. NULL is allowed, unlike with g_string_free. */
static inline void
gstring_free(GString *s)
{
        if (s)
                (void)g_string_free(s, TRUE);
}
