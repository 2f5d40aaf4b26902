/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

#include <glib.h>

/* Runs the main loop until no source is ready; fails if one stays ready forever. */
static inline void
loop_serve(void)
{
        int rounds = 0;
        while (g_main_context_iteration(NULL, FALSE))
                g_assert_cmpint(++rounds, <, 2000);
}
