/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/log.h"

#include "base/clock.h"
#include "base/json.h"
#include "log/drivers/registry.h"
#include "log/sinks.h"
#include "log/state.h"

#include <string.h>

/* Records that are split and passed on at a time; their array is in memory that is freed when idle. */
#define BATCH_RECORDS 256
#define BATCH_SIZE    (BATCH_RECORDS * sizeof(LogRecord))

/* Maximum number of records per log_write: in most formats they fit into the first block of a queue. */
#define WRITE_RECORDS (8 * BATCH_RECORDS)

/* Memory for output is freed when there was none for this long. */
#define QUIET_USEC (1000 * 1000)

static void release_memory(void *data);
static void on_settle(void *data);

static Log *
make_log(void)
{
        Log *log = g_new0(Log, 1);
        log_sinks_init(log);
        timer_init(&log->quiet, release_memory, log);
        timer_init(&log->settle, on_settle, log);
        for (StreamId i = 0; i < N_STREAMS; i++)
                log_splitter_init(&log->splitters[i], i, (uint64_t)clock_realtime_ns());
        return log;
}

Log *
log_new(const LogConfig *config, GError **error)
{
        Log *log = make_log();
        log->cid = g_strdup(config->cid);
        log->bundle = g_strdup(config->bundle);
        log->persist_dir = g_strdup(config->persist_dir);
        log->sync_at_end = config->sync_at_end;
        if (log_sinks_open(log, config, error))
                return log;
        log_free(log);
        return NULL;
}

bool
log_is_passthrough(const Log *log)
{
        return log->passthrough;
}

bool
log_is_tee(const Log *log)
{
        return log->tee;
}

bool
log_wants(const Log *log, StreamId stream)
{
        for (guint i = 0; i < log->sinks->len; i++)
                if (!log_sink_wants(g_ptr_array_index(log->sinks, i), stream))
                        return false;
        return true;
}

static bool
is_draining(const Log *log)
{
        for (guint i = 0; i < log->sinks->len; i++)
                if (log_sink_is_draining(g_ptr_array_index(log->sinks, i)))
                        return true;
        return log_sinks_are_closing(log);
}

static void
end_drain(Log *log)
{
        void (*drained)(void *) = log->drained;
        log->drained = NULL;
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_abandon(g_ptr_array_index(log->sinks, i));
        log_sinks_reap(log);
        drained(log->drained_data);
}

/* Frees the removed sinks that have nothing left to send, and ends the drain if that is true for all. */
static void
on_settle(void *data)
{
        Log *log = data;
        log_sinks_reap(log);
        if (log->drained && !is_draining(log))
                end_drain(log);
}

/* A sink became full, has space again, or has nothing left to send. It is still at work: nothing is freed,
 * but a little later. */
static void
on_change(void *data)
{
        Log *log = data;
        if (log->closing->len > 0 || log->drained)
                timer_start(&log->settle, 0);
        if (!timer_is_running(&log->quiet))
                timer_start(&log->quiet, QUIET_USEC);
        if (log->wants)
                log->wants(log->wants_data);
}

gboolean
log_reload(Log *log, const LogConfig *config, GError **error)
{
        if (!log_sinks_reload(log, config, on_change, log, error))
                return FALSE;
        on_change(log);
        return TRUE;
}

void
log_start(Log *log, LogWantsFunc wants, void *data)
{
        log->wants = wants;
        log->wants_data = data;
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_start(g_ptr_array_index(log->sinks, i), on_change, log);
}

void
log_save(const Log *log, StateWriter *w)
{
        state_begin(w, "log");
        state_put_text(w, "container", log->cid);
        state_put_text(w, "bundle", log->bundle);
        state_put_text(w, "persist", log->persist_dir);
        state_put_uint(w, "passthrough", log->passthrough);
        state_put_uint(w, "tee", log->tee);
        state_put_uint(w, "sync", log->sync_at_end);
        for (StreamId i = 0; i < N_STREAMS; i++)
                log_splitter_save(&log->splitters[i], w);
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_save(g_ptr_array_index(log->sinks, i), w);
        if (log->closing->len > 0)
                state_refuse(w, "a log driver that a reload took away has something to send still");
        state_end(w);
}

Log *
log_restore(StateReader *r, StandIn *stand_in)
{
        Log *log = make_log();
        state_enter(r, "log");
        log->cid = state_get_text(r, "container");
        log->bundle = state_get_text(r, "bundle");
        log->persist_dir = state_get_text(r, "persist");
        log->passthrough = state_get_bool(r, "passthrough");
        log->tee = state_get_bool(r, "tee");
        log->sync_at_end = state_get_bool(r, "sync");
        for (StreamId i = 0; i < N_STREAMS; i++)
                log_splitter_restore(&log->splitters[i], r);
        while (state_enter_next(r, "sink")) {
                LogSink *sink = log_sink_restore(r, log_driver_find, stand_in);
                state_leave(r);
                if (sink)
                        g_ptr_array_add(log->sinks, sink);
        }
        state_leave(r);
        if (!log->cid)
                state_fail(r, "The log has no container");
        return state_failed(r) ? NULL : log;
}

void
log_resume(Log *log, LogWantsFunc wants, void *data)
{
        log->wants = wants;
        log->wants_data = data;
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_set_changed(g_ptr_array_index(log->sinks, i), on_change, log);
        log_flush(log); /* an attempt shows what each sink has to wait for */
        on_change(log);
}

/* Runs once after the last output, and again while there is output. */
static void
release_memory(void *data)
{
        Log *log = data;
        if (log->busy) {
                log->busy = false;
                timer_start(&log->quiet, QUIET_USEC);
                return;
        }
        page_buffer_release(&log->records);
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_release(g_ptr_array_index(log->sinks, i));
}

static void
take_memory(Log *log)
{
        log->busy = true;
        if (!timer_is_running(&log->quiet))
                timer_start(&log->quiet, QUIET_USEC);
        page_buffer_take(&log->records, BATCH_SIZE);
}

static void
write_batch(Log *log, const LogBatch *batch)
{
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_write(g_ptr_array_index(log->sinks, i), batch);
}

size_t
log_write(Log *log, StreamId stream, const char *data, size_t len, bool more, int64_t now_ns)
{
        if (log->sinks->len == 0)
                return len;
        size_t ready = log_split_ready(data, len, more);
        if (ready == 0)
                return 0;
        take_memory(log);
        LogRecord *records = (LogRecord *)log->records.data;
        LogSplitter *splitter = &log->splitters[stream];
        splitter->now_ns = now_ns;
        splitter->more = more;
        size_t at = 0;
        for (size_t used, n = 0; at < ready && n < WRITE_RECORDS; at += used, n += BATCH_RECORDS) {
                LogBatch batch = {.records = records, .stream = stream};
                batch.n = log_splitter_cut(splitter, data + at, ready - at, records, BATCH_RECORDS, &used);
                batch.payload = used;
                write_batch(log, &batch);
        }
        return at;
}

void
log_flush(Log *log)
{
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_flush(g_ptr_array_index(log->sinks, i));
}

void
log_reopen(Log *log)
{
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_reopen(g_ptr_array_index(log->sinks, i));
}

void
log_finish_local(Log *log, gint64 until)
{
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_finish(g_ptr_array_index(log->sinks, i), until);
}

void
log_sync(Log *log)
{
        for (guint i = 0; log->sync_at_end && i < log->sinks->len; i++)
                log_sink_sync(g_ptr_array_index(log->sinks, i));
}

void
log_drain(Log *log, void (*done)(void *data), void *data)
{
        log->drained_data = data;
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_drain(g_ptr_array_index(log->sinks, i));
        log->drained = done;
        if (!is_draining(log))
                end_drain(log);
}

static char *
status_path(const Log *log, bool at_end)
{
        const char *dir = at_end && log->persist_dir ? log->persist_dir : log->bundle;
        return dir ? g_build_filename(dir, "log-status.json", NULL) : NULL;
}

bool
log_describe(const Log *log, bool at_end, const char *members, char **ret_path, char **ret_json)
{
        char *path = at_end && log->sinks->len == 0 ? NULL : status_path(log, at_end);
        if (!path)
                return false;
        GString *json = g_string_new("{\"version\":1,\"container\":");
        json_append_string(json, log->cid, strlen(log->cid));
        g_string_append_printf(json, ",\"ended\":%s%s,\"sinks\":[", at_end ? "true" : "false", members);
        for (guint i = 0; i < log->sinks->len; i++) {
                if (i > 0)
                        g_string_append_c(json, ',');
                log_sink_status(g_ptr_array_index(log->sinks, i), json);
        }
        log_sinks_add_closing(log, json);
        g_string_append(json, "]}\n");
        *ret_path = path;
        *ret_json = g_string_free(json, FALSE);
        return true;
}

void
log_free(Log *log)
{
        if (!log)
                return;
        timer_stop(&log->quiet);
        timer_stop(&log->settle);
        page_buffer_release(&log->records);
        log_sinks_done(log);
        g_free(log->cid);
        g_free(log->bundle);
        g_free(log->persist_dir);
        g_free(log);
}
