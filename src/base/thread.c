/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/thread.h"

#include "base/heap.h"

bool
thread_start(pthread_t *ret_thread, const char *name, void *(*func)(void *data), void *data)
{
        /* Our threads allocate a few bytes; heaps of their own would cost more. */
        heap_share();
        if (pthread_create(ret_thread, NULL, func, data) != 0)
                return false;
        (void)pthread_setname_np(*ret_thread, name);
        return true;
}
