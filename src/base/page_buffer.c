/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/page_buffer.h"

#include <glib.h>
#include <sys/mman.h>

/* A lack of memory is often temporary, because the kernel kills another process. */
#define TRIES          50
#define TRY_AGAIN_USEC (10 * 1000)

void *
pages_take(size_t size)
{
        for (int i = 0; i < TRIES; i++) {
                void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
                if (pages != MAP_FAILED)
                        return pages;
                g_usleep(TRY_AGAIN_USEC);
        }
        g_error("Out of memory: the kernel refused a buffer of %zu bytes", size);
}

void
page_buffer_take(PageBuffer *b, size_t size)
{
        if (b->data)
                return;
        b->data = pages_take(size);
        b->size = size;
}

void
page_buffer_release(PageBuffer *b)
{
        if (b->data)
                (void)munmap(b->data, b->size);
        b->data = NULL;
        b->size = 0;
}
