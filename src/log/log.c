#include "log/log.h"

#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/error.h"
#include "base/json.h"
#include "base/page_buffer.h"
#include "base/watch.h"
#include "log/sink.h"
#include "log/spec.h"
#include "log/split.h"

#include <string.h>

/* Records that are cut and handed on at a time; their array lives in memory that
 * goes back when it is quiet. */
#define BATCH_RECORDS 256
#define BATCH_SIZE    (BATCH_RECORDS * sizeof(LogRecord))

/* Memory in use for output goes back when none came for this long. */
#define QUIET_USEC (1000 * 1000)

struct Log {
        GPtrArray *sinks;
        char *cid;
        char *bundle;
        char *persist_dir;
        bool passthrough;
        bool tee;
        bool sync_at_end;
        LogSplitter splitters[N_STREAMS];
        PageBuffer records; /* a batch */
        Timer quiet;
        bool busy; /* output came since the timer was started */
        LogWantsFunc wants;
        void *wants_data;
        bool wanted[N_STREAMS];
        Timer drain;
        void (*drained)(void *data);
        void *drained_data;
};

static bool
is_k8s_file(const LogSpec *spec)
{
        return spec->from_log_path && strcmp(spec->driver->name, "k8s-file") == 0;
}

/* Puts a file in the place of a driver whose destination is not there. */
static const LogDriver *
replace_by_file(const LogDriver *driver, LogOptions **options, char **arg)
{
        const char *path = driver->instead ? driver->instead(*options) : NULL;
        if (!path)
                return driver;
        const LogDriver *file = log_driver_find("k8s-file", strlen("k8s-file"));
        LogOptions *given = *options;
        g_free(*arg);
        *arg = g_strdup(path);
        *options = log_sink_options(file);
        log_options_inherit(*options, given);
        log_options_free(given);
        return file;
}

/* Of passthrough, which is a sink or not, also remembers which. */
static bool
is_name_only(Log *log, const LogDriver *driver, const LogOptions *options)
{
        if (!driver->has_sink)
                return false;
        log->tee = driver->has_sink(options);
        log->passthrough = !log->tee;
        return log->passthrough;
}

/* What -l names is always there, whatever a configuration adds. */
static gboolean
check_output(const LogSpec *spec, const LogOptions *options, GError **error)
{
        if (!spec->origin || !spec->driver->has_sink || spec->driver->has_sink(options))
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "%s: %s would take the output away from all other logs; it needs opt.tee = yes",
                         spec->origin, spec->driver->name);
}

static gboolean
add_sink(Log *log, const LogSpec *spec, const LogConfig *config, GError **error)
{
        g_autoptr(LogOptions) options = log_spec_options(spec, config, error);
        if (!options || !check_output(spec, options, error))
                return FALSE;
        if (is_name_only(log, spec->driver, options))
                return TRUE;
        g_autofree char *arg = g_strdup(spec->arg);
        const LogDriver *driver = replace_by_file(spec->driver, &options, &arg);
        LogSink *sink =
                log_sink_new(driver, g_steal_pointer(&options), arg, config, spec->from_log_path, error);
        if (!sink)
                return log_spec_fail(spec, error);
        g_ptr_array_add(log->sinks, sink);
        return TRUE;
}

/* True for a driver of the configuration with a single destination, the journal, to which -l leads already:
 * who reads the log there would see everything twice. */
static bool
is_there_already(const GPtrArray *specs, const LogSpec *spec)
{
        for (guint i = 0; spec->origin && !spec->driver->arg && i < specs->len; i++) {
                const LogSpec *other = g_ptr_array_index(specs, i);
                if (other->from_log_path && other->driver == spec->driver)
                        return true;
        }
        return false;
}

static gboolean
add_sinks(Log *log, const GPtrArray *specs, bool k8s_file, const LogConfig *config, GError **error)
{
        for (guint i = 0; i < specs->len; i++) {
                const LogSpec *spec = g_ptr_array_index(specs, i);
                if (spec->driver->flags & LOG_DRIVER_NO_SINK || is_k8s_file(spec) != k8s_file ||
                    is_there_already(specs, spec))
                        continue;
                if (!add_sink(log, spec, config, error))
                        return FALSE;
        }
        return TRUE;
}

/* A tag or labels that no sink has a place for are refused, but only where callers know that: with a file. */
static gboolean
check_metadata(const GPtrArray *specs, const LogConfig *config, GError **error)
{
        bool file = false;
        for (guint i = 0; i < specs->len; i++) {
                const LogSpec *spec = g_ptr_array_index(specs, i);
                if (spec->driver->flags & LOG_DRIVER_METADATA)
                        return TRUE;
                file |= is_k8s_file(spec);
        }
        if (file && config->tag)
                return error_set(error, CONMON_ERROR_USAGE, "k8s-file doesn't support --log-tag");
        if (file && config->labels && *config->labels)
                return error_set(error, CONMON_ERROR_USAGE, "k8s-file doesn't support --log-label");
        return TRUE;
}

static bool
has_driver(const GPtrArray *specs, const char *name)
{
        for (guint i = 0; i < specs->len; i++)
                if (strcmp(((const LogSpec *)g_ptr_array_index(specs, i))->driver->name, name) == 0)
                        return true;
        return false;
}

static void release_memory(void *data);
static void end_drain(void *data);

/* The order of the checks is the one that callers of -l know. */
static gboolean
open_sinks(Log *log, const LogConfig *config, GError **error)
{
        g_autoptr(GPtrArray) specs = log_specs_parse(config, error);
        if (!specs)
                return FALSE;
        if (!add_sinks(log, specs, true, config, error) || !check_metadata(specs, config, error) ||
            !log_specs_check_options(specs, config, error) || !add_sinks(log, specs, false, config, error))
                return FALSE;
        if (config->no_partial_message && !has_driver(specs, "journald"))
                diag_warn("--no-container-partial-message has no effect without journald log driver");
        if (log->passthrough && config->drivers && *config->drivers)
                diag_warn("No other log driver gets anything with -l passthrough; --log-opt "
                          "passthrough.tee=yes is for that");
        return TRUE;
}

static gboolean
check_spec(const LogSpec *spec, const LogConfig *config, GError **error)
{
        g_autoptr(LogOptions) options = log_spec_options(spec, config, error);
        if (!options || !check_output(spec, options, error))
                return FALSE;
        return spec->driver->flags & LOG_DRIVER_NO_SINK ||
               log_sink_check(spec->driver, options, spec->arg, config, spec->from_log_path, error) ||
               log_spec_fail(spec, error);
}

gboolean
log_check(const LogConfig *config, GError **error)
{
        g_autoptr(GPtrArray) specs = log_specs_parse(config, error);
        for (guint i = 0; specs && i < specs->len; i++)
                if (!check_spec(specs->pdata[i], config, error))
                        return FALSE;
        return specs && log_specs_check_options(specs, config, error);
}

Log *
log_new(const LogConfig *config, GError **error)
{
        Log *log = g_new0(Log, 1);
        log->sinks = g_ptr_array_new_with_free_func((GDestroyNotify)log_sink_free);
        log->cid = g_strdup(config->cid);
        log->bundle = g_strdup(config->bundle);
        log->persist_dir = g_strdup(config->persist_dir);
        log->sync_at_end = config->sync_at_end;
        timer_init(&log->quiet, release_memory, log);
        timer_init(&log->drain, end_drain, log);
        for (StreamId i = 0; i < N_STREAMS; i++) {
                log_splitter_init(&log->splitters[i], i, (uint64_t)clock_realtime_ns());
                log->wanted[i] = true;
        }
        if (open_sinks(log, config, error))
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
        return false;
}

/* A sink became full, has room again, or has sent its last. */
static void
on_change(void *data)
{
        Log *log = data;
        if (log->drained && !is_draining(log))
                end_drain(log);
        for (StreamId i = 0; i < N_STREAMS; i++) {
                bool wants = log_wants(log, i);
                if (wants == log->wanted[i])
                        continue;
                log->wanted[i] = wants;
                if (log->wants)
                        log->wants(i, wants, log->wants_data);
        }
}

void
log_start(Log *log, LogWantsFunc wants, void *data)
{
        log->wants = wants;
        log->wants_data = data;
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_start(g_ptr_array_index(log->sinks, i), on_change, log);
}

/* Runs once after the last output, and once more as long as output comes. */
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
        for (size_t at = 0, used; at < ready; at += used) {
                LogBatch batch = {.records = records, .stream = stream};
                batch.n = log_splitter_cut(splitter, data + at, ready - at, records, BATCH_RECORDS, &used);
                batch.payload = used;
                write_batch(log, &batch);
        }
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_flush(g_ptr_array_index(log->sinks, i));
        return ready;
}

void
log_reopen(Log *log)
{
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_reopen(g_ptr_array_index(log->sinks, i));
}

void
log_finish_local(Log *log)
{
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_finish(g_ptr_array_index(log->sinks, i), log->sync_at_end);
}

/* Nothing is left to send, or the time for it is over. */
static void
end_drain(void *data)
{
        Log *log = data;
        void (*drained)(void *) = log->drained;
        log->drained = NULL;
        timer_stop(&log->drain);
        for (guint i = 0; i < log->sinks->len; i++)
                log_sink_abandon(g_ptr_array_index(log->sinks, i));
        drained(log->drained_data);
}

void
log_drain(Log *log, void (*done)(void *data), void *data)
{
        log->drained = done;
        log->drained_data = data;
        gint64 longest = 0;
        for (guint i = 0; i < log->sinks->len; i++)
                longest = MAX(longest, log_sink_drain_time(g_ptr_array_index(log->sinks, i)));
        if (longest > 0)
                timer_start(&log->drain, longest);
        else
                end_drain(log);
}

static char *
status_path(const Log *log, bool at_end)
{
        const char *dir = at_end && log->persist_dir ? log->persist_dir : log->bundle;
        return dir ? g_build_filename(dir, "log-status.json", NULL) : NULL;
}

void
log_write_status(Log *log, bool at_end)
{
        g_autofree char *path = status_path(log, at_end);
        if (!path || (at_end && log->sinks->len == 0))
                return;
        GString *json = g_string_new("{\"version\":1,\"container\":");
        json_append_string(json, log->cid, strlen(log->cid));
        g_string_append_printf(json, ",\"ended\":%s,\"sinks\":[", at_end ? "true" : "false");
        for (guint i = 0; i < log->sinks->len; i++) {
                if (i > 0)
                        g_string_append_c(json, ',');
                log_sink_status(g_ptr_array_index(log->sinks, i), json);
        }
        g_string_append(json, "]}\n");
        g_autoptr(GError) error = NULL;
        if (!atomic_file_write(path, json->str, json->len, &error))
                diag_warn("%s", error->message);
        g_string_free(json, TRUE);
}

void
log_free(Log *log)
{
        if (!log)
                return;
        timer_stop(&log->quiet);
        timer_stop(&log->drain);
        page_buffer_release(&log->records);
        g_ptr_array_unref(log->sinks);
        g_free(log->cid);
        g_free(log->bundle);
        g_free(log->persist_dir);
        g_free(log);
}
