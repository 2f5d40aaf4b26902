/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What a log driver is: a format, a transport and a table of options, all constant. The sink that it works
 * for (log/sink/sink.h) does everything that is not special to the driver: filters, line joining, the queue,
 * retries and counters.
 *
 * A driver is one file in log/drivers/ that defines `const LogDriver log_driver_NAME` ('-' written as '_'),
 * and one line in log/drivers/meson.build, from which the table of drivers is made. A driver never blocks,
 * never ends the monitor and never writes to its stderr. */

#include "log/api/config.h"
#include "log/api/option.h"
#include "log/api/queue.h"
#include "log/api/record.h"

#include <glib.h>

typedef struct LogSink LogSink;
typedef struct LogDriver LogDriver;

/* Results of LogTransport.send besides 0 and -errno. */
enum {
        /* partially sent; the driver calls log_sink_ready when it can continue */
        LOG_SEND_WAIT = 1,
        /* no more data is accepted: queued and new records are dropped and counted */
        LOG_SEND_ENDED = 2,
};

enum {
        LOG_DRIVER_NO_SINK = 1 << 0, /* only a name: no functions, nothing to deliver to */
        /* may send its queue after the exit files (drain-timeout) */
        LOG_DRIVER_REMOTE = 1 << 1,
        /* supports tag and labels: has the options of log/api/metadata.h */
        LOG_DRIVER_METADATA = 1 << 2,
        LOG_DRIVER_WHOLE_LINES = 1 << 3, /* unfinished lines are held back until their end, or max-record */
        /* a line of exactly max-record bytes is cut too, as journald callers know */
        LOG_DRIVER_SPLIT_FULL = 1 << 4,
        /* its format has characters, not bytes: no record is cut within one */
        LOG_DRIVER_UTF8 = 1 << 5,
        /* the container waits while the queue is full, unless an option says otherwise or sending fails */
        LOG_DRIVER_BLOCKING = 1 << 6,
        /* records of nothing but blanks are not logged, but counted as filtered: servers refuse them */
        LOG_DRIVER_NO_BLANKS = 1 << 7,
        /* the default of max-record is for whole messages, including what the driver adds to a record */
        LOG_DRIVER_MAX_MESSAGE = 1 << 8,
        /* delivers to a server on this host, which may be missing like a remote one */
        LOG_DRIVER_LOCAL_SERVER = 1 << 9,
        LOG_DRIVER_ANNOTATIONS = 1 << 10, /* annotations may choose it: it requires no path and no program */
        LOG_DRIVER_OWN_SOCKET = 1 << 11, /* uses a default local socket unless an address is given */
};

/* The arguments of open. Borrowed for the call, except sink and options, which live as long as the
 * driver's instance. */
typedef struct LogDriverConfig {
        LogSink *sink;
        const char *arg;           /* after the colon of NAME:ARG; NULL if there is none */
        const void *options;       /* the struct of the driver's own options, filled in */
        const LogConfig *log;      /* id, name, tag, labels, limits of the command line */
        bool from_log_path;        /* from -l, not from --log-driver */
} LogDriverConfig;

/* How records are encoded as messages. `self` is the driver's instance. */
typedef struct LogFormat {
        /* Writes the message of a record to `at`, which has space for max_encoded_len. Returns its end. */
        char *(*put)(void *self, const LogRecord *r, char *at);

        /* No message of a record with `len` bytes is longer than this. */
        size_t (*max_encoded_len)(void *self, size_t len);

        /* Instead of put, for formats that are faster with many records in one call: encodes records of one
         * stream, each as one message with log_block_room and log_block_add. Stops at the first that does
         * not fit. Returns how many were encoded. */
        size_t (*encode)(void *self, const LogRecord *records, size_t n, LogBlock *block);
} LogFormat;

/* How messages reach their destination. Most drivers use one of these: log_file_transport
 * (log/file/log_file.h), log_connection_transport (log/net/transport.h), log_http_transport (log/net/http.h),
 * log_raw_transport (log/pipe/raw_output.h). `self` is the driver's instance; its first member is what the
 * transport works on. All but send and close may be NULL. */
typedef struct LogTransport {
        /* Its calls on files may block, and are made with the sink's stand-in (base/stand_in.h): from its
         * functions the main loop may run, though none of them is called meanwhile. */
        bool may_stall;

        /* In the monitor; event sources may be created from now on. Not called after finish: a sink that a
         * reload adds may be finished first. */
        void (*start)(void *self);

        /* Sends the queue as far as possible without blocking. Also called with an empty queue, for new
         * records or after a failure, for transports with other work. Returns 0 when everything was sent,
         * LOG_SEND_WAIT, LOG_SEND_ENDED, or -errno: then it is called again later. -EBUSY is an answer of the
         * destination, which wants a pause. */
        int (*send)(void *self, LogQueue *queue);

        /* The caller has renamed the file and requests a new one. 0 or -errno; after an error `send` tries
         * again. */
        int (*reopen)(void *self, LogQueue *queue);

        /* The container has ended; nothing more will be encoded. Completes local destinations, until
         * `until` on the monotonic clock at most. */
        void (*finish)(void *self, LogQueue *queue, gint64 until);

        /* After finish, and after the end of the container was recorded: syncs the data to disk, however
         * long that takes. */
        void (*sync)(void *self);

        /* After finish: true while the destination has not accepted everything and may still do so. When
         * that changes, the transport calls log_sink_ready. */
        bool (*busy)(void *self);

        /* A number that changes whenever the destination makes progress, including data that has left the
         * queue: the kernel may buffer megabytes for a slow reader. Only called while something waits for
         * progress. */
        uint64_t (*taken)(void *self);

        /* Frees memory that is not in use. */
        void (*release)(void *self);

        /* Appends members to the sink's status: `,"key":value`. */
        void (*status)(void *self, GString *json);

        /* The destination, for messages: a path, an address. Owned by the instance. NULL: the name of the
         * driver suffices. */
        const char *(*target)(void *self);

        /* Why the last send failed, if there is more to say than -errno; without a full stop. NULL: there
         * is not. Called immediately after the failure. */
        const char *(*reason)(void *self);

        /* Closes and frees what the transport works on, but not the instance. Also called if open failed:
         * no effect on members that are zero. */
        void (*close)(void *self);
} LogTransport;

struct LogDriver {
        const char *name;
        const char *const *aliases; /* ends with NULL; may be NULL */
        const char *arg;            /* the argument after "NAME:", for the help; NULL: it has none */
        const char *help;           /* one line */
        LogOptionTable options;     /* of its own; {0}: none */
        unsigned flags;
        size_t max_record; /* the driver's own default of max-record; 0: LOG_RECORD_MAX */

        size_t size; /* of an instance, a struct that begins with what the transport works on */
        LogFormat format;
        const LogTransport *transport;

        /* False if the driver is only a name with these options. May be NULL. */
        bool (*has_sink)(const void *options);

        /* The path of a k8s-file that is written instead, because the destination is missing; owned by the
         * options; NULL: none. May be NULL. */
        const char *(*fallback_path)(const void *options);

        /* Checks arg and options as far as possible without accessing the machine, also for configurations
         * that are not used. There is no sink yet, and the container's ID may be "": not known. Called before
         * open. May be NULL. */
        gboolean (*check)(const LogDriverConfig *config, GError **error);

        /* Called before the monitor is forked: fills an instance that is all zero. Checks the rest, opens
         * what can be opened, creates no event source. After an error the instance is closed as at the
         * end. */
        gboolean (*open)(void *self, const LogDriverConfig *config, GError **error);

        /* Applies the values of options with .adopted, and the limits of `config->log`, while it is open.
         * They were checked. May be NULL: there are none. */
        void (*adopt)(void *self, const LogDriverConfig *config);

        /* Frees the driver's own members of the instance, after LogTransport.close. May be NULL. */
        void (*done)(void *self);

        /* Live upgrade: writes the state of the instance, including descriptors and connections. State
         * that can't be transferred now is reported with state_refuse. NULL: it never can, and a monitor
         * with this driver is not upgraded. */
        void (*save)(void *self, const LogQueue *queue, StateWriter *w);

        /* Fills an instance that is all zero with the state written by `save`. The queue has already been
         * restored; arg and log are not set in `config`. Opens, sends and starts nothing; the start of the
         * transport is not called. Pending work is done in the first call of send. */
        void (*restore)(void *self, const LogDriverConfig *config, const LogQueue *queue, StateReader *r);
};

/* Creates an instance. NULL and *error if that fails. */
void *log_driver_open(const LogDriver *driver, const LogDriverConfig *config, GError **error);

/* LogFormat.encode by means of put; with constant functions it is a loop without calls. */
static inline size_t
log_format_encode_each(char *(*put)(void *self, const LogRecord *r, char *at),
                       size_t (*max_encoded_len)(void *self, size_t len), void *self,
                       const LogRecord *records, size_t n, LogBlock *block)
{
        for (size_t i = 0; i < n; i++) {
                char *at = log_block_room(block, max_encoded_len(self, records[i].len));
                if (!at)
                        return i;
                log_block_add(block, (size_t)(put(self, &records[i], at) - at), &records[i]);
        }
        return n;
}

/* Encodes records of one stream into a block, as far as they fit. Returns how many. */
size_t log_driver_encode(const LogDriver *driver, void *self, const LogRecord *records, size_t n,
                         LogBlock *block);

/* Closes and frees an instance. NULL is allowed. */
void log_driver_close(const LogDriver *driver, void *self);

/* The first message of the queue can never be delivered: it is dropped and counted, with the rest of its
 * line. For LogTransport.send. */
void log_sink_drop_first(LogSink *sink);

/* The same for a message without a receiver: counted like messages left at the end. */
void log_sink_give_up_first(LogSink *sink);

/* Reports the results of the oldest n sent messages: see log_queue_decide. Returns how many records were
 * refused. */
uint64_t log_sink_decide(LogSink *sink, const LogFate *fates, size_t n);

/* After the failure that send is about to return, it is not called again for this many microseconds. */
void log_sink_retry_in(LogSink *sink, int64_t usec);

/* The size of the queue, in bytes (max-buffer-size). */
size_t log_sink_queue_max(const LogSink *sink);

/* The failure that send is about to return is a refusal by the destination: records dropped until it works
 * again are counted as refused. */
void log_sink_refused(LogSink *sink);

/* The destination is missing, and the driver has reported it: no failure is reported until it has worked.
 * NULL is allowed, for a driver without a sink. */
void log_sink_failure_reported(LogSink *sink);

/* For the calls of a transport that may stall; owned by the monitor. NULL if there is none, also for a
 * driver without a sink. */
StandIn *log_sink_stand_in(const LogSink *sink);

/* True when the end of the container may have been recorded: the caller may use the names of its files again,
 * so that nothing is renamed or created any more. False for a driver without a sink. */
bool log_sink_is_over(const LogSink *sink);

/* The driver can send again after LOG_SEND_WAIT, or has lost its connection: causes a call of send. */
void log_sink_ready(LogSink *sink);
