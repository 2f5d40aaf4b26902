/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What a driver encoded and has not delivered yet: messages in order, in blocks of memory that come from the
 * kernel when they are needed and go back to it. In the usual case there is one block, filled from a chunk of
 * output and emptied by one write.
 *
 * A message is in one of three states: waiting, sent (perhaps in part), done. A driver that doesn't wait for
 * acknowledgements uses log_queue_wrote and never sees the second state. A message that is dropped, or
 * delivered before earlier ones, is dead: it is skipped, and removed when all before it are done. */

#include "base/state.h"
#include "log/api/record.h"

/* Messages and the container's bytes that they represent. */
typedef struct LogCount {
        uint64_t records;
        uint64_t bytes;
} LogCount;

static inline void
log_count_add(LogCount *sum, LogCount count)
{
        sum->records += count.records;
        sum->bytes += count.bytes;
}

/* One message in a block, described from the end of the block downwards. */
typedef struct LogEntry {
        uint32_t len;          /* encoded */
        uint32_t payload : 24; /* of the record */
        uint32_t marker : 1;
        uint32_t stream : 1;
        uint32_t partial : 1;
        uint32_t continues : 1;
        uint32_t dead : 1;
} LogEntry;

/* The most payload that an entry can describe. */
#define LOG_PAYLOAD_MAX ((1 << 24) - 1)

typedef struct LogBlock LogBlock;
struct LogBlock {
        LogBlock *next;
        size_t size;      /* of the whole mapping */
        uint32_t first;   /* entries before this one are done */
        uint32_t count;   /* entries */
        uint32_t n_dead;  /* of them */
        size_t start;     /* bytes before this offset are done */
        size_t end;       /* of the bytes */
        LogCount queued;  /* messages that are neither done nor dead */
        char bytes[];
};

/* Entry number i of a block. */
static inline LogEntry *
log_block_entry(LogBlock *b, uint32_t i)
{
        return (LogEntry *)((char *)b + b->size) - i - 1;
}

/* Buffer for encoding a message of `len` bytes, or NULL if the block is too full. */
static inline char *
log_block_room(LogBlock *b, size_t len)
{
        size_t taken = sizeof(LogBlock) + b->end + (b->count + 1) * sizeof(LogEntry);
        return taken + len <= b->size ? b->bytes + b->end : NULL;
}

/* Adds the `len` bytes at log_block_room as the message for this record. After a driver has done this, the
 * caller calls log_queue_added. */
static inline void
log_block_add(LogBlock *b, size_t len, const LogRecord *r)
{
        *log_block_entry(b, b->count++) = (LogEntry){
                .len = (uint32_t)len,
                .payload = r->payload & 0xffffff,
                .marker = (r->flags & LOG_RECORD_MARKER) != 0,
                .stream = r->stream & 1u,
                .partial = (r->flags & LOG_RECORD_PARTIAL) != 0,
                .continues = (r->flags & LOG_RECORD_CONTINUES) != 0,
        };
        b->end += len;
}

/* A place between two messages, or within one. */
typedef struct LogCursor {
        LogBlock *block;
        uint32_t entry; /* its number in the block */
        size_t byte;    /* offset in the block's bytes */
} LogCursor;

/* All zero is an empty queue. */
typedef struct LogQueue {
        LogBlock *head, *tail;
        LogBlock *spare; /* blocks that were done, kept for reuse */
        size_t n_spare;
        LogCursor next; /* the first byte that is not sent */
        size_t partially_sent;    /* bytes of the message there that were already sent */
        size_t n_dead;  /* messages, */
        size_t dead_memory; /* and their size, as in log_queue_memory */
        LogCount done;  /* delivered since the start */
        uint64_t taken; /* increases whenever the destination accepts or acknowledges data */
} LogQueue;

/* The block to encode into: one with space for a message of `need` bytes, or for more. */
LogBlock *log_queue_block(LogQueue *q, size_t need);

/* Updates the counters for messages that were just added to the block. */
void log_queue_added(LogBlock *b, LogCount count);

/* True if everything is done. */
bool log_queue_is_empty(const LogQueue *q);

/* Memory of the messages that are neither done nor dead, with their entries. */
size_t log_queue_memory(const LogQueue *q);

/* The part of it of messages that were sent, with dead ones in between. */
size_t log_queue_sent_memory(const LogQueue *q);

/* The messages that are neither done nor dead: waiting or sent. */
LogCount log_queue_queued(const LogQueue *q);

/* Removes the message that was added last. It must not have been sent or dropped. Returns what it added to
 * log_queue_memory. */
size_t log_queue_undo(LogQueue *q);

/* Points *ret_bytes to contiguous whole messages that were not sent, of at most `max` bytes in total, and
 * returns their size: not necessarily all of them, and 0 if there are none or the first one is longer than
 * `max`. Of a partially sent message, it is the rest alone, regardless of `max`. */
size_t log_queue_next(LogQueue *q, size_t max, const char **ret_bytes);

/* The number of messages in the next `len` unsent bytes: contiguous whole ones, see log_queue_next. */
size_t log_queue_count(const LogQueue *q, size_t len);

/* Length of the first message that is not sent; 0 if there is none. */
size_t log_queue_next_len(LogQueue *q);

/* A message, for drivers that send them one by one. */
typedef struct LogMessage {
        const char *bytes;
        size_t len;
        StreamId stream;
} LogMessage;

/* Fills in at most `max` messages that were not sent, returns how many. They may be from several blocks.
 * Must not be used while a message is partially sent. */
size_t log_queue_peek(LogQueue *q, LogMessage *messages, size_t max);

/* The next `len` bytes have been sent. */
void log_queue_sent(LogQueue *q, size_t len);

/* The same, but this is not progress yet: they may still be refused. */
void log_queue_reserve(LogQueue *q, size_t len);

/* The oldest n sent messages were acknowledged and are removed. */
void log_queue_done(LogQueue *q, size_t n);

/* The result of a message that was sent. */
typedef enum {
        LOG_FATE_DONE,    /* delivered */
        LOG_FATE_REFUSED, /* it is dropped */
        LOG_FATE_AGAIN,   /* it stays where it is */
} LogFate;

/* The results of the oldest n sent messages. Refused ones are added to *refused. Everything left is then
 * unsent again. */
void log_queue_decide(LogQueue *q, const LogFate *fates, size_t n, LogCount *refused);

/* The oldest `len` sent bytes were acknowledged. Removes the whole messages within them; returns the size
 * of these. */
size_t log_queue_arrived(LogQueue *q, size_t len);

/* The messages that are done, and those that were sent and are not done yet. */
LogCount log_queue_sent_count(const LogQueue *q);

/* The next `len` bytes were sent and acknowledged. Everything sent before must be done. */
void log_queue_wrote(LogQueue *q, size_t len);

/* Messages that were sent and are not done are sent again, a partially sent one from its start. */
void log_queue_rewind(LogQueue *q);

/* The messages that log_queue_drop_oldest has dropped. */
typedef struct LogDropped {
        LogCount count;
        uint32_t announced; /* lost records that stay unreported, because their marker is lost */
        StreamId stream;
        bool open; /* the line isn't finished in the queue */
} LogDropped;

/* True if the first message of which no bytes were sent continues a started line. */
bool log_queue_is_within_line(LogQueue *q);

/* Drops the oldest message of which no bytes were sent, and the rest of its line. Returns false if there
 * is none. */
bool log_queue_drop_oldest(LogQueue *q, LogDropped *ret);

/* Drops everything that is not done. Adds it to *dropped. */
void log_queue_clear(LogQueue *q, LogCount *dropped);

/* Frees unused memory. */
void log_queue_release(LogQueue *q);

/* Points *ret_bytes to message number n of those that are not done, not counting dead ones, with the
 * contiguous bytes after it, and returns how many bytes there are; 0 if there is no such message. */
size_t log_queue_find(const LogQueue *q, size_t n, const char **ret_bytes);

/* Live upgrade. Restoring starts with an empty queue. */
void log_queue_save(const LogQueue *q, StateWriter *w);
void log_queue_restore(LogQueue *q, StateReader *r);

/* The same for a LogCount, with the names "records" and "bytes". */
void log_count_save(LogCount count, StateWriter *w, const char *name);
LogCount log_count_restore(StateReader *r, const char *name);
