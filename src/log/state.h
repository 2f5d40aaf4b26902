/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The members of a log. Private to log/: log.c passes records on, sinks.c creates and changes the sinks. */

#include "base/page_buffer.h"
#include "base/watch.h"
#include "log/log.h"
#include "log/split.h"

struct Log {
        GPtrArray *sinks;   /* of LogSink */
        GPtrArray *closing; /* of ClosingSink: sinks that a reload has removed, and that drain their queues */
        Timer settle; /* after a change, when no sink is at work: frees those that are done, ends the drain */
        char *cid;
        char *bundle;
        char *persist_dir;
        bool passthrough;
        bool tee;
        bool sync_at_end;
        LogSplitter splitters[N_STREAMS];
        PageBuffer records; /* a batch */
        Timer quiet;
        bool busy; /* there was output since the timer was started */
        LogWantsFunc wants;
        void *wants_data;
        void (*drained)(void *data);
        void *drained_data;
};
