/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Processing of records before they are encoded, according to the options streams, max-record, strip,
 * include, exclude, redact-file and rate-limit-*. The order is: streams, joining, stripping, include and
 * exclude, rate limit, redaction. */

#include "log/api/driver.h"
#include "log/intake/joiner.h"

/* Callbacks that get the results. Records are valid during the call. */
typedef struct LogOutlet {
        void (*take)(const LogRecord *records, size_t n, size_t payload, void *data); /* all of one stream */
        void (*refuse)(const LogRecord *r, bool limited, void *data); /* by a filter or the limit */
        void (*limit_ended)(void *data); /* lines are no longer limited */
        void *data;
} LogOutlet;

typedef struct LogIntake LogIntake;

/* The options that this module handles, parsed. */
typedef struct LogIntakeOptions {
        const char *const *streams;
        int64_t max_record; /* 0: the driver's own */
        const char *const *strip;
        const char *const *include;
        const char *const *exclude;
        const char *redact_file;
        int64_t rate_limit_burst;
        int64_t rate_limit_interval;
        int rate_limit_action; /* 0: drop, 1: block */
} LogIntakeOptions;

const LogOptionTable *log_intake_options(void);

/* Sets *ret_intake to NULL if neither the options nor the driver require any processing. The options are
 * borrowed. `errands`, for reading secrets, may be NULL: then a slow disk blocks. */
gboolean log_intake_new(const LogDriver *driver, const LogIntakeOptions *options, const LogOutlet *outlet,
                        Errands *errands, LogIntake **ret_intake, GError **error);
void log_intake_free(LogIntake *in);

/* Live upgrade; NULL is allowed, and returned if there was none. Parameters as of log_intake_new, with the
 * same options; no file is opened. */
void log_intake_save(const LogIntake *in, StateWriter *w);
LogIntake *log_intake_restore(StateReader *r, const LogDriver *driver, const LogIntakeOptions *options,
                              const LogOutlet *outlet);

/* The state lacks the filter's decision about the line that a stream has begun. It was to log it if the last
 * record of this stream that was passed on, with this partial_id, is a part of that line. */
void log_intake_decide_again(LogIntake *in, StreamId stream, uint64_t partial_id);

/* Lowers the driver's default of max-record by the `overhead` bytes that it adds to each record. A value that
 * was given as an option is kept. To be called before the first push. */
void log_intake_leave_room(LogIntake *in, size_t overhead);

/* Processes records. Adds the number of records that were passed on or dropped to *count: fewer or more than
 * in the batch if records are joined or split. */
void log_intake_push(LogIntake *in, const LogBatch *batch, LogCount *count);

/* Takes over the lines that another intake, which `in` replaces, has begun, as far as possible. */
void log_intake_take_over(LogIntake *in, LogIntake *old);

/* Passes on the records that were held back. */
void log_intake_flush(LogIntake *in, LogCount *count);

/* Gives unused memory back to the kernel. */
void log_intake_release(LogIntake *in);

/* True if this stream is logged. */
bool log_intake_has_stream(const LogIntake *in, StreamId stream);

/* True while the rate limit is reached. */
bool log_intake_is_limited(const LogIntake *in);

/* True while the container has to wait because of the rate limit. */
bool log_intake_blocks(const LogIntake *in);
