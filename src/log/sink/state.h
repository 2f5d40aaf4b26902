/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The members of a sink. Private to log/sink/: options.c reads its options, sink.c sends, admission.c decides
 * what enters the queue, change.c applies a reload, status.c describes the sink. */

#include "base/watch.h"
#include "log/intake/intake.h"
#include "log/sink/losses.h"
#include "log/sink/sink.h"

typedef enum {
        SINK_OPENED, /* there are no event sources yet, and nothing is sent */
        SINK_RUNNING,
        SINK_STOPPED,  /* the container has ended: nothing more is written */
        SINK_OVER,     /* and that may have been recorded */
        SINK_FINISHED, /* and the transport's finish was called */
        SINK_DRAINING, /* and the queue is being sent */
} SinkPhase;

/* Whether the destination accepts data. Set by the result of each send (sink.c); only STALLED is set by a
 * timer. */
typedef enum {
        SINK_OK,         /* everything was sent */
        SINK_CONNECTING, /* nothing was accepted yet, and nothing has failed */
        SINK_WAITING,    /* partially sent; the driver reports when it can continue */
        SINK_STALLED,    /* as WAITING, but without progress for stall-timeout */
        SINK_FAILING,    /* the last attempt failed; a timer runs until the next one */
        SINK_ENDED,      /* it accepts no more data */
} SinkCondition;

/* What happens to records while the queue is full. */
typedef enum {
        SINK_ADMITS, /* they enter the queue */
        SINK_HOLDS,  /* they still do, but the container waits until the queue is half empty */
        SINK_LOSES,  /* some or all are dropped until the queue is half empty */
} SinkAdmission;

/* The current line of a stream, as far as records of it were encoded. */
typedef enum {
        LINE_WHOLE,      /* the last line is complete */
        LINE_BEGUN,      /* its first parts were encoded, the rest follows */
        LINE_LOSING,     /* nothing of it was encoded, and its rest will be dropped */
        LINE_LOSING_END, /* its first parts were encoded, and its rest will be dropped */
        LINE_CUT,        /* its first parts were encoded, its end was dropped: it must be closed */
} LineState;

typedef struct {
        LineState line;
        LogDropCause cause; /* of the current losses */
        uint32_t ordinal;   /* of the part that was encoded last */
        uint64_t partial_id;
} SinkStream;

typedef enum {
        MODE_BLOCKING,
        MODE_NON_BLOCKING,
        MODE_ADAPTIVE,
} SinkMode;

typedef enum {
        ON_FULL_DROP_NEWEST,
        ON_FULL_DROP_OLDEST,
        ON_FULL_BLOCK,
} OnFull;

struct LogSink {
        const LogDriver *driver;
        char *name; /* among all sinks of a log; NULL: that of the driver */
        const LogTransport *transport; /* of the driver */
        void *self;                    /* the driver's instance */
        char *arg;                     /* as in the setup, as the next one */
        bool from_log_path;
        LogOptions *options;
        LogOptions *driver_options; /* that the instance points into, */
        LogOptions *intake_options; /* and those that the intake does */
        LogIntake *intake;          /* NULL if records are used unchanged */

        size_t queue_max;
        SinkMode mode;
        bool block_on_error; /* a blocking sink also blocks while sending fails */
        OnFull on_full;
        int64_t stall_timeout; /* microseconds, as the next one */
        int64_t drain_timeout;

        StandIn *stand_in;  /* NULL if the transport does not need one */
        bool sending;       /* a function of such a transport is running, possibly blocked */
        bool reopen_due;    /* once it is not */

        LogQueue queue;
        LogCount in;
        LogLosses losses;
        uint64_t n_markers;

        SinkPhase phase;
        SinkCondition condition;
        SinkAdmission admission;
        SinkStream streams[N_STREAMS];
        bool wants; /* what was last reported to the caller */
        bool release_due; /* memory could not be freed, because the queue was not empty */

        char *last_error; /* a sentence without a full stop; NULL: none so far */
        uint64_t n_errors;
        bool refused;          /* the destination refuses messages */
        bool busy;             /* the last failure was an answer: it wants a pause */
        uint64_t done_at_failure; /* records that were delivered before the last failure */
        bool failure_reported; /* a failure was reported, and no recovery since */
        gint64 reported_usec;
        unsigned attempt; /* failed ones in a row */
        Timer retry;
        int64_t retry_usec; /* as requested by the driver; 0: none */

        /* Checks the progress of the destination, while something waits for it. */
        Timer progress;
        uint64_t seen;     /* the progress at the last check */
        gint64 moved_usec; /* time of the last progress, or since when there has been something to send */
        gint64 delivered_usec; /* while draining: time of the last delivery, or of the beginning */
        gint64 drain_end;

        LogSinkChangedFunc changed;
        void *changed_data;
};

/* Applies the options of the queue (options.c). */
void sink_read_options(LogSink *s);

/* The arguments of the driver's functions (options.c). */
LogDriverConfig sink_driver_config(LogSink *s, const LogSinkSetup *setup, const LogConfig *log);

/* Creates an intake for these options, which it borrows. `errands` as for log_intake_new. */
gboolean sink_make_intake(LogSink *s, const LogOptions *options, Errands *errands, LogIntake **ret_intake,
                          GError **error);

/* Reduces max-record of the intake by the size that the open driver adds to each record. */
void sink_leave_room(LogSink *s);

/* Calls the driver to send, unless it waits for a retry. */
void sink_send(LogSink *s);
