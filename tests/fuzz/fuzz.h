#pragma once

/* What a fuzz target defines (LLVM, libFuzzer): looks at one input and aborts if something is wrong with what
 * came out. `data` is exactly `size` bytes, so that a sanitizer sees a read beyond them. Returns 0. */

#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
