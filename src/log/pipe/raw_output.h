/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The container's bytes as they are, to a descriptor for each stream: pipes to an external logger, or what
 * the monitor was started with. */

#include "base/watch.h"
#include "log/api/driver.h"

typedef enum {
        LOG_RAW_PLAIN,    /* non-blocking, or opened by us as non-blocking */
        LOG_RAW_FILE,     /* blocks only on a stalled disk */
        LOG_RAW_SOCKET,   /* each call is non-blocking (MSG_DONTWAIT) */
        LOG_RAW_CAUTIOUS, /* shared with other processes: only written when it is ready */
} LogRawKind;

typedef struct LogRawOutput {
        LogSink *sink;
        int fds[N_STREAMS]; /* -1: none */
        LogRawKind kinds[N_STREAMS];
        bool final[N_STREAMS]; /* a reader that has closed its end can't come back, unlike with a FIFO */
        bool reported[N_STREAMS]; /* that there is no reader left */
        Watch writable[N_STREAMS];
} LogRawOutput;

/* Starts with no descriptors. */
void log_raw_init(LogRawOutput *o, LogSink *sink);

/* Takes ownership of a non-blocking descriptor. */
void log_raw_set(LogRawOutput *o, StreamId stream, int fd);

/* The same with a copy of a descriptor that others also use, so that its flags must not be changed.
 * Returns 0 or -errno. */
int log_raw_share(LogRawOutput *o, StreamId stream, int fd);

/* Live upgrade: for LogDriver.save and .restore. */
void log_raw_save(const LogRawOutput *o, StateWriter *w);
void log_raw_restore(LogRawOutput *o, LogSink *sink, StateReader *r);

/* The format: the bytes, with a newline after the last part of a line. */
char *log_raw_put(void *self, const LogRecord *r, char *at);
size_t log_raw_max_encoded_len(void *self, size_t len);

/* The transport of drivers whose instance begins with a LogRawOutput. */
extern const LogTransport log_raw_transport;

/* The functions of that transport, for drivers with one of their own. LogTransport.send: writes what is
 * queued. Data without a reader is dropped, so that the other stream continues. */
int log_raw_send(void *output, LogQueue *q);

/* .close: closes the descriptors. May be called again. */
void log_raw_close(void *output);
