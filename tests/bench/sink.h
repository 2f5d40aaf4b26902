#pragma once

/* A log receiver that only reads, in a process of its own. */

#include <stdint.h>
#include <sys/types.h>

typedef struct SinkResult {
        uint64_t bytes;    /* as they came */
        uint64_t messages; /* datagrams, or reads of a stream */
        uint64_t payload;  /* bytes of the MESSAGE fields of journal entries */
} SinkResult;

typedef struct Sink {
        pid_t pid;
        int fd;
} Sink;

/* Listens at "stream:PATH" or "dgram:PATH"; returns when it does. Ends the program on failure. */
void sink_start(Sink *s, const char *address);

/* Takes what is still to come, ends the receiver. To be called when the sender is gone. */
void sink_finish(Sink *s, SinkResult *ret);
