#pragma once

/* What a sink's options do to records before they are encoded: streams, max-record, include, exclude,
 * redact-file, rate-limit-*. In this order: streams, joining, include and exclude, rate limit, redaction. */

#include "log/driver.h"
#include "log/joiner.h"

/* Where records go. Valid for the call, all of them. */
typedef struct LogOutlet {
        void (*take)(const LogRecord *records, size_t n, size_t payload, void *data); /* all of one stream */
        void (*refuse)(const LogRecord *r, bool limited, void *data); /* by a filter, or by the rate limit */
        void (*rate_over)(void *data); /* the rate limit was reached, and holds no more */
        void *data;
} LogOutlet;

typedef struct LogIntake LogIntake;

/* The options of every sink that are read here; ends with a name of NULL. */
const LogOption *log_intake_options(void);

/* Sets *ret_intake to NULL if the options and the driver ask for nothing of all this.
 * The options are borrowed. */
gboolean log_intake_new(const LogDriver *driver, const LogOptions *options, const LogOutlet *outlet,
                        LogIntake **ret_intake, GError **error);
void log_intake_free(LogIntake *in);

/* Takes records and hands on what is to be logged. Adds to *count what was decided about: less or more
 * records than in the batch if they are joined or cut. */
void log_intake_push(LogIntake *in, const LogBatch *batch, LogCount *count);

/* What was held back is handed on. */
void log_intake_flush(LogIntake *in, LogCount *count);

/* Memory that is not in use goes back to the kernel. */
void log_intake_release(LogIntake *in);

/* True if records of this stream may pass. */
bool log_intake_has_stream(const LogIntake *in, StreamId stream);

/* True while the rate limit is reached. */
bool log_intake_is_limited(const LogIntake *in);

/* True while the rate limit is reached and the container is to wait for that. */
bool log_intake_blocks(const LogIntake *in);
