/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Returns unused memory of the heap to the kernel if the C library can (malloc_trim(3)). */
void heap_trim(void);

/* Makes all threads share one heap, where the C library would create one for each (mallopt(3)). */
void heap_share(void);
