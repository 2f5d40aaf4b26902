/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sink/change.h"

#include "log/sink/state.h"

/* The sink with other options. */
static LogSinkSetup
setup_with(const LogSink *s, LogOptions *options)
{
        return (LogSinkSetup){s->driver, options, s->arg, s->from_log_path};
}

bool
log_sink_is_same(const LogSink *s, const LogSinkSetup *setup)
{
        return s->driver == setup->driver && s->from_log_path == setup->from_log_path &&
               g_strcmp0(s->arg, setup->arg) == 0 &&
               !log_options_differ(s->options, setup->options, LOG_OPTIONS_OF_DRIVER, true);
}

bool
log_sink_has_options(const LogSink *s, const LogOptions *options)
{
        for (size_t i = 0; i < N_LOG_OPTIONS_OF; i++)
                if (log_options_differ(s->options, options, i, false))
                        return false;
        return true;
}

gboolean
log_sink_prepare(LogSink *s, LogOptions *options, const LogConfig *log, LogSinkChange *ret, GError **error)
{
        LogSinkChange c = {.sink = s, .options = options};
        LogSinkSetup setup = setup_with(s, options);
        gboolean done = log_sink_check(&setup, log, error);
        c.replaces_intake = log_options_differ(s->options, options, LOG_OPTIONS_OF_INTAKE, false);
        if (done && c.replaces_intake)
                done = sink_make_intake(s, options, log->errands, &c.intake, error);
        if (done)
                *ret = c;
        else
                log_sink_change_done(&c);
        return done;
}

/* Records that the old one has held back, and that the new one does not take over, are written first. */
static void
replace_intake(LogSink *s, LogIntake *intake)
{
        LogIntake *old = s->intake;
        s->intake = intake;
        sink_leave_room(s);
        if (old && intake)
                log_intake_take_over(intake, old);
        if (old)
                log_intake_flush(old, &s->in);
        log_intake_free(old);
}

void
log_sink_apply(LogSinkChange *c, const LogConfig *log)
{
        LogSink *s = c->sink;
        LogSinkSetup setup = setup_with(s, c->options);
        LogDriverConfig config = sink_driver_config(s, &setup, log);
        if (c->replaces_intake) {
                replace_intake(s, g_steal_pointer(&c->intake));
                log_options_free(s->intake_options);
                s->intake_options = log_options_ref(c->options);
        }
        log_options_free(s->options);
        s->options = g_steal_pointer(&c->options);
        sink_read_options(s);
        if (s->driver->adopt)
                s->driver->adopt(s->self, &config);
        log_sink_flush(s);
}

void
log_sink_change_done(LogSinkChange *c)
{
        g_clear_pointer(&c->intake, log_intake_free);
        g_clear_pointer(&c->options, log_options_free);
}

/* ---- counters of sinks that follow each other ---- */

void
log_sink_take_over_lines(LogSink *s, LogSink *old)
{
        if (s->intake && old->intake)
                log_intake_take_over(s->intake, old->intake);
}

void
log_sink_add_counts(LogSink *s, const LogSink *old)
{
        log_count_add(&s->in, old->in);
        log_count_add(&s->queue.done, old->queue.done);
        log_losses_add_all(&s->losses, &old->losses);
        s->n_markers += old->n_markers;
        s->n_errors += old->n_errors;
}

void
log_sink_succeed(LogSink *s, LogSink *old)
{
        LogCount queued = log_queue_queued(&old->queue);
        old->in = (LogCount){old->in.records - queued.records, old->in.bytes - queued.bytes};
        log_sink_add_counts(s, old);
        if (!s->last_error)
                s->last_error = g_strdup(old->last_error);
        old->in = queued;
        old->queue.done = (LogCount){0};
        old->losses = (LogLosses){0};
        old->n_markers = old->n_errors = 0;
}
