/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The function of a fuzz target (see libFuzzer): processes one input, and aborts if the result is wrong.
 * `data` is exactly `size` bytes, so that a sanitizer finds a read beyond them. Returns 0. */

#include "base/diag.h"

#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Disables the monitor's messages, which would slow down a run. */
static inline void
fuzz_be_quiet(void)
{
        diag_set_level(DIAG_ERROR);
}

/* Checks that a failed function sets an error with a message of one line, and a successful one none. */
static inline void
fuzz_check_error(gboolean ok, const GError *error)
{
        g_assert_cmpint(ok, ==, error == NULL);
        if (error) {
                g_assert_cmpuint(strlen(error->message), >, 8);
                g_assert_null(strchr(error->message, '\n'));
        }
}
