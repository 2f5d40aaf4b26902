/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A buffer for a stream of bytes. It allocates its pages on use and returns them to the kernel after it was
 * idle for a second. Allocating them for each read would cost more than the read. */

#include "base/page_buffer.h"
#include "base/watch.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct QuietBuffer {
        PageBuffer pages;
        size_t size;
        size_t at, fill; /* it holds the bytes [at, fill); managed by the owner */
        bool used;       /* since the timer was started last */
        Timer timer;
} QuietBuffer;

/* Embedded in its owner; finish with quiet_buffer_done. */
void quiet_buffer_init(QuietBuffer *b, size_t size);

/* Call it before each use. Returns the start of the buffer. The pages are kept while they hold bytes. */
char *quiet_buffer_use(QuietBuffer *b);

/* Live upgrade: what it holds, `max` bytes at most, which are at the start then. */
void quiet_buffer_save(const QuietBuffer *b, StateWriter *w, const char *name);
void quiet_buffer_restore(QuietBuffer *b, StateReader *r, const char *name, size_t max);

/* Frees the pages; their content is lost. */
void quiet_buffer_done(QuietBuffer *b);
