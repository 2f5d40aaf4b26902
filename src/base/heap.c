/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/heap.h"

#include <malloc.h>

void
heap_trim(void)
{
        (void)malloc_trim(0);
}

void
heap_share(void)
{
        (void)mallopt(M_ARENA_MAX, 1);
}
