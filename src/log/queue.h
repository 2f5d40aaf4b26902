#pragma once

/* What a driver encoded and has not delivered yet: messages in order, in blocks of memory that come from the
 * kernel when they are needed and go back to it. In the usual case there is one block, filled from a chunk of
 * output and emptied by one write.
 *
 * A message is in one of three states: waiting, sent (perhaps in part), done. Whoever doesn't wait for
 * acknowledgements uses log_queue_wrote and never sees the second state. */

#include "log/record.h"

#include <sys/types.h>

/* Messages and the container's bytes they stand for. */
typedef struct LogCount {
        uint64_t records;
        uint64_t bytes;
} LogCount;

/* One message in a block, described from the end of the block downwards. */
typedef struct LogEntry {
        uint32_t len;          /* encoded */
        uint32_t payload : 24; /* of the record */
        uint32_t marker : 1;
        uint32_t stream : 1;
        uint32_t partial : 1;
        uint32_t continues : 1;
        uint32_t dead : 1; /* dropped: never sent, passed over */
} LogEntry;

/* The most payload that an entry can describe. */
#define LOG_PAYLOAD_MAX ((1 << 24) - 1)

typedef struct LogBlock LogBlock;
struct LogBlock {
        LogBlock *next;
        size_t size;    /* of the whole mapping */
        uint32_t first; /* entries before this one are done */
        uint32_t count; /* entries */
        size_t start;   /* bytes before this offset are done */
        size_t end;     /* of the bytes */
        LogCount waiting; /* what is not done and not dropped */
        char bytes[];
};

/* Entry number i of a block. */
static inline LogEntry *
log_block_entry(LogBlock *b, uint32_t i)
{
        return (LogEntry *)((char *)b + b->size) - i - 1;
}

/* Where a message of `len` bytes can be encoded, or NULL if the block is too full. */
static inline char *
log_block_room(LogBlock *b, size_t len)
{
        size_t taken = sizeof(LogBlock) + b->end + (b->count + 1) * sizeof(LogEntry);
        return taken + len <= b->size ? b->bytes + b->end : NULL;
}

/* Adds the `len` bytes at log_block_room as the message for this record. Whoever let a driver do this
 * says so with log_queue_added. */
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
        LogCursor next; /* the first byte that is not sent */
        size_t torn;    /* bytes of the message there that are sent already */
        size_t n_dead;  /* messages that are dropped and not passed yet */
        LogCount done;  /* delivered since the start */
} LogQueue;

/* The block to encode into: one with room for a message of `need` bytes, or for more. */
LogBlock *log_queue_block(LogQueue *q, size_t need);

/* Counts messages that were just added to the block. */
void log_queue_added(LogBlock *b, LogCount count);

/* True if everything is done. */
bool log_queue_is_empty(const LogQueue *q);

/* True if everything is sent. */
bool log_queue_is_sent(const LogQueue *q);

/* Bytes that the messages take up which are not done, with what describes them. */
size_t log_queue_memory(const LogQueue *q);

/* What is not done and not dropped. */
LogCount log_queue_waiting(const LogQueue *q);

/* Takes back the message that was added last. It must not have been sent. */
void log_queue_undo(LogQueue *q);

/* Points *ret_bytes to whole messages that were not sent, in one piece, of together at most `max`
 * bytes, and returns how many bytes they are: not necessarily all that there are, and 0 if there are
 * none or the first one is longer than `max`. If a message is sent in part, it is the rest of that one
 * alone, whatever `max` is. */
size_t log_queue_next(LogQueue *q, size_t max, const char **ret_bytes);

/* How many messages the next `len` bytes that are not sent are: whole ones in one
 * piece, see log_queue_next. */
size_t log_queue_count(const LogQueue *q, size_t len);

/* Length of the first message that is not sent; 0 if there is none. */
size_t log_queue_next_len(LogQueue *q);

/* A message for those who send them one by one. */
typedef struct LogMessage {
        const char *bytes;
        size_t len;
        StreamId stream;
} LogMessage;

/* Fills in at most `max` messages that were not sent, returns how many. They may come from several blocks.
 * Must not be used while a message is sent in part. */
size_t log_queue_peek(LogQueue *q, LogMessage *messages, size_t max);

/* The next `len` bytes have been sent. */
void log_queue_sent(LogQueue *q, size_t len);

/* The oldest n messages, which have been sent, have arrived and are forgotten. */
void log_queue_done(LogQueue *q, size_t n);

/* The next `len` bytes have been sent and have arrived. Everything sent before must be done. */
void log_queue_wrote(LogQueue *q, size_t len);

/* What was sent and is not done has to be sent again, a message that was sent in part from its start. */
void log_queue_rewind(LogQueue *q);

/* What log_queue_drop_oldest dropped. */
typedef struct LogDropped {
        LogCount count;
        uint32_t announced; /* lost records that nobody will be told of, because it was the marker that did */
        StreamId stream;
        bool open; /* the line isn't finished in the queue */
} LogDropped;

/* True if the first message that is not sent goes on with a line that was begun. */
bool log_queue_is_within_line(LogQueue *q);

/* Drops the oldest message, if nothing of it was sent, and the rest of its line. Returns false if there is
 * nothing that can be dropped. */
bool log_queue_drop_oldest(LogQueue *q, LogDropped *ret);

/* Drops everything that is not done. Adds it to *dropped. */
void log_queue_clear(LogQueue *q, LogCount *dropped);

/* Gives memory back that is not in use. */
void log_queue_release(LogQueue *q);
