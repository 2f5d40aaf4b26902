#include "base/page_buffer.h"

#include <glib.h>
#include <sys/mman.h>

void
page_buffer_take(PageBuffer *b, size_t size)
{
        if (b->data)
                return;
        void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED)
                g_error("Out of memory: the kernel refused a buffer of %zu bytes", size);
        b->data = pages;
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
