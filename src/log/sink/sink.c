/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sink/state.h"

#include "base/diag.h"
#include "base/stand_in.h"
#include "log/sink/admission.h"
#include "log/sink/audit.h"
#include "log/sink/status.h"

#include <errno.h>
#include <string.h>

#define RETRY_FIRST_USEC (100 * 1000)
#define RETRY_MAX_USEC   (2 * 1000 * 1000)

/* How often failures of an unstable destination are reported. */
#define REPORT_AGAIN_USEC (60 * G_USEC_PER_SEC)

/* How often to check the progress of the destination while something waits for it. */
#define PROGRESS_USEC (250 * 1000)

/* A container that writes immediately should find the first connection established; a server that is down
 * must not block it. */
#define CONNECT_USEC (200 * 1000)

/* Number of drain-timeouts for a destination that makes progress at the end. */
#define DRAIN_TIMES 10

static void on_retry(void *data);
static void on_progress_check(void *data);

gboolean
sink_make_intake(LogSink *s, const LogOptions *options, Errands *errands, LogIntake **ret_intake,
                 GError **error)
{
        LogOutlet outlet = {sink_admit, sink_refuse, on_retry, s};
        return log_intake_new(s->driver, log_options_values(options, LOG_OPTIONS_OF_INTAKE), &outlet, errands,
                              ret_intake, error);
}

void
sink_leave_room(LogSink *s)
{
        if (s->driver->flags & LOG_DRIVER_MAX_MESSAGE)
                log_intake_leave_room(s->intake, s->driver->format.max_encoded_len(s->self, 0));
}

static gboolean
open_sink(LogSink *s, const LogSinkSetup *setup, const LogConfig *log, GError **error)
{
        LogDriverConfig config = sink_driver_config(s, setup, log);
        sink_read_options(s);
        if (s->transport->may_stall)
                s->stand_in = log->stand_in;
        if (!log_sink_check(setup, log, error) ||
            !sink_make_intake(s, s->options, log->errands, &s->intake, error))
                return FALSE;
        s->self = log_driver_open(s->driver, &config, error);
        if (s->self)
                sink_leave_room(s);
        return s->self != NULL;
}

static LogSink *
sink_new(const LogDriver *driver)
{
        LogSink *s = g_new0(LogSink, 1);
        s->driver = driver;
        s->transport = driver->transport;
        timer_init(&s->retry, on_retry, s);
        timer_init(&s->progress, on_progress_check, s);
        return s;
}

static void
set_options(LogSink *s, LogOptions *options)
{
        s->options = options;
        s->driver_options = log_options_ref(options);
        s->intake_options = log_options_ref(options);
}

LogSink *
log_sink_new(const LogSinkSetup *setup, const LogConfig *log, GError **error)
{
        LogSink *s = sink_new(setup->driver);
        set_options(s, log_options_ref(setup->options));
        s->arg = g_strdup(setup->arg);
        s->from_log_path = setup->from_log_path;
        s->wants = true;
        if (open_sink(s, setup, log, error))
                return s;
        log_sink_free(s);
        return NULL;
}

void
log_sink_free(LogSink *s)
{
        if (!s)
                return;
        timer_stop(&s->retry);
        timer_stop(&s->progress);
        log_driver_close(s->driver, s->self);
        LogCount none = {0};
        log_queue_clear(&s->queue, &none);
        log_intake_free(s->intake);
        log_options_free(s->options);
        log_options_free(s->driver_options);
        log_options_free(s->intake_options);
        g_free(s->arg);
        g_free(s->last_error);
        g_free(s->name);
        g_free(s);
}

const char *
log_sink_name(const LogSink *s)
{
        return s->name ? s->name : s->driver->name;
}

void
log_sink_set_name(LogSink *s, const char *name)
{
        g_free(s->name);
        s->name = g_strdup(name);
}

void
log_sink_set_changed(LogSink *s, LogSinkChangedFunc changed, void *data)
{
        s->changed = changed;
        s->changed_data = data;
}

void
log_sink_start(LogSink *s, LogSinkChangedFunc changed, void *data)
{
        log_sink_set_changed(s, changed, data);
        /* If it took long to close its predecessor, the container may have ended already. */
        if (s->phase == SINK_OPENED) {
                s->phase = SINK_RUNNING;
                if (s->transport->start)
                        s->transport->start(s->self);
        }
        if (!log_queue_is_empty(&s->queue))
                log_sink_flush(s);
}

/* ---- sending, and the condition of the destination ---- */

static void
report_failure(LogSink *s, const char *why)
{
        gint64 now = g_get_monotonic_time();
        if (s->failure_reported || (s->reported_usec > 0 && now - s->reported_usec < REPORT_AGAIN_USEC))
                return;
        diag_warn("Logging to %s failed: %s; up to %zu bytes are kept until it works again", sink_target(s),
                  why, s->queue_max);
        s->failure_reported = true;
        s->reported_usec = now;
}

void
log_sink_failure_reported(LogSink *s)
{
        if (!s)
                return;
        s->failure_reported = true;
        s->reported_usec = g_get_monotonic_time();
}

void
log_sink_retry_in(LogSink *s, int64_t usec)
{
        s->retry_usec = usec;
}

size_t
log_sink_queue_max(const LogSink *s)
{
        return s->queue_max;
}

void
log_sink_refused(LogSink *s)
{
        s->refused = true;
}

/* True if there was progress since the last check. */
static bool
look_for_progress(LogSink *s)
{
        uint64_t taken = s->queue.taken + (s->transport->taken ? s->transport->taken(s->self) : 0);
        bool moved = taken != s->seen;
        s->seen = taken;
        return moved;
}

/* Once an attempt has failed only delivered records count: what else has arrived came in vain. */
static void
forget_progress(LogSink *s)
{
        (void)look_for_progress(s);
        if (s->phase == SINK_DRAINING)
                s->moved_usec = s->delivered_usec;
        else if (s->queue.done.records != s->done_at_failure)
                s->moved_usec = g_get_monotonic_time();
        s->done_at_failure = s->queue.done.records;
}

static void
note_failure(LogSink *s, int r)
{
        s->n_errors++;
        g_free(s->last_error);
        s->last_error = sink_describe_error(s, r);
        s->condition = SINK_FAILING;
        s->busy = r == -EBUSY;
        forget_progress(s);
        report_failure(s, s->last_error);
        int64_t wait = (int64_t)RETRY_FIRST_USEC << MIN(s->attempt, 10u);
        s->attempt++;
        timer_start(&s->retry, s->retry_usec > 0 ? s->retry_usec : MIN(wait, RETRY_MAX_USEC));
        s->retry_usec = 0;
}

static void
note_success(LogSink *s, SinkCondition condition)
{
        if (s->failure_reported)
                diag_warn("Logging to %s works again", sink_target(s));
        s->failure_reported = s->refused = s->busy = false;
        s->attempt = 0;
        s->condition = condition;
        timer_stop(&s->retry);
}

/* The driver could not send everything. Waiting, for example for a connection, is not yet a success. */
static void
note_wait(LogSink *s, bool moved)
{
        if (moved || s->condition == SINK_OK)
                s->moved_usec = g_get_monotonic_time();
        if (moved)
                note_success(s, SINK_WAITING);
        else if (s->condition == SINK_OK)
                s->condition = sink_has_taken(s) ? SINK_WAITING : SINK_CONNECTING;
}

static uint64_t
drop_queue(LogSink *s, LogDropCause cause)
{
        LogCount gone = {0};
        log_queue_clear(&s->queue, &gone);
        log_losses_add(&s->losses, cause, gone);
        return gone.records;
}

static void
note_end(LogSink *s)
{
        if (s->condition != SINK_ENDED)
                diag_warn("Logging to %s has ended: its size limit is reached", sink_target(s));
        note_success(s, SINK_ENDED);
        (void)drop_queue(s, LOG_DROP_LIMIT);
}

/* The disk or server of a file has stalled, and the stand-in runs the loop: records wait in the queue.
 * Meanwhile no file is written to, because a second one that stalls would block everything. */
static bool
note_stall(LogSink *s)
{
        if (!s->sending && !stand_in_serves(s->stand_in))
                return false;
        if (s->condition == SINK_OK || s->condition == SINK_FAILING) {
                s->condition = SINK_WAITING;
                s->moved_usec = g_get_monotonic_time();
        }
        if (s->sending)
                report_failure(s, "its disk, server or reader is slow or does not answer");
        return true;
}

/* While a reload closes a log that stalls, the stand-in brings output for new sinks. They wait, as for any
 * destination. */
static bool
is_early(LogSink *s)
{
        if (s->phase != SINK_OPENED)
                return false;
        if (s->condition == SINK_OK && !log_queue_is_empty(&s->queue)) {
                s->condition = SINK_WAITING;
                s->moved_usec = g_get_monotonic_time();
        }
        return true;
}

void
sink_send(LogSink *s)
{
        if (is_early(s) || timer_is_running(&s->retry) || note_stall(s))
                return;
        uint64_t before = s->queue.taken, delivered = s->queue.done.records;
        s->sending = s->transport->may_stall;
        int r = s->transport->send(s->self, &s->queue);
        s->sending = false;
        if (s->queue.done.records != delivered) {
                log_losses_accepted(&s->losses);
                if (s->phase == SINK_DRAINING)
                        s->delivered_usec = g_get_monotonic_time();
        }
        if (r < 0)
                note_failure(s, r);
        else if (r == LOG_SEND_WAIT)
                note_wait(s, s->queue.taken != before);
        else if (r == LOG_SEND_ENDED || s->condition == SINK_ENDED)
                note_end(s);
        else
                note_success(s, SINK_OK);
}

/* ---- waiting for progress ---- */

/* When to give up without further progress. */
static gint64
give_up_time(const LogSink *s)
{
        if (s->phase == SINK_DRAINING)
                return MIN(s->moved_usec + s->drain_timeout, s->drain_end);
        bool connecting = s->condition == SINK_CONNECTING && !sink_has_taken(s);
        return s->moved_usec + (connecting ? MIN(CONNECT_USEC, s->stall_timeout) : s->stall_timeout);
}

static void
watch_progress(LogSink *s)
{
        gint64 left = give_up_time(s) - g_get_monotonic_time();
        timer_start(&s->progress, CLAMP(left, 1, PROGRESS_USEC));
}

static void
notify(LogSink *s)
{
        if (s->changed)
                s->changed(s->changed_data);
}

/* True if something waits for the destination, but not forever. */
static bool
is_waited_for(const LogSink *s)
{
        return s->phase == SINK_DRAINING ? log_sink_is_draining(s)
                                         : s->admission == SINK_HOLDS && s->mode == MODE_ADAPTIVE;
}

/* Tells the caller to pause or resume; reports that the last message was sent. */
static void
update(LogSink *s)
{
        sink_review_admission(s);
        bool blocks = s->admission == SINK_HOLDS || (s->intake && log_intake_blocks(s->intake));
        bool wants = s->condition == SINK_ENDED || !blocks;
        if (!is_waited_for(s)) {
                timer_stop(&s->progress);
        } else if (!timer_is_running(&s->progress)) {
                (void)look_for_progress(s);
                watch_progress(s);
        }
        bool emptied = log_queue_is_empty(&s->queue) && (s->phase >= SINK_STOPPED || s->release_due);
        if (wants == s->wants && !emptied)
                return;
        s->wants = wants;
        s->release_due = s->release_due && !emptied;
        notify(s);
}

static void
on_progress_check(void *data)
{
        LogSink *s = data;
        gint64 now = g_get_monotonic_time();
        bool counts = s->condition != SINK_FAILING || s->phase == SINK_DRAINING;
        if (look_for_progress(s) && counts)
                s->moved_usec = now;
        if (now < give_up_time(s)) {
                watch_progress(s);
                return;
        }
        if (s->phase == SINK_DRAINING) {
                LogSinkChangedFunc changed = s->changed;
                log_sink_abandon(s);
                if (changed)
                        changed(s->changed_data);
                return;
        }
        if (s->condition != SINK_FAILING)
                s->condition = SINK_STALLED;
        update(s);
}

/* ---- for the log and the driver ---- */

static void
audit(const LogSink *s)
{
        log_audit_queue(&s->queue);
        log_audit_counts(s->in, &s->queue, &s->losses);
}

void
log_sink_write(LogSink *s, const LogBatch *batch)
{
        if (s->intake) {
                log_intake_push(s->intake, batch, &s->in);
        } else {
                log_count_add(&s->in, (LogCount){batch->n, batch->payload});
                sink_admit(batch->records, batch->n, batch->payload, s);
        }
        audit(s);
}

void
log_sink_flush(LogSink *s)
{
        if (s->reopen_due && !log_sink_is_over(s) && !note_stall(s)) {
                log_sink_reopen(s);
                return;
        }
        sink_send(s);
        if (log_losses_pending(&s->losses)) {
                sink_announce(s);
                sink_send(s);
        }
        update(s);
        audit(s);
}

static void
on_retry(void *data)
{
        log_sink_flush(data);
}

StandIn *
log_sink_stand_in(const LogSink *s)
{
        return s ? s->stand_in : NULL;
}

bool
log_sink_is_over(const LogSink *s)
{
        return s && s->phase >= SINK_OVER;
}

void
log_sink_ready(LogSink *s)
{
        log_sink_flush(s);
}

bool
log_sink_wants(const LogSink *s, StreamId stream)
{
        return s->wants || (s->intake && !log_intake_has_stream(s->intake, stream));
}

void
log_sink_reopen(LogSink *s)
{
        if (!s->transport->reopen)
                return;
        s->reopen_due = note_stall(s);
        if (s->reopen_due)
                return;
        s->sending = s->transport->may_stall;
        int r = s->transport->reopen(s->self, &s->queue);
        s->sending = false;
        if (r < 0) {
                note_failure(s, r);
                return;
        }
        timer_stop(&s->retry);
        log_sink_flush(s);
}

void
log_sink_release(LogSink *s)
{
        s->release_due = !log_queue_is_empty(&s->queue);
        log_queue_release(&s->queue);
        if (s->intake)
                log_intake_release(s->intake);
        if (s->transport->release)
                s->transport->release(s->self);
}

/* ---- the end ---- */

bool
log_sink_is_sending(const LogSink *s)
{
        return s->sending;
}

bool
log_sink_is_draining(const LogSink *s)
{
        if (s->condition == SINK_ENDED)
                return false;
        if (s->phase >= SINK_STOPPED && s->transport->busy && s->transport->busy(s->self))
                return true;
        return !log_queue_is_empty(&s->queue) &&
               (s->condition != SINK_FAILING || s->driver->flags & LOG_DRIVER_REMOTE);
}

void
log_sink_abandon(LogSink *s)
{
        timer_stop(&s->retry);
        timer_stop(&s->progress);
        uint64_t n = drop_queue(s, s->refused ? LOG_DROP_REFUSED : LOG_DROP_END);
        if (n > 0)
                diag_warn("Logging to %s: %" G_GUINT64_FORMAT
                          " records could not be delivered before the end",
                          sink_target(s), n);
        s->condition = SINK_ENDED;
        s->changed = NULL;
        audit(s);
}

void
log_sink_finish(LogSink *s, gint64 until)
{
        if (s->phase >= SINK_FINISHED)
                return;
        /* A last attempt, regardless of the delay. */
        timer_stop(&s->retry);
        if (s->intake)
                log_intake_flush(s->intake, &s->in);
        s->phase = MAX(s->phase, SINK_STOPPED);
        log_sink_flush(s);
        s->phase = SINK_OVER;
        if (note_stall(s))
                return;
        if (s->transport->finish)
                s->transport->finish(s->self, &s->queue, until);
        s->phase = SINK_FINISHED;
        if (!log_sink_is_draining(s))
                log_sink_abandon(s);
        /* Short delays again: after a long outage the next one could be longer than drain-timeout. */
        s->attempt = 0;
        if (timer_is_running(&s->retry))
                timer_start(&s->retry, RETRY_FIRST_USEC);
}

void
log_sink_sync(LogSink *s)
{
        if (s->transport->sync)
                s->transport->sync(s->self);
}

void
log_sink_drain(LogSink *s)
{
        if (!log_sink_is_draining(s))
                return;
        s->phase = SINK_DRAINING;
        s->moved_usec = s->delivered_usec = g_get_monotonic_time();
        s->drain_end = s->moved_usec + s->drain_timeout * (s->mode == MODE_NON_BLOCKING ? 1 : DRAIN_TIMES);
        update(s);
}

/* ---- live upgrade ---- */

static void
save_streams(const LogSink *s, StateWriter *w)
{
        for (StreamId i = 0; i < N_STREAMS; i++) {
                const SinkStream *stream = &s->streams[i];
                state_begin(w, stream_name(i));
                state_put_uint(w, "line", stream->line);
                state_put_text(w, "cause", log_losses_name(stream->cause));
                state_put_uint(w, "ordinal", stream->ordinal);
                state_put_uint(w, "partial-id", stream->partial_id);
                state_end(w);
        }
}

static void
restore_streams(LogSink *s, StateReader *r)
{
        for (StreamId i = 0; i < N_STREAMS; i++) {
                SinkStream *stream = &s->streams[i];
                state_enter(r, stream_name(i));
                stream->line = (LineState)state_get_uint(r, "line", LINE_CUT);
                g_autofree char *cause = state_get_text(r, "cause");
                if (!cause || !log_losses_find(cause, &stream->cause))
                        state_fail(r, "Nothing is lost because of '%s'", cause ? cause : "");
                stream->ordinal = (uint32_t)state_get_uint(r, "ordinal", UINT32_MAX);
                stream->partial_id = state_get_uint(r, "partial-id", UINT64_MAX);
                state_leave(r);
        }
}

/* That a server wants a pause is not in the state. The next program concludes it from a failing sink that
 * holds the output (restore_failure), and lets the output go on if the queue is at most half full. */
static SinkAdmission
admission_to_save(const LogSink *s)
{
        return s->busy && s->mode == MODE_ADAPTIVE && s->admission == SINK_ADMITS ? SINK_HOLDS : s->admission;
}

static void
save_condition(const LogSink *s, StateWriter *w)
{
        state_put_uint(w, "condition", s->condition);
        state_put_uint(w, "admission", admission_to_save(s));
        state_put_uint(w, "wants", s->wants);
        state_put_text(w, "last-error", s->last_error);
        state_put_uint(w, "errors", s->n_errors);
        state_put_uint(w, "refused", s->refused);
        state_put_uint(w, "failure-reported", s->failure_reported);
        state_put_int(w, "reported", s->reported_usec);
        state_put_uint(w, "attempt", s->attempt);
        state_put_int(w, "retry-in", s->retry_usec);
        timer_save(&s->retry, w, "retry");
        timer_save(&s->progress, w, "progress");
        state_put_uint(w, "seen", s->seen);
        state_put_int(w, "moved", s->moved_usec);
        state_put_uint(w, "reopen-due", s->reopen_due);
}

static void
restore_condition(LogSink *s, StateReader *r)
{
        s->condition = (SinkCondition)state_get_uint(r, "condition", SINK_ENDED);
        s->admission = (SinkAdmission)state_get_uint(r, "admission", SINK_LOSES);
        s->wants = state_get_bool(r, "wants");
        s->last_error = state_get_text(r, "last-error");
        s->n_errors = state_get_uint(r, "errors", UINT64_MAX);
        s->refused = state_get_bool(r, "refused");
        s->failure_reported = state_get_bool(r, "failure-reported");
        s->reported_usec = state_get_int(r, "reported", 0, INT64_MAX);
        s->attempt = (unsigned)state_get_uint(r, "attempt", UINT32_MAX);
        s->retry_usec = state_get_int(r, "retry-in", 0, INT64_MAX);
        timer_restore(&s->retry, r, "retry");
        timer_restore(&s->progress, r, "progress");
        s->seen = state_get_uint(r, "seen", UINT64_MAX);
        s->moved_usec = state_get_int(r, "moved", 0, INT64_MAX / 2);
        s->reopen_due = state_get_bool(r, "reopen-due");
}

void
log_sink_save(LogSink *s, StateWriter *w)
{
        if (s->sending || stand_in_serves(s->stand_in)) {
                state_refuse(w, "the log %s has stalled", log_sink_name(s));
                return;
        }
        if (!s->driver->save || s->phase != SINK_RUNNING) {
                state_refuse(w, "the log driver %s can't be carried over to another program",
                             s->driver->name);
                return;
        }
        state_begin(w, "sink");
        state_put_text(w, "driver", s->driver->name);
        state_put_text(w, "name", s->name);
        state_put_text(w, "arg", s->arg);
        state_put_uint(w, "from-log-path", s->from_log_path);
        log_options_save(s->options, w);
        log_count_save(s->in, w, "in");
        log_losses_save(&s->losses, w);
        state_put_uint(w, "markers", s->n_markers);
        save_condition(s, w);
        save_streams(s, w);
        log_intake_save(s->intake, w);
        log_queue_save(&s->queue, w);
        state_begin(w, "instance");
        s->driver->save(s->self, &s->queue, w);
        state_end(w);
        state_end(w);
}

/* What came is delivered, in the queue, or lost. */
static bool
adds_up(const LogSink *s)
{
        LogCount sum = log_queue_queued(&s->queue);
        log_count_add(&sum, s->queue.done);
        log_count_add(&sum, log_losses_sum(&s->losses));
        return sum.records == s->in.records && sum.bytes == s->in.bytes;
}

static void
restore_instance(LogSink *s, StateReader *r)
{
        LogDriverConfig config = {
                .sink = s,
                .options = log_options_values(s->options, LOG_OPTIONS_OF_DRIVER),
        };
        state_enter(r, "instance");
        s->self = g_malloc0(s->driver->size);
        s->driver->restore(s->self, &config, &s->queue, r);
        state_leave(r);
}

/* What is not in the state: only after an answer that wants a pause does a failing sink hold the output. */
static void
restore_failure(LogSink *s)
{
        if (s->condition != SINK_FAILING)
                return;
        s->busy = s->mode == MODE_ADAPTIVE && s->admission == SINK_HOLDS;
        s->done_at_failure = s->queue.done.records;
}

static void
restore_sink(LogSink *s, StateReader *r)
{
        LogOutlet outlet = {sink_admit, sink_refuse, on_retry, s};
        s->name = state_get_text(r, "name");
        s->arg = state_get_text(r, "arg");
        s->from_log_path = state_get_bool(r, "from-log-path");
        set_options(s, log_sink_options(s->driver));
        log_options_restore(s->options, r);
        sink_read_options(s);
        s->in = log_count_restore(r, "in");
        log_losses_restore(&s->losses, r);
        s->n_markers = state_get_uint(r, "markers", UINT64_MAX);
        restore_condition(s, r);
        restore_streams(s, r);
        s->intake = log_intake_restore(r, s->driver, log_options_values(s->options, LOG_OPTIONS_OF_INTAKE),
                                       &outlet);
        for (StreamId i = 0; s->intake && i < N_STREAMS; i++)
                log_intake_decide_again(s->intake, i, s->streams[i].partial_id);
        log_queue_restore(&s->queue, r);
        restore_failure(s);
        if (!state_failed(r) && !adds_up(s))
                state_fail(r, "The counters of the log %s do not add up", log_sink_name(s));
        restore_instance(s, r);
        s->phase = SINK_RUNNING;
}

LogSink *
log_sink_restore(StateReader *r, const LogDriver *(*find)(const char *name), StandIn *stand_in)
{
        g_autofree char *name = state_get_text(r, "driver");
        const LogDriver *driver = name ? find(name) : NULL;
        if (!driver || !driver->restore) {
                state_fail(r, "There is no log driver %s that can be carried over", name ? name : "");
                return NULL;
        }
        LogSink *s = sink_new(driver);
        s->stand_in = s->transport->may_stall ? stand_in : NULL;
        restore_sink(s, r);
        return state_failed(r) ? NULL : s;
}
