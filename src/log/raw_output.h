#pragma once

/* The container's bytes as they are, to a descriptor for each stream: pipes to an external logger, or what
 * the monitor was started with. For use by drivers; the functions fit into LogDriver. */

#include "base/watch.h"
#include "log/driver.h"

typedef enum {
        LOG_RAW_PLAIN,    /* never waits, or was opened by us without waiting */
        LOG_RAW_SOCKET,   /* is told with each call not to wait */
        LOG_RAW_CAUTIOUS, /* is shared with others: only asked for what it surely takes */
} LogRawKind;

typedef struct LogRawOutput {
        LogSink *sink;
        int fds[N_STREAMS]; /* -1: none */
        LogRawKind kinds[N_STREAMS];
        bool final[N_STREAMS]; /* who has left the other end can't come back, as with a FIFO */
        bool told[N_STREAMS];  /* that nobody is there any more */
        Watch writable[N_STREAMS];
} LogRawOutput;

/* Starts with no descriptors. */
void log_raw_init(LogRawOutput *o, LogSink *sink);

/* Takes a descriptor over that does not wait. */
void log_raw_set(LogRawOutput *o, StreamId stream, int fd);

/* The same with a copy of a descriptor that somebody else uses too, and whose flags are not ours to
 * change. Returns 0 or -errno. */
int log_raw_share(LogRawOutput *o, StreamId stream, int fd);

/* Closes the descriptors. May be called again. */
void log_raw_close(LogRawOutput *o);

size_t log_raw_encode(void *self, const LogRecord *records, size_t n, LogBlock *block);
size_t log_raw_bound(void *self, size_t len);

/* Writes what is queued. What nobody can ever read any more is dropped, so that the other stream goes on.
 * Returns 0, LOG_SEND_WAIT or -errno. */
int log_raw_send(LogRawOutput *o, LogQueue *q);
