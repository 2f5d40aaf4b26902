/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A log receiver that only reads, in a separate process. */

#include <stdint.h>
#include <sys/types.h>

typedef struct SinkResult {
        uint64_t bytes;    /* as received */
        uint64_t messages; /* datagrams, or reads of a stream */
        uint64_t payload;  /* bytes of the MESSAGE fields of journal entries */
} SinkResult;

typedef struct Sink {
        pid_t pid;
        int fd;
} Sink;

/* Listens at "stream:PATH" or "dgram:PATH", or at "tcp:PORT", "http:PORT" or "tls:PORT:FILE" of 127.0.0.1,
 * where the PEM file has a certificate and its key; it answers HTTP requests. Returns when it listens. Ends
 * the program on failure. */
void sink_start(Sink *s, const char *address);

/* Reads the remaining data and ends the receiver. To be called when the sender has exited. */
void sink_finish(Sink *s, SinkResult *ret);
