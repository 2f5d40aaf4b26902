/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sinks.h"

#include "base/diag.h"
#include "base/error.h"
#include "log/drivers/registry.h"
#include "log/plan.h"
#include "log/sink/change.h"
#include "log/spec.h"
#include "log/state.h"

#include <string.h>

/* What a configuration makes of a log. */
typedef struct {
        const LogConfig *config;
        GPtrArray *specs;
        GPtrArray *sinks; /* of LogSink; NULL if there is a plan */
        GPtrArray *plan;  /* gets LogPlanned instead, see log/plan.h; else NULL */
        GPtrArray *old;   /* the previous sinks, without those that are kept; NULL if this is no reload */
        GArray *changes;  /* of LogSinkChange, one for each sink that is kept; NULL if this is no reload */
        bool passthrough; /* these two matter at the start only */
        bool tee;
} Build;

/* A sink that is no longer requested. */
typedef struct {
        LogSink *sink;
        LogSink *successor; /* the one with its name, which gets its counters; NULL: there is none */
} ClosingSink;

static bool
is_k8s_file(const LogSpec *spec)
{
        return spec->from_log_path && strcmp(spec->driver->name, "k8s-file") == 0;
}

/* False for passthrough that leaves the output to the container. */
static bool
has_sink(const LogDriver *driver, const LogOptions *options)
{
        return !driver->has_sink || driver->has_sink(log_options_values(options, LOG_OPTIONS_OF_DRIVER));
}

/* The logs of -l are always used, whatever a configuration adds. */
static gboolean
check_output(const LogSpec *spec, const LogOptions *options, GError **error)
{
        if (!spec->origin || has_sink(spec->driver, options))
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "%s: %s would take the output away from all other logs; it needs opt.tee = yes",
                         spec->origin, spec->driver->name);
}

/* Replaces a driver whose destination is missing by a file. Returns the options of that, which the caller
 * frees, or NULL. */
static LogOptions *
replace_by_file(LogSinkSetup *setup)
{
        const void *own = log_options_values(setup->options, LOG_OPTIONS_OF_DRIVER);
        const char *path = setup->driver->fallback_path ? setup->driver->fallback_path(own) : NULL;
        if (!path)
                return NULL;
        const LogDriver *file = log_driver_find("k8s-file");
        LogOptions *options = log_sink_options(file);
        log_options_inherit(options, setup->options);
        *setup = (LogSinkSetup){file, options, path, setup->from_log_path};
        return options;
}

static bool
stays(const Build *b, const LogSink *sink)
{
        for (guint i = 0; b->changes && i < b->changes->len; i++)
                if (g_array_index(b->changes, LogSinkChange, i).sink == sink)
                        return true;
        return false;
}

/* Names of sinks that are kept, and of preceding ones, are in use. */
static bool
is_name_in_use(const Build *b, guint number)
{
        const char *name = log_sink_name(b->sinks->pdata[number]);
        for (guint i = 0; i < b->sinks->len; i++)
                if (i != number && (i < number || stays(b, b->sinks->pdata[i])) &&
                    strcmp(log_sink_name(b->sinks->pdata[i]), name) == 0)
                        return true;
        return false;
}

/* A section [sink NAME] sets the name. Of several other sinks of one driver, all but the first get a
 * number. */
static void
name_sinks(const Build *b)
{
        for (guint i = 0; i < b->sinks->len; i++) {
                LogSink *sink = b->sinks->pdata[i];
                g_autofree char *name = g_strdup(log_sink_name(sink));
                for (int n = 2; !stays(b, sink) && is_name_in_use(b, i); n++) {
                        g_autofree char *numbered = g_strdup_printf("%s#%d", name, n);
                        log_sink_set_name(sink, numbered);
                }
        }
}

/* The name from the section, or that of the driver. */
static bool
has_name_of(const LogSink *sink, const LogSpec *spec, const LogDriver *driver)
{
        const char *section = spec->request ? spec->request->sink : NULL, *name = log_sink_name(sink);
        return section ? strcmp(name, section) == 0 : g_str_has_prefix(name, driver->name);
}

/* The existing sink, if possible with the same options. NULL: there is none. */
static LogSink *
find_old(const Build *b, const LogSpec *spec, const LogSinkSetup *setup)
{
        for (int exactly = 1; exactly >= 0; exactly--) {
                for (guint i = 0; b->old && i < b->old->len; i++) {
                        LogSink *s = b->old->pdata[i];
                        if (has_name_of(s, spec, setup->driver) && log_sink_is_same(s, setup) &&
                            (!exactly || log_sink_has_options(s, setup->options)))
                                return s;
                }
        }
        return NULL;
}

static gboolean
keep_sink(Build *b, LogSink *sink, const LogSpec *spec, LogOptions *options, GError **error)
{
        LogSinkChange change;
        if (!log_sink_prepare(sink, log_options_ref(options), b->config, &change, error))
                return log_spec_fail(spec, error);
        g_array_append_val(b->changes, change);
        g_ptr_array_remove(b->old, sink);
        g_ptr_array_add(b->sinks, sink);
        return TRUE;
}

static gboolean
open_sink(Build *b, const LogSpec *spec, const LogSinkSetup *setup, GError **error)
{
        if (b->old && setup->driver->has_sink)
                return error_set(error, CONMON_ERROR_USAGE, "%s: %s can't be added while the container runs",
                                 spec->origin, setup->driver->name);
        log_options_report_unused(setup->options);
        LogSink *sink = log_sink_new(setup, b->config, error);
        if (!sink)
                return log_spec_fail(spec, error);
        if (spec->request && spec->request->sink)
                log_sink_set_name(sink, spec->request->sink);
        g_ptr_array_add(b->sinks, sink);
        return TRUE;
}

static gboolean
plan_sink(Build *b, const LogSpec *spec, const LogSinkSetup *setup, GError **error)
{
        if (!log_sink_check(setup, b->config, error))
                return log_spec_fail(spec, error);
        g_autoptr(GPtrArray) settings = log_spec_settings(spec, setup->options, b->config);
        log_plan_add(b->plan, setup, spec->origin, settings);
        return TRUE;
}

static gboolean
add_sink(Build *b, const LogSpec *spec, GError **error)
{
        g_autoptr(LogOptions) options = log_spec_options(spec, b->config, error);
        if (!options || !check_output(spec, options, error))
                return FALSE;
        bool needed = has_sink(spec->driver, options);
        if (spec->driver->has_sink) {
                b->tee = needed;
                b->passthrough = !needed;
        }
        if (!needed)
                return TRUE;
        LogSinkSetup setup = {spec->driver, options, spec->arg, spec->from_log_path};
        g_autoptr(LogOptions) of_file G_GNUC_UNUSED = replace_by_file(&setup); /* freed at the end */
        if (b->plan)
                return plan_sink(b, spec, &setup, error);
        LogSink *old = find_old(b, spec, &setup);
        return old ? keep_sink(b, old, spec, setup.options, error) : open_sink(b, spec, &setup, error);
}

/* True for a driver of the configuration with a single destination, the journal, if -l already uses it:
 * its readers would see every record twice. */
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
add_sinks(Build *b, bool k8s_file, GError **error)
{
        for (guint i = 0; i < b->specs->len; i++) {
                const LogSpec *spec = g_ptr_array_index(b->specs, i);
                if (spec->driver->flags & LOG_DRIVER_NO_SINK || is_k8s_file(spec) != k8s_file ||
                    is_there_already(b->specs, spec))
                        continue;
                if (!add_sink(b, spec, error))
                        return FALSE;
        }
        return TRUE;
}

/* A tag or labels that no sink uses are refused, but only with a file, as callers expect. */
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

static void
warn(const Build *b)
{
        const LogConfig *config = b->config;
        if (config->no_partial_message && !has_driver(b->specs, "journald"))
                diag_warn("--no-container-partial-message has no effect without journald log driver");
        if (b->passthrough && config->requests && config->requests->list->len > 0)
                diag_warn("No other log driver gets anything with -l passthrough; --log-opt "
                          "passthrough.tee=yes is for that");
}

/* The order of the checks is that which callers of -l know. */
static gboolean
build(Build *b, GError **error)
{
        g_autoptr(GPtrArray) specs = b->specs = log_specs_parse(b->config, error);
        if (!specs || !add_sinks(b, true, error) || !check_metadata(specs, b->config, error) ||
            !log_specs_check_options(specs, b->config, error) || !add_sinks(b, false, error))
                return FALSE;
        if (b->sinks)
                name_sinks(b);
        if (!b->old)
                warn(b);
        return TRUE;
}

gboolean
log_sinks_open(Log *log, const LogConfig *config, GError **error)
{
        Build b = {.config = config, .sinks = log->sinks};
        gboolean built = build(&b, error);
        log->passthrough = b.passthrough;
        log->tee = b.tee;
        return built;
}

gboolean
log_sinks_plan(GPtrArray *plan, const LogConfig *config, GError **error)
{
        return build(&(Build){.config = config, .plan = plan}, error);
}

/* ---- reload ---- */

static void
undo(Build *b)
{
        for (guint i = 0; i < b->sinks->len; i++)
                if (!stays(b, b->sinks->pdata[i]))
                        log_sink_free(b->sinks->pdata[i]);
        for (guint i = 0; i < b->changes->len; i++)
                log_sink_change_done(&g_array_index(b->changes, LogSinkChange, i));
}

static LogSink *
find_by_name(const Log *log, const char *name)
{
        for (guint i = 0; i < log->sinks->len; i++)
                if (strcmp(log_sink_name(log->sinks->pdata[i]), name) == 0)
                        return log->sinks->pdata[i];
        return NULL;
}

/* A sink that is replaced passes on what it is going to get from earlier ones. */
static void
replace_successor(const Log *log, const LogSink *sink, LogSink *successor)
{
        for (guint i = 0; i < log->closing->len; i++) {
                ClosingSink *closing = log->closing->pdata[i];
                if (closing->successor == sink)
                        closing->successor = successor;
        }
}

/* From now on its successor, if there is one, gets the records. */
static ClosingSink *
replace_sink(Log *log, LogSink *sink)
{
        ClosingSink *closing = g_new(ClosingSink, 1);
        *closing = (ClosingSink){sink, find_by_name(log, log_sink_name(sink))};
        replace_successor(log, sink, closing->successor);
        if (closing->successor)
                log_sink_take_over_lines(closing->successor, sink);
        return closing;
}

/* Its queue is drained as at the end of the container. */
static void
close_sink(Log *log, ClosingSink *closing)
{
        LogSink *sink = closing->sink;
        g_autofree char *name = g_strdup_printf("%s (closing)", log_sink_name(sink));
        log_sink_finish(sink, g_get_monotonic_time());
        if (closing->successor)
                log_sink_succeed(closing->successor, sink);
        log_sink_set_name(sink, name);
        g_ptr_array_add(log->closing, closing);
        log_sink_drain(sink);
}

/* While one is being closed, the stand-in may bring output: all are replaced first. */
static void
close_sinks(Log *log, const GPtrArray *sinks)
{
        g_autoptr(GPtrArray) closing = g_ptr_array_new();
        for (guint i = 0; i < sinks->len; i++)
                g_ptr_array_add(closing, replace_sink(log, sinks->pdata[i]));
        for (guint i = 0; i < closing->len; i++)
                close_sink(log, closing->pdata[i]);
}

static void
commit(Log *log, Build *b, LogSinkChangedFunc changed, void *data)
{
        g_ptr_array_set_free_func(log->sinks, NULL);
        g_ptr_array_unref(log->sinks);
        log->sinks = g_ptr_array_ref(b->sinks);
        g_ptr_array_set_free_func(log->sinks, (GDestroyNotify)log_sink_free);
        /* While a file is being closed, new sinks get output already, and may become full. */
        for (guint i = 0; i < b->sinks->len; i++)
                if (!stays(b, b->sinks->pdata[i]))
                        log_sink_set_changed(b->sinks->pdata[i], changed, data);
        close_sinks(log, b->old);
        for (guint i = 0; i < b->sinks->len; i++)
                if (!stays(b, b->sinks->pdata[i]))
                        log_sink_start(b->sinks->pdata[i], changed, data);
        for (guint i = 0; i < b->changes->len; i++)
                log_sink_apply(&g_array_index(b->changes, LogSinkChange, i), b->config);
}

gboolean
log_sinks_reload(Log *log, const LogConfig *config, LogSinkChangedFunc changed, void *data, GError **error)
{
        Build b = {
                .config = config,
                .sinks = g_ptr_array_new(),
                .old = g_ptr_array_copy(log->sinks, NULL, NULL),
                .changes = g_array_new(FALSE, FALSE, sizeof(LogSinkChange)),
        };
        g_ptr_array_set_free_func(b.old, NULL);
        gboolean built = build(&b, error);
        if (built)
                commit(log, &b, changed, data);
        else
                undo(&b);
        g_ptr_array_unref(b.sinks);
        g_ptr_array_unref(b.old);
        g_array_unref(b.changes);
        return built;
}

/* ---- sinks that are closing ---- */

bool
log_sinks_are_closing(const Log *log)
{
        for (guint i = 0; i < log->closing->len; i++)
                if (log_sink_is_draining(((const ClosingSink *)log->closing->pdata[i])->sink))
                        return true;
        return false;
}

static void
closing_free(void *data)
{
        ClosingSink *c = data;
        log_sink_abandon(c->sink);
        log_sink_free(c->sink);
        g_free(c);
}

/* Takes a sink that has nothing left to send from the list; NULL: there is none. */
static ClosingSink *
take_finished(Log *log)
{
        for (guint i = log->closing->len; i-- > 0;) {
                const ClosingSink *c = log->closing->pdata[i];
                if (!log_sink_is_draining(c->sink) && !log_sink_is_sending(c->sink))
                        return g_ptr_array_steal_index(log->closing, i);
        }
        return NULL;
}

/* While a file is being closed, the stand-in may change the list. */
void
log_sinks_reap(Log *log)
{
        for (ClosingSink *c; (c = take_finished(log));) {
                log_sink_abandon(c->sink);
                if (c->successor)
                        log_sink_add_counts(c->successor, c->sink);
                closing_free(c);
        }
}

void
log_sinks_add_closing(const Log *log, GString *json)
{
        for (guint i = 0; i < log->closing->len; i++) {
                if (i > 0 || log->sinks->len > 0)
                        g_string_append_c(json, ',');
                log_sink_status(((const ClosingSink *)log->closing->pdata[i])->sink, json);
        }
}

void
log_sinks_init(Log *log)
{
        log->sinks = g_ptr_array_new_with_free_func((GDestroyNotify)log_sink_free);
        log->closing = g_ptr_array_new_with_free_func(closing_free);
}

void
log_sinks_done(Log *log)
{
        g_ptr_array_unref(log->closing);
        g_ptr_array_unref(log->sinks);
}
