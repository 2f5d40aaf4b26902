#pragma once

/* What a log driver is: a constant table of functions and options. The sink that it works for (log/sink.h)
 * does everything that is not special to the driver: filters, line joining, the queue, retries and counters.
 *
 * A driver is one file in log/drivers/ that defines `const LogDriver log_driver_NAME` ('-' written as '_'),
 * and one line in log/drivers/meson.build, from which the table of drivers is made. A driver never blocks,
 * never ends the monitor and never writes to its stderr. */

#include "log/log.h"
#include "log/option.h"
#include "log/queue.h"
#include "log/record.h"

#include <glib.h>

typedef struct LogSink LogSink;
typedef struct LogDriver LogDriver;

/* Results of LogDriver.send beside 0 and -errno. */
enum {
        /* not everything could be sent; the driver calls log_sink_ready when it can go on */
        LOG_SEND_WAIT = 1,
        /* nothing will be taken any more: what waits and what comes is dropped and counted */
        LOG_SEND_ENDED = 2,
};

enum {
        LOG_DRIVER_NO_SINK = 1 << 0,     /* only a name: no functions, nothing to deliver to */
        /* gets time after the exit files to send what it has (drain-timeout) */
        LOG_DRIVER_REMOTE = 1 << 1,
        /* has a place for tag and labels: has the options of log/metadata.h */
        LOG_DRIVER_METADATA = 1 << 2,
        LOG_DRIVER_WHOLE_LINES = 1 << 3, /* unfinished lines are held back until their end, or max-record */
        /* a line of exactly max-record bytes is cut too, as journald callers know */
        LOG_DRIVER_SPLIT_FULL = 1 << 4,
        /* its format holds characters, not bytes: no record is cut within one */
        LOG_DRIVER_UTF8 = 1 << 5,
};

/* What open gets. Borrowed for the call, but for sink and options, which live as long
 * as the driver's instance. */
typedef struct LogDriverConfig {
        LogSink *sink;
        const char *arg;           /* behind the colon of NAME:ARG; NULL if there is none */
        const LogOptions *options; /* of the driver and the common ones */
        const LogConfig *log;      /* id, name, tag, labels, limits of the command line */
        bool from_log_path;        /* from -l, not from --log-driver */
} LogDriverConfig;

struct LogDriver {
        const char *name;
        const char *const *aliases; /* ends with NULL; may be NULL */
        const char *arg;            /* what the part behind "NAME:" is, for the help; NULL: none is taken */
        const char *help;           /* one line */
        const LogOption *options;   /* ends with a name of NULL; may be NULL */
        unsigned flags;
        size_t max_record; /* the driver's own default of max-record; 0: LOG_RECORD_MAX */

        /* False if with these options the driver is only a name. May be NULL. */
        bool (*has_sink)(const LogOptions *options);

        /* The path of a k8s-file that is to be written instead, owned by the
         * options; NULL: none. May be NULL. */
        const char *(*instead)(const LogOptions *options);

        /* Whether arg and options go together, as far as that can be told without a look at the machine: also
         * of configurations that are not used. There is no sink yet. Comes before open. May be NULL. */
        gboolean (*check)(const LogDriverConfig *config, GError **error);

        /* Before the monitor is there: checks the rest, opens what can be opened, makes no event source.
         * Returns the instance, or NULL and *error. */
        void *(*open)(const LogDriverConfig *config, GError **error);

        /* In the monitor; event sources may be made from now on. May be NULL. */
        void (*start)(void *self);

        /* Encodes records of one stream, each as one message: log_block_room, then log_block_add. Stops at
         * the first that does not fit. Returns how many it did. */
        size_t (*encode)(void *self, const LogRecord *records, size_t n, LogBlock *block);

        /* No message of a record with `len` bytes is longer than this. */
        size_t (*bound)(void *self, size_t len);

        /* Sends what the queue holds, as far as that goes without waiting. Also called with everything sent,
         * when new records came or after a failure: for drivers that have other business. Returns 0 when all
         * is done, LOG_SEND_WAIT, LOG_SEND_ENDED, or -errno: then it is called again after a while. */
        int (*send)(void *self, LogQueue *queue);

        /* The caller renamed the file away and wants a new one. 0 or -errno; after an error `send`
         * will try again. May be NULL. */
        int (*reopen)(void *self, LogQueue *queue);

        /* The container has ended; nothing more will be encoded. Local sinks: leave the destination in order
         * and sync it if wanted. May be NULL. */
        void (*finish)(void *self, LogQueue *queue, bool sync);

        /* After finish: true while what was sent is not taken yet, and worth waiting for. When that changes
         * the driver calls log_sink_ready. May be NULL. */
        bool (*busy)(void *self);

        /* Something happened that is worth a retry now, and memory that is not in use can go. May be NULL. */
        void (*release)(void *self);

        /* Adds members of its own to the sink's status: `,"key":value`. May be NULL. */
        void (*status)(void *self, GString *json);

        /* What it delivers to, for messages: a path, an address. Owned by the instance. May be NULL. */
        const char *(*target)(void *self);

        /* Closes and frees. */
        void (*close)(void *self);
};

/* The first message of the queue can't be delivered whatever happens: it is dropped and counted, and what
 * else belongs to its line. For LogDriver.send. */
void log_sink_drop_first(LogSink *sink);

/* The same for a message that nobody will take any more: counted like what is left at the end. */
void log_sink_give_up_first(LogSink *sink);

/* The destination is not there, and the driver has said so: nothing more is to be said until it is. NULL, for
 * a driver that is used on its own, is fine. */
void log_sink_told(LogSink *sink);

/* The driver can send again after LOG_SEND_WAIT, or has found its connection
 * broken: leads to a call of send. */
void log_sink_ready(LogSink *sink);

/* All drivers, in the order of their names; ends with NULL. */
const LogDriver *const *log_drivers(void);

/* By name or alias; `len` bytes of `name` count. NULL if there is none. */
const LogDriver *log_driver_find(const char *name, size_t len);
