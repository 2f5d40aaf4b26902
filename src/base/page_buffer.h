/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A large buffer that takes up memory only while it is needed: whole pages, mapped and unmapped. */

#include <stddef.h>

typedef struct PageBuffer {
        char *data; /* NULL: not mapped */
        size_t size;
} PageBuffer;

/* Maps whole pages, all zero, to be freed with munmap(2). Retries for a short time if there is no memory,
 * then aborts, as every allocation does. */
void *pages_take(size_t size);

/* Maps the pages, unless they are mapped already. */
void page_buffer_take(PageBuffer *b, size_t size);

/* Unmaps the pages, if there are any. */
void page_buffer_release(PageBuffer *b);
