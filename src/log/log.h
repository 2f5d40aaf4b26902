#pragma once

/* A container's output on its way to any number of sinks.
 *
 * Core makes one Log at start (log_new, while errors can still be shown), starts its event sources in the
 * monitor (log_start), hands it every chunk the container writes (log_write), and closes it when the
 * container has ended. After log_start nothing here fails in a way the caller has to handle: a sink that
 * can't deliver queues, drops, counts and says so by itself. */

#include "base/stream_id.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Log Log;

/* What the caller of the monitor asked for. Strings and arrays are borrowed for the call of log_new only;
 * what may be NULL says so. */
typedef struct LogConfig {
        char **paths;         /* each -l/--log-path as given; may be NULL if drivers is not */
        char **drivers;       /* each --log-driver as given; may be NULL */
        char **options;       /* each --log-opt as given; may be NULL */
        /* where the driver with the same index is from, for messages, if not from the command line: then "",
         * or NULL for all */
        char **driver_origins;
        char **option_origins; /* the same for options; one with an origin does not apply to what -l names */
        const char *cid;      /* never NULL */
        const char *name;     /* may be NULL */
        const char *tag;      /* --log-tag; may be NULL */
        char **labels;        /* each --log-label NAME=VALUE; may be NULL */
        bool no_partial_message; /* --no-container-partial-message */
        int64_t size_max;     /* --log-size-max, bytes; <= 0: no limit */
        int64_t global_max;   /* --log-global-size-max, bytes; <= 0: no limit */
        bool rotate;          /* --log-rotate */
        int max_files;        /* --log-max-files */
        char **allowlist_dirs; /* --log-allowlist-dir; may be NULL */
        bool sync_at_end;     /* not --no-sync-log */
        const char *bundle;   /* directory with config.json; NULL if unknown */
        const char *persist_dir; /* may be NULL */
        bool exec;            /* an exec run: only what is on its own command line */
} LogConfig;

/* Tells that the log can or can't take more of a stream now. While it can't, the caller should not read that
 * stream. Called only when the answer of log_wants changed. */
typedef void (*LogWantsFunc)(StreamId stream, bool wants, void *data);

/* Checks everything, opens files. Creates no event source. On failure sets *error to one sentence (for the
 * cases of the existing command line: to the letter as callers know it) and returns NULL. */
Log *log_new(const LogConfig *config, GError **error);

/* What to print if a --log-driver is "help" or "NAME:help"; NULL if it is not, or there is no such
 * driver. The caller frees it. */
char *log_help(const char *value);

/* Checks names of drivers, their options and the values, and opens nothing. What it accepts, log_new can
 * still refuse: a file that can't be opened, a secret that can't be read, a program that is not there. */
gboolean log_check(const LogConfig *config, GError **error);

/* True if the container is to get the monitor's own stdin, stdout and stderr, and no pipes. */
bool log_is_passthrough(const Log *log);

/* True if the container is to get the monitor's own stdin, but pipes for its output, which the log writes to
 * the monitor's own stdout and stderr (as they were at log_new). */
bool log_is_tee(const Log *log);

/* In the process that will monitor: creates event sources, connects. `wants` may be NULL. */
void log_start(Log *log, LogWantsFunc wants, void *data);

/* Takes a chunk of output that begins where the one before (of this stream) was consumed. `more` says that
 * the rest of an unfinished line can be read without waiting: then the log may leave an unfinished line of
 * less than LOG_RECORD_MAX bytes at the end of the chunk, and gets it again in front of the next chunk. With
 * `more` false everything is consumed and an unfinished line goes out as a partial record where the format's
 * rules say so. Returns how many bytes were consumed. `now_ns` is the time at which they were read. */
size_t log_write(Log *log, StreamId stream, const char *data, size_t len, bool more, int64_t now_ns);

/* The most bytes one record holds by default, and what log_write leaves unconsumed at the most. */
#define LOG_RECORD_MAX 16384

/* False while a sink whose policy is to block is full. */
bool log_wants(const Log *log, StreamId stream);

/* ctl message 2: makes a new file of the same name (somebody renamed the old one away). */
void log_reopen(Log *log);

/* Writes the counters of all sinks as JSON, atomically: on ctl message 3 to <bundle>/log-status.json, at the
 * end to the persist directory if there is one, else the bundle. */
void log_write_status(Log *log, bool at_end);

/* The container has ended and its streams are drained: writes what can be written without waiting for
 * anybody, flushes unfinished records, syncs files unless told not to. Before the exit files. */
void log_finish_local(Log *log);

/* After the exit files: gives remote sinks their drain-timeout. Calls done(data) once, maybe at once. */
void log_drain(Log *log, void (*done)(void *data), void *data);

/* Closes descriptors (none may be open below the bundle when the exit command
 * runs) and frees. NULL is fine. */
void log_free(Log *log);
