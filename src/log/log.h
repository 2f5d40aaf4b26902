/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Passes a container's output to any number of sinks.
 *
 * Core creates one Log at the start (log_new, while errors can still be shown), starts its event sources in
 * the monitor (log_start), passes it every chunk the container writes (log_write), and closes it when the
 * container has ended. After log_start the caller need not handle errors: a sink that can't
 * deliver queues or drops records, counts and reports this itself. */

#include "base/state.h"
#include "base/stream_id.h"
#include "log/api/config.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Log Log;

/* log_wants may have changed for some stream. While it is false, the caller should not read that stream. */
typedef void (*LogWantsFunc)(void *data);

/* Properties of -l that affect which drivers a configuration may add. */
typedef struct LogPaths {
        bool any;         /* -l was given */
        bool none;        /* all of them are "none" */
        bool passthrough; /* the output does not pass through the monitor */
        bool own_file;    /* a file is k8s-file:PATH; the kubelet rotates a file given as a bare path */
} LogPaths;

LogPaths log_describe_paths(const LogConfig *config);

/* Checks everything, opens files. Creates no event source. On failure sets *error (messages of the
 * existing command line are unchanged) and returns NULL. */
Log *log_new(const LogConfig *config, GError **error);

/* True if the container inherits the monitor's stdin, stdout and stderr instead of pipes. */
bool log_is_passthrough(const Log *log);

/* True if the container inherits the monitor's stdin, but gets pipes for its output, which the log writes
 * to the monitor's own stdout and stderr (as they were at log_new). */
bool log_is_tee(const Log *log);

/* Called in the monitor's process: creates event sources, connects. `wants` may be NULL. */
void log_start(Log *log, LogWantsFunc wants, void *data);

/* Applies another configuration to a running log; see log/sinks.h. The logs of -l must be the same. After
 * a failure, with a message like that of log_new, nothing has changed. */
gboolean log_reload(Log *log, const LogConfig *config, GError **error);

/* Live upgrade: the log with all its sinks. State that can't be transferred is reported with state_refuse.
 * `stand_in`: as in LogConfig. log_restore returns NULL after a failure, after which the process exits:
 * nothing is freed. Nothing is sent before log_resume, which replaces log_start. */
void log_save(const Log *log, StateWriter *w);
Log *log_restore(StateReader *r, StandIn *stand_in);
void log_resume(Log *log, LogWantsFunc wants, void *data);

/* Writes a chunk of output that begins where the previous one (of this stream) was consumed. `more` says
 * that the rest of an unfinished line can be read without waiting: then the log may leave an unfinished
 * line of less than LOG_RECORD_MAX bytes at the end of the chunk, and gets it again before the next chunk.
 * With `more` false an unfinished line becomes a partial record if the format has them. Returns how many
 * bytes were consumed: not more than some thousand lines, so it may have to be called again for the rest.
 * `now_ns` is the time at which they were read. */
size_t log_write(Log *log, StreamId stream, const char *data, size_t len, bool more, int64_t now_ns);

/* Sends what log_write has accepted, as far as possible without blocking. If a disk stalls, the main loop
 * may run in here, see base/stand_in.h. */
void log_flush(Log *log);

/* False while a sink whose policy is to block is full. */
bool log_wants(const Log *log, StreamId stream);

/* ctl message 2: opens a new file with the same name (the old one was renamed). */
void log_reopen(Log *log);

/* The counters of all sinks as JSON, with further `members`, each after a comma, and the path of their
 * file: <bundle>/log-status.json, at the end the same in the persist directory if there is one. Returns
 * false if there is no such directory, or nothing to report at the end. The caller frees both. */
bool log_describe(const Log *log, bool at_end, const char *members, char **ret_path, char **ret_json);

/* The container has ended and its streams are drained: writes what can be written without waiting, and
 * flushes unfinished records. Before the exit files. Waits for local destinations until `until` on the
 * monotonic clock, for all of them together. A file that has stalled is skipped, and finished by another
 * call. */
void log_finish_local(Log *log, gint64 until);

/* After the exit files: gives remote sinks their drain-timeout. Calls done(data) once, possibly before it
 * returns. */
void log_drain(Log *log, void (*done)(void *data), void *data);

/* After that: syncs files unless disabled, however long their disks take. */
void log_sync(Log *log);

/* Closes descriptors (none may be open below the bundle when the exit command runs) and frees. NULL is
 * allowed. */
void log_free(Log *log);
