#pragma once

/* A large buffer that is there only while it is needed: whole pages from the kernel, and back to it. */

#include <stddef.h>

typedef struct PageBuffer {
        char *data; /* NULL while not taken */
        size_t size;
} PageBuffer;

/* Takes the pages if they aren't there yet; aborts if the kernel has none, as any allocation here does. */
void page_buffer_take(PageBuffer *b, size_t size);

/* Gives the pages back. Harmless if there are none. */
void page_buffer_release(PageBuffer *b);
