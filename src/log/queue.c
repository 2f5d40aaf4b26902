#include "log/queue.h"

#include "base/page_buffer.h"

#include <glib.h>
#include <sys/mman.h>

/* A chunk of 64 KiB with its prefixes fits if the lines are not too short. Only pages that are used count. */
#define FIRST_SIZE ((size_t)256 * 1024)

/* Further blocks are there because messages have to wait. What is done of one goes back
 * with the whole block only. */
#define NEXT_SIZE ((size_t)64 * 1024)

static LogBlock *
block_new(size_t size, size_t need)
{
        size = MAX(size, sizeof(LogBlock) + sizeof(LogEntry) + need);
        size = (size + 4095) & ~(size_t)4095;
        LogBlock *b = pages_take(size);
        b->size = size;
        return b;
}

static void
block_free(LogBlock *b)
{
        (void)munmap(b, b->size);
}

static bool
block_is_done(const LogBlock *b)
{
        return b->first == b->count;
}

static void
block_reset(LogBlock *b)
{
        b->first = b->count = 0;
        b->start = b->end = 0;
        b->waiting = (LogCount){0};
}

/* Blocks that are done go back, but for the last one, which is used again from its start. */
static void
collect(LogQueue *q)
{
        while (q->head && block_is_done(q->head) && q->head->next) {
                LogBlock *b = q->head;
                q->head = b->next;
                if (q->next.block == b)
                        q->next = (LogCursor){.block = q->head};
                block_free(b);
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
        LogBlock *b = block_new(q->tail ? NEXT_SIZE : FIRST_SIZE, need);
        if (q->tail)
                q->tail->next = b;
        else
                q->head = q->next.block = b;
        q->tail = b;
        /* The block before may be done already. */
        collect(q);
        return b;
}

bool
log_queue_is_empty(const LogQueue *q)
{
        return !q->head || (block_is_done(q->head) && !q->head->next);
}

/* Moves on to the first message that is to be sent, over the ends of blocks and what was dropped. */
static LogEntry *
settle(LogQueue *q)
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

bool
log_queue_is_sent(const LogQueue *q)
{
        /* Settling changes nothing that can be seen. */
        return settle((LogQueue *)q) == NULL;
}

size_t
log_queue_memory(const LogQueue *q)
{
        size_t sum = 0;
        for (const LogBlock *b = q->head; b; b = b->next)
                sum += b->end - b->start + (b->count - b->first) * sizeof(LogEntry);
        return sum;
}

static LogCount
entry_count(const LogEntry *e)
{
        return e->marker ? (LogCount){0} : (LogCount){.records = 1, .bytes = e->payload};
}

static void
count_add(LogCount *sum, LogCount count)
{
        sum->records += count.records;
        sum->bytes += count.bytes;
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
        count_add(&b->waiting, count);
}

LogCount
log_queue_waiting(const LogQueue *q)
{
        LogCount sum = {0};
        for (const LogBlock *b = q->head; b; b = b->next)
                count_add(&sum, b->waiting);
        return sum;
}

void
log_queue_undo(LogQueue *q)
{
        LogBlock *b = q->tail;
        const LogEntry *e = log_block_entry(b, --b->count);
        b->end -= e->len;
        count_subtract(&b->waiting, entry_count(e));
        /* A block without entries is not done but new: nothing to collect. */
}

/* Like log_queue_next, looking at each message. */
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
        const LogEntry *e = settle(q);
        if (!e)
                return 0;
        const LogCursor *c = &q->next;
        *ret_bytes = c->block->bytes + c->byte;
        if (q->torn > 0)
                return e->len - q->torn;
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
        const LogEntry *e = settle(q);
        return e ? e->len : 0;
}

size_t
log_queue_peek(LogQueue *q, LogMessage *messages, size_t max)
{
        (void)settle(q);
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
log_queue_sent(LogQueue *q, size_t len)
{
        while (len > 0) {
                const LogEntry *e = settle(q);
                if (!e)
                        return;
                size_t piece = MIN(len, e->len - q->torn);
                len -= piece;
                q->torn += piece;
                q->next.byte += piece;
                if (q->torn == e->len) {
                        q->next.entry++;
                        q->torn = 0;
                }
        }
}

/* Forgets the oldest message; the caller has looked after the cursor. */
static void
forget(LogBlock *b)
{
        b->start += log_block_entry(b, b->first++)->len;
}

/* Dropped messages at the front go at once. */
static void
forget_dead(LogQueue *q)
{
        while (q->n_dead > 0 && q->head && !block_is_done(q->head) &&
               log_block_entry(q->head, q->head->first)->dead) {
                (void)settle(q);
                forget(q->head);
                q->n_dead--;
                collect(q);
        }
}

void
log_queue_done(LogQueue *q, size_t n)
{
        forget_dead(q);
        for (; n > 0 && !log_queue_is_empty(q); n--) {
                LogCount count = entry_count(log_block_entry(q->head, q->head->first));
                count_add(&q->done, count);
                count_subtract(&q->head->waiting, count);
                forget(q->head);
                if (block_is_done(q->head))
                        collect(q);
                forget_dead(q);
        }
}

/* The usual case: everything in the only block has been written. */
static bool
wrote_block(LogQueue *q, size_t len)
{
        LogBlock *b = q->head;
        if (b != q->tail || q->n_dead > 0 || q->next.byte + len != b->end)
                return false;
        count_add(&q->done, b->waiting);
        block_reset(b);
        q->next = (LogCursor){.block = b};
        q->torn = 0;
        return true;
}

void
log_queue_wrote(LogQueue *q, size_t len)
{
        if (len == 0 || wrote_block(q, len))
                return;
        while (len > 0) {
                const LogEntry *e = settle(q);
                if (!e)
                        return;
                size_t piece = MIN(len, e->len - q->torn);
                bool whole = q->torn + piece == e->len;
                log_queue_sent(q, piece);
                len -= piece;
                if (whole)
                        log_queue_done(q, 1);
        }
}

void
log_queue_rewind(LogQueue *q)
{
        q->torn = 0;
        q->next = (LogCursor){.block = q->head};
        if (q->head) {
                q->next.entry = q->head->first;
                q->next.byte = q->head->start;
        }
}

/* Drops one message, which stays where it is until its turn comes. */
static void
kill_entry(LogQueue *q, LogBlock *b, LogEntry *e, LogCount *dropped)
{
        LogCount count = entry_count(e);
        count_add(dropped, count);
        count_subtract(&b->waiting, count);
        e->dead = 1;
        q->n_dead++;
}

/* True for a message that tells of losses: it belongs to no line. */
static bool
is_announcement(const LogEntry *e)
{
        return e->marker && !e->continues;
}

/* Marks the rest of a line as dropped. True if the queue ends before the line does. */
static bool
kill_rest(LogQueue *q, StreamId stream, LogCount *dropped)
{
        for (LogCursor c = {.block = q->head, .entry = q->head->first}; c.block;
             c = (LogCursor){.block = c.block->next}) {
                for (; c.entry < c.block->count; c.entry++) {
                        LogEntry *e = log_block_entry(c.block, c.entry);
                        if (e->dead || e->stream != stream || is_announcement(e))
                                continue;
                        if (!e->continues)
                                return false;
                        kill_entry(q, c.block, e, dropped);
                        /* Behind a marker that ended the line it may have gone on all the same. */
                        if (!e->partial && !e->marker)
                                return false;
                }
        }
        return true;
}

bool
log_queue_is_within_line(LogQueue *q)
{
        const LogEntry *e = settle(q);
        return e && e->continues;
}

bool
log_queue_drop_oldest(LogQueue *q, LogDropped *ret)
{
        LogEntry *e = settle(q);
        if (!e || q->torn > 0 || q->next.block != q->head || q->next.entry != q->head->first)
                return false;
        *ret = (LogDropped){.announced = e->marker ? e->payload : 0, .stream = e->stream};
        bool partial = e->partial;
        kill_entry(q, q->head, e, &ret->count);
        if (partial)
                ret->open = kill_rest(q, ret->stream, &ret->count);
        forget_dead(q);
        return true;
}

void
log_queue_clear(LogQueue *q, LogCount *dropped)
{
        count_add(dropped, log_queue_waiting(q));
        for (LogBlock *b = q->head, *next; b; b = next) {
                next = b->next;
                block_free(b);
        }
        *q = (LogQueue){.done = q->done};
}

void
log_queue_release(LogQueue *q)
{
        if (!log_queue_is_empty(q))
                return;
        LogCount none = {0};
        log_queue_clear(q, &none);
}
