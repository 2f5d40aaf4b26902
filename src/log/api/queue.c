/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/queue.h"

#include "base/page_buffer.h"

#include <glib.h>
#include <string.h>
#include <sys/mman.h>

/* A chunk of 64 KiB with its prefixes fits if the lines are not too short. Only used pages take up memory.
 * Memory is only returned as whole blocks. */
#define BLOCK_SIZE ((size_t)256 * 1024)

/* While a destination acknowledges messages later, blocks are allocated and freed at the same rate.
 * Mapping a new one costs more than filling it. */
#define SPARE_MAX 3

/* ---- blocks ---- */

/* Adds a block with room for a message of `need` bytes. */
static LogBlock *
add_block(LogQueue *q, size_t need)
{
        size_t size = MAX(BLOCK_SIZE, sizeof(LogBlock) + sizeof(LogEntry) + need);
        size = (size + 4095) & ~(size_t)4095;
        LogBlock *b = q->spare;
        if (b && size == BLOCK_SIZE) {
                q->spare = b->next;
                q->n_spare--;
                b->next = NULL;
        } else {
                b = pages_take(size);
                b->size = size;
        }
        if (q->tail)
                q->tail->next = b;
        else
                q->head = q->next.block = b;
        q->tail = b;
        return b;
}

static void
block_free(LogBlock *b)
{
        (void)munmap(b, b->size);
}

static void
free_spare(LogQueue *q)
{
        for (LogBlock *b = q->spare, *next; b; b = next) {
                next = b->next;
                block_free(b);
        }
        q->spare = NULL;
        q->n_spare = 0;
}

static bool
block_is_done(const LogBlock *b)
{
        return b->first == b->count;
}

static void
block_reset(LogBlock *b)
{
        b->first = b->count = b->n_dead = 0;
        b->start = b->end = 0;
        b->queued = (LogCount){0};
}

/* A block that is done, and no longer in the queue. */
static void
recycle(LogQueue *q, LogBlock *b)
{
        if (b->size != BLOCK_SIZE || q->n_spare == SPARE_MAX) {
                block_free(b);
                return;
        }
        block_reset(b);
        b->next = q->spare;
        q->spare = b;
        q->n_spare++;
}

/* Frees blocks that are done, except the last one, which is reused from its start. */
static void
free_done(LogQueue *q)
{
        while (q->head && block_is_done(q->head) && q->head->next) {
                LogBlock *b = q->head;
                q->head = b->next;
                if (q->next.block == b)
                        q->next = (LogCursor){.block = q->head};
                recycle(q, b);
        }
        if (q->head && block_is_done(q->head) && q->head->count > 0) {
                block_reset(q->head);
                q->next = (LogCursor){.block = q->head};
        }
}

LogBlock *
log_queue_block(LogQueue *q, size_t need)
{
        if (q->tail && log_block_room(q->tail, need))
                return q->tail;
        LogBlock *b = add_block(q, need);
        /* The previous block may already be done. */
        free_done(q);
        return b;
}

/* ---- counting ---- */

bool
log_queue_is_empty(const LogQueue *q)
{
        return !q->head || (block_is_done(q->head) && !q->head->next);
}

/* Moves the cursor past dead messages and ends of blocks. Returns the message there; NULL: all are sent. */
static LogEntry *
skip_dead(LogQueue *q)
{
        LogCursor *c = &q->next;
        while (c->block) {
                if (c->entry < c->block->count) {
                        LogEntry *e = log_block_entry(c->block, c->entry);
                        if (!e->dead)
                                return e;
                        c->entry++;
                        c->byte += e->len;
                } else if (c->block->next) {
                        *c = (LogCursor){.block = c->block->next};
                } else {
                        return NULL;
                }
        }
        return NULL;
}

size_t
log_queue_memory(const LogQueue *q)
{
        size_t sum = 0;
        for (const LogBlock *b = q->head; b; b = b->next)
                sum += b->end - b->start + (b->count - b->first) * sizeof(LogEntry);
        return sum - q->dead_memory;
}

static LogCount
entry_count(const LogEntry *e)
{
        return e->marker ? (LogCount){0} : (LogCount){.records = 1, .bytes = e->payload};
}

static void
count_subtract(LogCount *sum, LogCount count)
{
        sum->records -= count.records;
        sum->bytes -= count.bytes;
}

void
log_queue_added(LogBlock *b, LogCount count)
{
        log_count_add(&b->queued, count);
}

size_t
log_queue_sent_memory(const LogQueue *q)
{
        size_t sum = 0;
        const LogBlock *b = q->head;
        for (; b && b != q->next.block; b = b->next)
                sum += b->end - b->start + (b->count - b->first) * sizeof(LogEntry);
        if (b)
                sum += q->next.byte - q->partially_sent - b->start +
                       (q->next.entry - b->first) * sizeof(LogEntry);
        return sum;
}

LogCount
log_queue_queued(const LogQueue *q)
{
        LogCount sum = {0};
        for (const LogBlock *b = q->head; b; b = b->next)
                log_count_add(&sum, b->queued);
        return sum;
}

size_t
log_queue_undo(LogQueue *q)
{
        LogBlock *b = q->tail;
        const LogEntry *e = log_block_entry(b, --b->count);
        b->end -= e->len;
        count_subtract(&b->queued, entry_count(e));
        /* A block without entries is not done but new: nothing to free. */
        return e->len + sizeof *e;
}

/* ---- sending ---- */

/* Like log_queue_next, checking each message. */
static size_t
whole_messages(const LogCursor *c, size_t max)
{
        size_t sum = 0;
        for (uint32_t i = c->entry; i < c->block->count; i++) {
                const LogEntry *e = log_block_entry(c->block, i);
                if (e->dead || e->len > max - sum)
                        break;
                sum += e->len;
        }
        return sum;
}

size_t
log_queue_next(LogQueue *q, size_t max, const char **ret_bytes)
{
        const LogEntry *e = skip_dead(q);
        if (!e)
                return 0;
        const LogCursor *c = &q->next;
        *ret_bytes = c->block->bytes + c->byte;
        if (q->partially_sent > 0)
                return e->len - q->partially_sent;
        size_t all = c->block->end - c->byte;
        return q->n_dead == 0 && all <= max ? all : whole_messages(c, max);
}

size_t
log_queue_count(const LogQueue *q, size_t len)
{
        size_t n = 0;
        for (uint32_t i = q->next.entry; len > 0; i++, n++)
                len -= log_block_entry(q->next.block, i)->len;
        return n;
}

size_t
log_queue_next_len(LogQueue *q)
{
        const LogEntry *e = skip_dead(q);
        return e ? e->len : 0;
}

size_t
log_queue_peek(LogQueue *q, LogMessage *messages, size_t max)
{
        (void)skip_dead(q);
        size_t n = 0;
        for (LogCursor c = q->next; n < max && c.block; c = (LogCursor){.block = c.block->next}) {
                for (; n < max && c.entry < c.block->count; c.entry++) {
                        const LogEntry *e = log_block_entry(c.block, c.entry);
                        if (!e->dead)
                                messages[n++] = (LogMessage){c.block->bytes + c.byte, e->len, e->stream};
                        c.byte += e->len;
                }
        }
        return n;
}

void
log_queue_reserve(LogQueue *q, size_t len)
{
        while (len > 0) {
                const LogEntry *e = skip_dead(q);
                if (!e)
                        return;
                size_t left = q->next.block->end - q->next.byte;
                if (q->partially_sent == 0 && q->n_dead == 0 && left <= len) {
                        q->next.entry = q->next.block->count;
                        q->next.byte += left;
                        len -= left;
                        continue;
                }
                size_t piece = MIN(len, e->len - q->partially_sent);
                len -= piece;
                q->partially_sent += piece;
                q->next.byte += piece;
                if (q->partially_sent == e->len) {
                        q->next.entry++;
                        q->partially_sent = 0;
                }
        }
}

void
log_queue_sent(LogQueue *q, size_t len)
{
        q->taken += len;
        log_queue_reserve(q, len);
}

/* ---- removing delivered messages ---- */

/* Removes the oldest message; the caller has updated the cursor. */
static void
remove_first(LogBlock *b)
{
        b->start += log_block_entry(b, b->first++)->len;
}

/* One more message is dead, or one fewer. */
static void
count_dead(LogQueue *q, LogBlock *b, const LogEntry *e, int more)
{
        size_t memory = e->len + sizeof *e;
        b->n_dead += (uint32_t)more;
        q->n_dead += (size_t)more;
        q->dead_memory += more > 0 ? memory : -memory;
}

/* Removes dead messages at the front. */
static void
remove_dead(LogQueue *q)
{
        while (q->n_dead > 0 && q->head && !block_is_done(q->head) &&
               log_block_entry(q->head, q->head->first)->dead) {
                (void)skip_dead(q);
                count_dead(q, q->head, log_block_entry(q->head, q->head->first), -1);
                remove_first(q->head);
                free_done(q);
        }
}

void
log_queue_done(LogQueue *q, size_t n)
{
        remove_dead(q);
        q->taken += n;
        for (; n > 0 && !log_queue_is_empty(q); n--) {
                LogCount count = entry_count(log_block_entry(q->head, q->head->first));
                log_count_add(&q->done, count);
                count_subtract(&q->head->queued, count);
                remove_first(q->head);
                if (block_is_done(q->head))
                        free_done(q);
                remove_dead(q);
        }
}

/* The usual case: the only block is done, and `len` bytes of it have just been sent. */
static void
finish_block(LogQueue *q, size_t len)
{
        LogBlock *b = q->head;
        log_count_add(&q->done, b->queued);
        q->taken += len;
        block_reset(b);
        q->next = (LogCursor){.block = b};
        q->partially_sent = 0;
}

/* Everything in the only block has been written. */
static bool
wrote_block(LogQueue *q, size_t len)
{
        const LogBlock *b = q->head;
        if (b != q->tail || q->n_dead > 0 || q->next.byte + len != b->end)
                return false;
        finish_block(q, len);
        return true;
}

/* Everything in the only block was sent and has arrived. */
static bool
arrived_block(LogQueue *q, size_t len)
{
        const LogBlock *b = q->head;
        if (b != q->tail || !b || q->n_dead > 0 || len == 0 || b->start + len != b->end)
                return false;
        finish_block(q, len);
        return true;
}

/* Removes messages of the first block that are within the `len` bytes, up to a dead one. Returns how many
 * bytes they are. */
static size_t
remove_arrived(LogQueue *q, size_t len)
{
        LogBlock *b = q->head;
        LogCount count = {0};
        size_t rest = len;
        for (; b->first < b->count; b->first++) {
                const LogEntry *e = log_block_entry(b, b->first);
                if (e->dead || e->len > rest)
                        break;
                log_count_add(&count, entry_count(e));
                rest -= e->len;
        }
        b->start += len - rest;
        log_count_add(&q->done, count);
        count_subtract(&b->queued, count);
        q->taken += len - rest;
        return len - rest;
}

size_t
log_queue_arrived(LogQueue *q, size_t len)
{
        size_t sum = 0, n = 1;
        if (arrived_block(q, len))
                return len;
        remove_dead(q);
        while (n > 0 && sum < len && !log_queue_is_empty(q)) {
                n = remove_arrived(q, len - sum);
                sum += n;
                if (block_is_done(q->head))
                        free_done(q);
                remove_dead(q);
        }
        return sum;
}

LogCount
log_queue_sent_count(const LogQueue *q)
{
        LogCount sum = q->done;
        for (const LogBlock *b = q->head; b; b = b->next) {
                uint32_t end = b == q->next.block ? q->next.entry : b->count;
                for (uint32_t i = b->first; i < end; i++) {
                        const LogEntry *e = log_block_entry((LogBlock *)b, i);
                        if (!e->dead)
                                log_count_add(&sum, entry_count(e));
                }
                if (b == q->next.block)
                        break;
        }
        return sum;
}

void
log_queue_wrote(LogQueue *q, size_t len)
{
        if (len == 0 || wrote_block(q, len))
                return;
        while (len > 0) {
                const LogEntry *e = skip_dead(q);
                if (!e)
                        return;
                size_t piece = MIN(len, e->len - q->partially_sent);
                bool whole = q->partially_sent + piece == e->len;
                log_queue_sent(q, piece);
                len -= piece;
                if (whole)
                        log_queue_done(q, 1);
        }
}

void
log_queue_rewind(LogQueue *q)
{
        q->partially_sent = 0;
        q->next = (LogCursor){.block = q->head};
        if (q->head) {
                q->next.entry = q->head->first;
                q->next.byte = q->head->start;
        }
}

/* ---- dropping ---- */

/* Adds it to *sum. */
static void
kill_entry(LogQueue *q, LogBlock *b, LogEntry *e, LogCount *sum)
{
        LogCount count = entry_count(e);
        log_count_add(sum, count);
        count_subtract(&b->queued, count);
        e->dead = 1;
        count_dead(q, b, e, 1);
}

void
log_queue_decide(LogQueue *q, const LogFate *fates, size_t n, LogCount *refused)
{
        size_t i = 0;
        for (LogBlock *b = q->head; b && i < n; b = b->next) {
                for (uint32_t k = b->first; k < b->count && i < n; k++) {
                        LogEntry *e = log_block_entry(b, k);
                        if (e->dead)
                                continue;
                        if (fates[i] != LOG_FATE_AGAIN) {
                                kill_entry(q, b, e, fates[i] == LOG_FATE_DONE ? &q->done : refused);
                                q->taken++;
                        }
                        i++;
                }
        }
        log_queue_rewind(q);
        remove_dead(q);
}

/* True for a message that reports losses: it belongs to no line. */
static bool
is_announcement(const LogEntry *e)
{
        return e->marker && !e->continues;
}

/* Marks the rest of a line, which continues after `c`, as dropped. True if the queue ends before the line
 * does. */
static bool
kill_rest(LogQueue *q, LogCursor c, StreamId stream, LogCount *dropped)
{
        for (; c.block; c = (LogCursor){.block = c.block->next}) {
                for (; c.entry < c.block->count; c.entry++) {
                        LogEntry *e = log_block_entry(c.block, c.entry);
                        if (e->dead || e->stream != stream || is_announcement(e))
                                continue;
                        if (!e->continues)
                                return false;
                        kill_entry(q, c.block, e, dropped);
                        /* The line may have continued after a marker that ended it. */
                        if (!e->partial && !e->marker)
                                return false;
                }
        }
        return true;
}

/* The first message of which no bytes were sent; NULL: there is none. */
static LogEntry *
first_unsent(LogQueue *q, LogCursor *ret)
{
        LogEntry *e = skip_dead(q);
        LogCursor c = q->next;
        if (q->partially_sent > 0)
                c.entry++;
        for (; c.block; c = (LogCursor){.block = c.block->next}) {
                for (; c.entry < c.block->count; c.entry++) {
                        e = log_block_entry(c.block, c.entry);
                        *ret = c;
                        if (!e->dead)
                                return e;
                }
        }
        return NULL;
}

bool
log_queue_is_within_line(LogQueue *q)
{
        LogCursor c;
        const LogEntry *e = first_unsent(q, &c);
        return e && e->continues;
}

/* Frees whole blocks of dead messages after sent ones. */
static void
release_dead_blocks(LogQueue *q)
{
        for (LogBlock *b = q->head, *next; b && (next = b->next); b = next) {
                if (next == q->tail || next->n_dead < next->count || next == q->next.block)
                        continue;
                for (uint32_t i = 0; i < next->count; i++)
                        count_dead(q, next, log_block_entry(next, i), -1);
                b->next = next->next;
                recycle(q, next);
                next = b;
        }
}

bool
log_queue_drop_oldest(LogQueue *q, LogDropped *ret)
{
        LogCursor c;
        LogEntry *e = first_unsent(q, &c);
        if (!e)
                return false;
        *ret = (LogDropped){.announced = e->marker ? e->payload : 0, .stream = e->stream};
        kill_entry(q, c.block, e, &ret->count);
        if (e->partial)
                ret->open = kill_rest(q, (LogCursor){.block = c.block, .entry = c.entry + 1}, ret->stream,
                                      &ret->count);
        remove_dead(q);
        if (q->n_dead > 0) {
                (void)skip_dead(q);
                release_dead_blocks(q);
        }
        return true;
}

/* ---- the whole queue ---- */

void
log_queue_clear(LogQueue *q, LogCount *dropped)
{
        log_count_add(dropped, log_queue_queued(q));
        for (LogBlock *b = q->head, *next; b; b = next) {
                next = b->next;
                block_free(b);
        }
        free_spare(q);
        *q = (LogQueue){.done = q->done, .taken = q->taken};
}

void
log_queue_release(LogQueue *q)
{
        if (!log_queue_is_empty(q))
                return;
        LogCount none = {0};
        log_queue_clear(q, &none);
}

size_t
log_queue_find(const LogQueue *q, size_t n, const char **ret_bytes)
{
        for (LogBlock *b = q->head; b; b = b->next) {
                size_t byte = b->start;
                for (uint32_t i = b->first; i < b->count; i++) {
                        const LogEntry *e = log_block_entry(b, i);
                        if (!e->dead && n-- == 0) {
                                *ret_bytes = b->bytes + byte;
                                return b->end - byte;
                        }
                        byte += e->len;
                }
        }
        return 0;
}

/* ---- live upgrade ---- */

/* An entry in the state: three numbers of 32 bits, little-endian. */
#define PACKED_SIZE 12

enum {
        PACKED_MARKER = 1 << 0,
        PACKED_STDERR = 1 << 1,
        PACKED_PARTIAL = 1 << 2,
        PACKED_CONTINUES = 1 << 3,
        PACKED_DEAD = 1 << 4,
        PACKED_ALL = (1 << 5) - 1,
};

void
log_count_save(LogCount count, StateWriter *w, const char *name)
{
        state_begin(w, name);
        state_put_uint(w, "records", count.records);
        state_put_uint(w, "bytes", count.bytes);
        state_end(w);
}

LogCount
log_count_restore(StateReader *r, const char *name)
{
        LogCount count;
        state_enter(r, name);
        count.records = state_get_uint(r, "records", UINT64_MAX);
        count.bytes = state_get_uint(r, "bytes", UINT64_MAX);
        state_leave(r);
        return count;
}

static void
pack(const LogEntry *e, uint32_t *out)
{
        uint32_t flags = (e->marker ? PACKED_MARKER : 0) | (e->stream ? PACKED_STDERR : 0) |
                         (e->partial ? PACKED_PARTIAL : 0) | (e->continues ? PACKED_CONTINUES : 0) |
                         (e->dead ? PACKED_DEAD : 0);
        out[0] = GUINT32_TO_LE(e->len);
        out[1] = GUINT32_TO_LE(e->payload);
        out[2] = GUINT32_TO_LE(flags);
}

/* False if there is no such entry. */
static bool
unpack(const char *packed, LogEntry *ret)
{
        uint32_t in[3];
        memcpy(in, packed, sizeof in);
        uint32_t payload = GUINT32_FROM_LE(in[1]), flags = GUINT32_FROM_LE(in[2]);
        *ret = (LogEntry){
                .len = GUINT32_FROM_LE(in[0]),
                .payload = payload & LOG_PAYLOAD_MAX,
                .marker = (flags & PACKED_MARKER) != 0,
                .stream = (flags & PACKED_STDERR) != 0,
                .partial = (flags & PACKED_PARTIAL) != 0,
                .continues = (flags & PACKED_CONTINUES) != 0,
                .dead = (flags & PACKED_DEAD) != 0,
        };
        return ret->len > 0 && payload <= LOG_PAYLOAD_MAX && flags <= PACKED_ALL;
}

static void
save_block(LogBlock *b, StateWriter *w)
{
        g_autofree uint32_t *packed = g_malloc((size_t)(b->count - b->first) * PACKED_SIZE);
        for (uint32_t i = b->first; i < b->count; i++)
                pack(log_block_entry(b, i), packed + 3 * (size_t)(i - b->first));
        state_begin(w, "block");
        state_put_bytes(w, "entries", packed, (size_t)(b->count - b->first) * PACKED_SIZE);
        state_put_bytes(w, "bytes", b->bytes + b->start, b->end - b->start);
        state_end(w);
}

/* The number of messages before the first one that was not sent. */
static size_t
count_sent(const LogQueue *q)
{
        size_t n = 0;
        for (const LogBlock *b = q->head; b; b = b->next) {
                if (b == q->next.block)
                        return n + q->next.entry - b->first;
                n += b->count - b->first;
        }
        return n;
}

void
log_queue_save(const LogQueue *q, StateWriter *w)
{
        state_begin(w, "queue");
        log_count_save(q->done, w, "done");
        state_put_uint(w, "taken", q->taken);
        state_put_uint(w, "sent", count_sent(q));
        state_put_uint(w, "partially-sent", q->partially_sent);
        for (LogBlock *b = q->head; b; b = b->next)
                if (b->count > b->first)
                        save_block(b, w);
        state_end(w);
}

static void
fill_block(LogQueue *q, LogBlock *b, const char *packed, size_t n, const char *bytes, size_t len,
           StateReader *r)
{
        size_t sum = 0;
        for (size_t i = 0; i < n; i++) {
                LogEntry e;
                if (!unpack(packed + i * PACKED_SIZE, &e)) {
                        state_fail(r, "A queue has a message that can't be");
                        return;
                }
                *log_block_entry(b, b->count++) = e;
                sum += e.len;
                if (e.dead)
                        count_dead(q, b, &e, 1);
                else
                        log_count_add(&b->queued, entry_count(&e));
        }
        if (sum != len)
                state_fail(r, "The messages of a queue do not fit its bytes");
        memcpy(b->bytes, bytes, len);
        b->end = len;
}

static void
restore_block(LogQueue *q, StateReader *r)
{
        size_t size, len;
        const char *packed = state_get_bytes(r, "entries", &size), *bytes = state_get_bytes(r, "bytes", &len);
        state_leave(r);
        if (size == 0 || size % PACKED_SIZE != 0 || len > UINT32_MAX)
                state_fail(r, "A queue has a block that can't be");
        if (state_failed(r))
                return;
        size_t n = size / PACKED_SIZE;
        fill_block(q, add_block(q, len + n * sizeof(LogEntry)), packed, n, bytes, len, r);
}

/* Sets the cursor after this many messages, and this many bytes of the next one. */
static void
restore_cursor(LogQueue *q, size_t sent, StateReader *r)
{
        LogCursor *c = &q->next;
        while (c->block && sent > c->block->count && c->block->next) {
                sent -= c->block->count;
                c->block = c->block->next;
        }
        if (sent > (c->block ? c->block->count : 0)) {
                state_fail(r, "More messages of a queue are sent than there are");
                return;
        }
        for (; c->entry < sent; c->entry++)
                c->byte += log_block_entry(c->block, c->entry)->len;
        if (q->partially_sent == 0)
                return;
        const LogEntry *e = skip_dead(q);
        if (!e || q->partially_sent >= e->len)
                state_fail(r, "More of a message is sent than there is");
        else
                c->byte += q->partially_sent;
}

void
log_queue_restore(LogQueue *q, StateReader *r)
{
        state_enter(r, "queue");
        q->done = log_count_restore(r, "done");
        q->taken = state_get_uint(r, "taken", UINT64_MAX);
        size_t sent = state_get_uint(r, "sent", SIZE_MAX);
        q->partially_sent = state_get_uint(r, "partially-sent", UINT32_MAX);
        while (state_enter_next(r, "block"))
                restore_block(q, r);
        state_leave(r);
        if (!state_failed(r))
                restore_cursor(q, sent, r);
}
