#pragma once

/* What a fuzz target defines (LLVM, libFuzzer): looks at one input and aborts if something is wrong with what
 * came out. `data` is exactly `size` bytes, so that a sanitizer sees a read beyond them. Returns 0. */

#include "base/diag.h"

#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The monitor's own messages would only make a run slow. */
static inline void
fuzz_be_quiet(void)
{
        diag_set_level(DIAG_ERROR);
}

/* A failed function says why, in one sentence of one line; one that did not fail says nothing. */
static inline void
fuzz_check_error(gboolean ok, const GError *error)
{
        g_assert_cmpint(ok, ==, error == NULL);
        if (error) {
                g_assert_cmpuint(strlen(error->message), >, 8);
                g_assert_null(strchr(error->message, '\n'));
        }
}
