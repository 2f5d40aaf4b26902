/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/stack.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* More than the start of a monitor uses. Pages that are not mapped are skipped. */
#define DEPTH ((uintptr_t)256 * 1024)

void
stack_trim(void)
{
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
        /* The calls from here need some of the stack. */
        uintptr_t end = ((uintptr_t)__builtin_frame_address(0) - page) & ~(page - 1);
        (void)madvise((void *)(end - DEPTH), DEPTH, MADV_DONTNEED);
}
