/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sink/audit.h"

/* Of a longer queue only the blocks are checked, so that tests with millions of messages stay fast. */
#define ENTRIES_MAX 4096

/* Sums of one block. */
typedef struct {
        size_t len; /* of what is not done */
        LogCount queued;
        size_t n_dead;
        size_t at_cursor; /* offset of the cursor's message */
} Sums;

static Sums
sum_entries(const LogQueue *q, const LogBlock *b)
{
        Sums sums = {.at_cursor = b->start};
        for (uint32_t i = b->first; i < b->count; i++) {
                const LogEntry *e = log_block_entry((LogBlock *)b, i);
                sums.len += e->len;
                sums.n_dead += e->dead;
                if (!e->dead && !e->marker) {
                        sums.queued.records++;
                        sums.queued.bytes += e->payload;
                }
                if (q->next.block == b && i < q->next.entry)
                        sums.at_cursor += e->len;
        }
        return sums;
}

static void
audit_cursor(const LogQueue *q, const LogBlock *b, const Sums *sums)
{
        g_assert_cmpuint(q->next.entry, >=, b->first);
        g_assert_cmpuint(q->next.entry, <=, b->count);
        g_assert_cmpuint(q->next.byte, ==, sums->at_cursor + q->partially_sent);
        if (q->partially_sent > 0)
                g_assert_cmpuint(q->partially_sent, <, log_block_entry((LogBlock *)b, q->next.entry)->len);
}

void
log_audit_queue(const LogQueue *q)
{
        size_t n_dead = 0, n = 0;
        bool has_cursor = !q->head;
        for (const LogBlock *b = q->head; b; b = b->next)
                n += b->count - b->first;
        for (const LogBlock *b = q->head; b && n <= ENTRIES_MAX; b = b->next) {
                Sums sums = sum_entries(q, b);
                g_assert_cmpuint(sums.len, ==, b->end - b->start);
                g_assert_cmpuint(sums.queued.records, ==, b->queued.records);
                g_assert_cmpuint(sums.queued.bytes, ==, b->queued.bytes);
                n_dead += sums.n_dead;
                g_assert_true(b->next || b == q->tail);
                if (q->next.block == b) {
                        audit_cursor(q, b, &sums);
                        has_cursor = true;
                }
        }
        g_assert_true(n > ENTRIES_MAX || (n_dead == q->n_dead && has_cursor));
}

void
log_audit_counts(LogCount in, const LogQueue *q, const LogLosses *losses)
{
        LogCount sum = log_queue_queued(q);
        log_count_add(&sum, q->done);
        log_count_add(&sum, log_losses_sum(losses));
        g_assert_cmpuint(in.records, ==, sum.records);
        g_assert_cmpuint(in.bytes, ==, sum.bytes);
}
