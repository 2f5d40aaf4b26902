#pragma once

/* A large buffer that is there only while it is needed: whole pages from the kernel, and back to it. */

#include <stddef.h>

typedef struct PageBuffer {
        char *data; /* NULL while not taken */
        size_t size;
} PageBuffer;

/* Whole pages from the kernel, all zero, for munmap(2). When the kernel has none it is asked again for a
 * short time; then this aborts, as any allocation does. */
void *pages_take(size_t size);

/* Takes the pages if they aren't there yet. */
void page_buffer_take(PageBuffer *b, size_t size);

/* Gives the pages back. Harmless if there are none. */
void page_buffer_release(PageBuffer *b);
