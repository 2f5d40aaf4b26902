/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The FIFO that a plugin reads. A message is done when all of it was read: messages in the FIFO when its
 * reader closes it are sent again, to the next one. */

#include "log/api/driver.h"
#include "base/watch.h"

typedef struct PluginFifo {
        LogSink *sink;
        char *path; /* NULL: there is none */
        int fd;     /* for writing */
        int spare;  /* for reading, until the plugin knows the FIFO; -1: closed */
        Watch watch;
        bool waiting;     /* for space */
        bool has_reader;  /* there was one */
        bool reader_gone; /* and there is none */
        gint64 announced_usec; /* when the plugin learned its name */
        uint64_t written; /* bytes */
        uint64_t done;    /* of these, in messages that are done */
        Timer look;       /* to check what was read: there is no event for that */
        int64_t look_wait;
} PluginFifo;

/* *f is all zero. */
void plugin_fifo_init(PluginFifo *f, LogSink *sink);

/* Creates one with a new name in the directory, which is also created. Returns 0 or -errno. */
int plugin_fifo_make(PluginFifo *f, const char *dir);

/* To be called when the plugin knows the FIFO: from now on it must have it open. */
void plugin_fifo_announced(PluginFifo *f);

/* Writes the queue. Returns 0 if everything was read, LOG_SEND_WAIT, or -EPIPE without a reader. */
int plugin_fifo_send(PluginFifo *f, LogQueue *q);

/* Bytes that were not read. */
int plugin_fifo_unread(const PluginFifo *f);

/* Live upgrade: for LogDriver.save and .restore; *f is all zero again. */
void plugin_fifo_save(const PluginFifo *f, StateWriter *w);
void plugin_fifo_restore(PluginFifo *f, LogSink *sink, StateReader *r);

/* Removes it. What was not read will be sent again. */
void plugin_fifo_remove(PluginFifo *f, LogQueue *q);
