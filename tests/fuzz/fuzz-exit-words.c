/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/exit_queue.h"

#include "fuzz.h"

static void
find(const char *words, size_t len, gint64 due_usec, void *data)
{
        GPtrArray *added = data;
        for (guint i = 0; i < added->len; i++) {
                GBytes *b = added->pdata[i];
                gsize n;
                const void *bytes = g_bytes_get_data(b, &n);
                if (n == len && memcmp(bytes, words, len) == 0) {
                        g_ptr_array_remove_index(added, i);
                        return;
                }
        }
        g_assert_not_reached();
}

/* Commands are separated by 0xff. Each accepted command is queued unchanged. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static sigset_t mask;
        static OomScore score;
        ExitQueue *q = exit_queue_new(&mask, &score);
        GPtrArray *added = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
        for (size_t at = 0, end; at < size; at = end + 1) {
                const uint8_t *stop = memchr(data + at, 0xff, size - at);
                end = stop ? (size_t)(stop - data) : size;
                g_autofree char *words = g_malloc(end - at); /* a separate allocation, for the sanitizer */
                if (end > at)
                        memcpy(words, data + at, end - at);
                if (!exit_queue_accepts(q, words, end - at))
                        continue;
                exit_queue_add(q, words, end - at, (gint64)(at % 7));
                g_ptr_array_add(added, g_bytes_new(words, end - at));
        }
        exit_queue_each(q, find, added);
        g_assert_cmpuint(added->len, ==, 0);
        g_ptr_array_unref(added);
        exit_queue_free(q);
        return 0;
}
