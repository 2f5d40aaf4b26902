/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/quiet_buffer.h"

#include <string.h>

#define QUIET_USEC G_USEC_PER_SEC

static void
on_quiet(void *data)
{
        QuietBuffer *b = data;
        if (b->used)
                timer_start(&b->timer, QUIET_USEC);
        else if (b->at == b->fill)
                page_buffer_release(&b->pages);
        b->used = false;
}

void
quiet_buffer_init(QuietBuffer *b, size_t size)
{
        *b = (QuietBuffer){.size = size};
        timer_init(&b->timer, on_quiet, b);
}

char *
quiet_buffer_use(QuietBuffer *b)
{
        page_buffer_take(&b->pages, b->size);
        b->used = true;
        if (!timer_is_running(&b->timer))
                timer_start(&b->timer, QUIET_USEC);
        return b->pages.data;
}

void
quiet_buffer_save(const QuietBuffer *b, StateWriter *w, const char *name)
{
        state_put_bytes(w, name, b->at < b->fill ? b->pages.data + b->at : "", b->fill - b->at);
}

void
quiet_buffer_restore(QuietBuffer *b, StateReader *r, const char *name, size_t max)
{
        size_t len = 0;
        const char *bytes = state_get_bytes(r, name, &len);
        if (len > max)
                state_fail(r, "'%s' is too long", name);
        if (state_failed(r) || len == 0)
                return;
        memcpy(quiet_buffer_use(b), bytes, len);
        b->fill = len;
}

void
quiet_buffer_done(QuietBuffer *b)
{
        timer_stop(&b->timer);
        page_buffer_release(&b->pages);
        b->at = b->fill = 0;
}
