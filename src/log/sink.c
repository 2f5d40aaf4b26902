#include "log/sink.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/error.h"
#include "base/json.h"
#include "base/watch.h"
#include "log/intake.h"
#include "log/losses.h"
#include "log/metadata.h"

#include <errno.h>
#include <string.h>

#define RETRY_FIRST_USEC (100 * 1000)
#define RETRY_MAX_USEC   (2 * 1000 * 1000)

/* A destination that comes and goes is talked about only so often. */
#define TELL_AGAIN_USEC (60 * G_USEC_PER_SEC)

typedef enum {
        ON_FULL_DROP_NEWEST,
        ON_FULL_DROP_OLDEST,
        ON_FULL_BLOCK,
} OnFull;

/* What was encoded last of a stream, and what was lost since. */
typedef struct {
        bool open; /* its line is not finished */
        uint32_t ordinal;
        uint64_t partial_id;
        bool lost;
        bool cut; /* a line that was lost goes on */
        LogDropCause cause;
} SinkStream;

struct LogSink {
        const LogDriver *driver;
        void *self;
        LogOptions *options;
        LogIntake *intake; /* NULL if records are taken as they are */
        LogQueue queue;
        size_t queue_max;
        OnFull on_full;
        bool patient; /* if it blocks, then also while sending fails: somebody has asked for it */
        bool started;
        bool finished; /* nothing will be written any more */
        bool ended;    /* takes nothing any more */
        bool stalled;  /* the last send did not send all */
        bool full;     /* records were dropped, and will be until the queue is half empty */
        bool blocked;  /* the caller was asked to stop */
        int failing;   /* -errno of the last send, or 0 */
        int last_error;
        bool told; /* that it is failing */
        gint64 told_usec;
        uint64_t n_errors;
        uint64_t n_markers;
        unsigned attempt;
        Timer retry;
        SinkStream streams[N_STREAMS];
        LogCount in;
        LogLosses losses;
        LogSinkChangedFunc changed;
        void *changed_data;
};

static const LogOption sink_options[] = {
        {"mode", LOG_OPTION_ENUM, "non-blocking", "whether the container waits while the queue is full",
         .choices = "blocking|non-blocking"},
        {"on-full", LOG_OPTION_ENUM, "drop-newest", "what happens while the queue is full",
         .choices = "drop-newest|drop-oldest|block"},
        {"max-buffer-size", LOG_OPTION_BINARY_SIZE, "256k", "size of the queue", .max = 1 << 30},
        {"drain-timeout", LOG_OPTION_DURATION, "2s", "how long the end of the monitor may wait for the queue",
         .max = 12 * 1000 * 1000},
        {NULL},
};

LogOptions *
log_sink_options(const LogDriver *driver)
{
        const LogOption *tables[5];
        size_t n = 0;
        if (driver->options)
                tables[n++] = driver->options;
        if (driver->flags & LOG_DRIVER_METADATA)
                tables[n++] = log_metadata_options();
        tables[n++] = sink_options;
        tables[n++] = log_intake_options();
        tables[n] = NULL;
        return log_options_new(driver->name, tables);
}

static const char *
target(const LogSink *s)
{
        return s->driver->target ? s->driver->target(s->self) : s->driver->name;
}

/* mode is Docker's name for what on-full says with more choice. */
static bool
is_blocking(const LogOptions *o)
{
        return strcmp(log_options_string(o, "mode"), "blocking") == 0;
}

static gboolean
check_config(const LogDriver *driver, const LogDriverConfig *config, GError **error)
{
        const LogOptions *o = config->options;
        if (log_options_has(o, "mode") && log_options_has(o, "on-full") &&
            is_blocking(o) != (log_options_number(o, "on-full") == ON_FULL_BLOCK))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: mode=%s and on-full=%s contradict each other", driver->name,
                                 log_options_string(o, "mode"), log_options_string(o, "on-full"));
        return !driver->check || driver->check(config, error);
}

gboolean
log_sink_check(const LogDriver *driver, const LogOptions *options, const char *arg, const LogConfig *log,
               bool from_log_path, GError **error)
{
        LogDriverConfig config = {.arg = arg, .options = options, .log = log, .from_log_path = from_log_path};
        return check_config(driver, &config, error);
}

static void
read_options(LogSink *s)
{
        const LogOptions *o = s->options;
        s->queue_max = (size_t)log_options_number(o, "max-buffer-size");
        s->on_full = (OnFull)log_options_number(o, "on-full");
        if (is_blocking(o) && !log_options_has(o, "on-full"))
                s->on_full = ON_FULL_BLOCK;
        s->patient = log_options_has(o, "mode") || log_options_has(o, "on-full");
}

static void on_retry(void *data);
static void take_records(const LogRecord *records, size_t n, size_t payload, void *data);
static void refuse_record(const LogRecord *r, bool limited, void *data);

static gboolean
open_sink(LogSink *s, const char *arg, const LogConfig *log, bool from_log_path, GError **error)
{
        LogOutlet outlet = {take_records, refuse_record, on_retry, s};
        LogDriverConfig config = {
                .sink = s,
                .arg = arg,
                .options = s->options,
                .log = log,
                .from_log_path = from_log_path,
        };
        read_options(s);
        if (!check_config(s->driver, &config, error) ||
            !log_intake_new(s->driver, s->options, &outlet, &s->intake, error))
                return FALSE;
        s->self = s->driver->open(&config, error);
        return s->self != NULL;
}

LogSink *
log_sink_new(const LogDriver *driver, LogOptions *options, const char *arg, const LogConfig *log,
             bool from_log_path, GError **error)
{
        LogSink *s = g_new0(LogSink, 1);
        s->driver = driver;
        s->options = options;
        timer_init(&s->retry, on_retry, s);
        if (open_sink(s, arg, log, from_log_path, error))
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
        if (s->self)
                s->driver->close(s->self);
        LogCount none = {0};
        log_queue_clear(&s->queue, &none);
        log_intake_free(s->intake);
        log_options_free(s->options);
        g_free(s);
}

void
log_sink_start(LogSink *s, LogSinkChangedFunc changed, void *data)
{
        s->changed = changed;
        s->changed_data = data;
        s->started = true;
        if (s->driver->start)
                s->driver->start(s->self);
}

static const char *
describe_error(int r)
{
        /* From opening a FIFO, and hard to guess. */
        return r == -ENXIO ? "nobody reads it" : g_strerror(-r);
}

static void
tell_failure(LogSink *s)
{
        gint64 now = g_get_monotonic_time();
        if (s->told || (s->told_usec > 0 && now - s->told_usec < TELL_AGAIN_USEC))
                return;
        diag_warn("Logging to %s failed: %s; up to %zu bytes are kept until it works again", target(s),
                  describe_error(s->failing), s->queue_max);
        s->told = true;
        s->told_usec = now;
}

void
log_sink_told(LogSink *s)
{
        if (!s)
                return;
        s->told = true;
        s->told_usec = g_get_monotonic_time();
}

/* Another try is scheduled each time. */
static void
note_failure(LogSink *s, int r)
{
        s->n_errors++;
        s->stalled = true;
        s->failing = s->last_error = r;
        tell_failure(s);
        int64_t wait = (int64_t)RETRY_FIRST_USEC << MIN(s->attempt, 10u);
        s->attempt++;
        timer_start(&s->retry, MIN(wait, RETRY_MAX_USEC));
}

static void
note_success(LogSink *s)
{
        if (s->told)
                diag_warn("Logging to %s works again", target(s));
        s->told = false;
        s->failing = 0;
        s->attempt = 0;
        timer_stop(&s->retry);
}

static void
drop_queue(LogSink *s, LogDropCause cause)
{
        LogCount gone = {0};
        log_queue_clear(&s->queue, &gone);
        log_losses_add(&s->losses, cause, gone);
}

/* Lets the driver work, unless it failed and its next try is set. */
static void
send_queue(LogSink *s)
{
        if (!s->started || timer_is_running(&s->retry))
                return;
        uint64_t done = s->queue.done.records;
        int r = s->driver->send(s->self, &s->queue);
        s->stalled = r != 0;
        if (r < 0) {
                note_failure(s, r);
                return;
        }
        /* Waiting for a connection, say, is not yet success. */
        if (r != LOG_SEND_WAIT || s->queue.done.records != done)
                note_success(s);
        if (r != LOG_SEND_ENDED)
                return;
        if (!s->ended)
                diag_warn("Logging to %s has ended: its size limit is reached", target(s));
        s->ended = true;
        drop_queue(s, LOG_DROP_LIMIT);
}

static size_t
sum_payload(const LogRecord *records, size_t n)
{
        size_t sum = 0;
        for (size_t i = 0; i < n; i++)
                sum += records[i].payload;
        return sum;
}

/* Encodes what may be added to the queue. A block with room for the first record takes that one at least. */
static void
encode(LogSink *s, const LogRecord *records, size_t n, size_t payload)
{
        while (n > 0) {
                size_t need = s->driver->bound(s->self, records->len);
                if (!s->stalled && s->queue.tail && !log_block_room(s->queue.tail, need))
                        send_queue(s);
                LogBlock *b = log_queue_block(&s->queue, need);
                size_t k = s->driver->encode(s->self, records, n, b);
                size_t part = k == n ? payload : sum_payload(records, k);
                log_queue_added(b, (LogCount){.records = k, .bytes = part});
                payload -= part;
                records += k;
                n -= k;
        }
}

/* A record that does not come from the container and is not counted as such. */
static void
encode_own(LogSink *s, const LogRecord *r)
{
        LogBlock *b = log_queue_block(&s->queue, s->driver->bound(s->self, r->len));
        (void)s->driver->encode(s->self, r, 1, b);
}

static void
remember_last(LogSink *s, const LogRecord *r)
{
        s->streams[r->stream] = (SinkStream){
                .open = (r->flags & LOG_RECORD_PARTIAL) != 0,
                .ordinal = r->ordinal,
                .partial_id = r->partial_id,
        };
}

/* Ends a line whose rest was lost, so that no reader joins it with what comes next. */
static void
close_line(LogSink *s, StreamId stream, int64_t now_ns)
{
        SinkStream *state = &s->streams[stream];
        if (!state->open)
                return;
        LogRecord end = {
                .bytes = "\n",
                .ordinal = state->ordinal + 1,
                .time_ns = now_ns,
                .partial_id = state->partial_id,
                .stream = (uint8_t)stream,
                .flags = LOG_RECORD_CONTINUES | LOG_RECORD_MARKER,
        };
        state->open = false;
        encode_own(s, &end);
}

/* Says in the stream how many records of one cause are missing. */
static void
announce_cause(LogSink *s, LogDropCause cause)
{
        char text[LOG_LOSSES_TEXT_SIZE];
        uint32_t lost = (uint32_t)MIN(s->losses.unannounced[cause], (uint64_t)LOG_PAYLOAD_MAX);
        bool has_stderr = !s->intake || log_intake_has_stream(s->intake, STREAM_STDERR);
        LogRecord marker = {
                .bytes = text,
                .payload = lost,
                .len = (uint32_t)log_losses_announce(&s->losses, cause, text),
                .time_ns = clock_realtime_ns(),
                .stream = has_stderr ? STREAM_STDERR : STREAM_STDOUT,
                .flags = LOG_RECORD_MARKER,
        };
        close_line(s, marker.stream, marker.time_ns);
        encode_own(s, &marker);
        s->n_markers++;
}

/* True while more of the same loss is sure to come. */
static bool
is_losing(const LogSink *s)
{
        return s->full || (!s->finished && (s->streams[STREAM_STDOUT].cut || s->streams[STREAM_STDERR].cut));
}

/* Announces what was dropped by a condition that has ended. */
static void
announce(LogSink *s)
{
        if (s->full && log_queue_memory(&s->queue) <= s->queue_max / 2)
                s->full = false;
        if (!log_losses_pending(&s->losses) || is_losing(s) || s->ended)
                return;
        bool limited = s->intake && log_intake_is_limited(s->intake) && !s->finished;
        for (LogDropCause i = 0; i < N_LOG_DROPS_ANNOUNCED; i++)
                if (s->losses.unannounced[i] > 0 && !(i == LOG_DROP_RATE && limited))
                        announce_cause(s, i);
}

static void
drop(LogSink *s, const LogRecord *r, LogDropCause cause)
{
        log_losses_add(&s->losses, cause, (LogCount){.records = 1, .bytes = r->payload});
        SinkStream *state = &s->streams[r->stream];
        state->lost = true;
        state->cut = (r->flags & LOG_RECORD_PARTIAL) != 0;
        state->cause = cause;
}

/* Drops the oldest message with the rest of its line. */
static bool
drop_line(LogSink *s, LogDropCause cause)
{
        LogDropped gone;
        if (!log_queue_drop_oldest(&s->queue, &gone))
                return false;
        log_losses_add(&s->losses, cause, gone.count);
        s->losses.unannounced[cause] += gone.announced;
        if (gone.open)
                s->streams[gone.stream] = (SinkStream){.lost = true, .cut = true, .cause = cause};
        return true;
}

/* Makes room for what was added last. False if that can't be done: a line that was
 * begun is to have its end. */
static bool
drop_oldest(LogSink *s)
{
        while (log_queue_memory(&s->queue) > s->queue_max) {
                if (log_queue_is_within_line(&s->queue) || !drop_line(s, LOG_DROP_FULL))
                        return false;
                s->full = true;
        }
        return true;
}

/* True if the container is to wait while the queue is full. */
static bool
blocks(const LogSink *s)
{
        return s->on_full == ON_FULL_BLOCK && (s->patient || !s->failing);
}

/* The last message made the queue longer than it may be. */
static void
handle_full(LogSink *s, const LogRecord *r, const SinkStream *before)
{
        if (blocks(s))
                return;
        if (s->on_full == ON_FULL_DROP_OLDEST && drop_oldest(s))
                return;
        log_queue_undo(&s->queue);
        s->streams[r->stream] = *before;
        if (log_queue_is_empty(&s->queue)) {
                /* Longer than the whole queue: taken nevertheless, or it could never be delivered. */
                encode(s, r, 1, r->payload);
                remember_last(s, r);
                return;
        }
        drop(s, r, LOG_DROP_FULL);
        s->full = true;
}

/* The careful way: a record at a time, while the queue is not being emptied or something was lost. */
static void
admit(LogSink *s, const LogRecord *r)
{
        SinkStream *state = &s->streams[r->stream];
        bool continues = (r->flags & LOG_RECORD_CONTINUES) != 0;
        state->cut &= continues;
        announce(s);
        if (s->ended) {
                drop(s, r, LOG_DROP_LIMIT);
        } else if (continues && state->lost) {
                drop(s, r, state->cause);
        } else if (s->full && s->on_full != ON_FULL_DROP_OLDEST) {
                drop(s, r, LOG_DROP_FULL);
        } else {
                if (!continues)
                        close_line(s, r->stream, r->time_ns);
                SinkStream before = *state;
                encode(s, r, 1, r->payload);
                remember_last(s, r);
                if (s->stalled && log_queue_memory(&s->queue) > s->queue_max)
                        handle_full(s, r, &before);
        }
}

/* True if all of the records can be encoded without looking at each. */
static bool
is_easy(LogSink *s, const LogRecord *records, size_t n, size_t payload)
{
        if (s->ended || s->full || log_losses_pending(&s->losses) || s->streams[records->stream].lost)
                return false;
        if (!s->stalled)
                return true;
        size_t frame = s->driver->bound(s->self, 0);
        size_t most = n * (frame + sizeof(LogEntry)) + s->driver->bound(s->self, payload) - frame;
        return log_queue_memory(&s->queue) + most <= s->queue_max;
}

void
log_sink_drop_first(LogSink *s)
{
        (void)drop_line(s, LOG_DROP_ENCODE);
}

void
log_sink_give_up_first(LogSink *s)
{
        (void)drop_line(s, LOG_DROP_END);
}

static void
admit_all(LogSink *s, const LogRecord *records, size_t n, size_t payload)
{
        if (is_easy(s, records, n, payload)) {
                encode(s, records, n, payload);
                remember_last(s, &records[n - 1]);
                return;
        }
        for (size_t i = 0; i < n; i++)
                admit(s, &records[i]);
}

static void
take_records(const LogRecord *records, size_t n, size_t payload, void *data)
{
        admit_all(data, records, n, payload);
}

static void
refuse_record(const LogRecord *r, bool limited, void *data)
{
        LogSink *s = data;
        if (limited)
                drop(s, r, LOG_DROP_RATE);
        else
                log_losses_add(&s->losses, LOG_DROP_FILTER, (LogCount){.records = 1, .bytes = r->payload});
}

void
log_sink_write(LogSink *s, const LogBatch *batch)
{
        if (s->intake) {
                log_intake_push(s->intake, batch, &s->in);
                return;
        }
        s->in.records += batch->n;
        s->in.bytes += batch->payload;
        admit_all(s, batch->records, batch->n, batch->payload);
}

/* Asks the caller to stop or to go on; tells that the last was sent. */
static void
tell_change(LogSink *s)
{
        size_t memory = blocks(s) ? log_queue_memory(&s->queue) : 0;
        bool full = memory > (s->blocked ? s->queue_max / 2 : s->queue_max);
        bool blocked = (full || (s->intake && log_intake_blocks(s->intake))) && !s->ended;
        bool drained = s->finished && log_queue_is_empty(&s->queue);
        if (blocked == s->blocked && !drained)
                return;
        s->blocked = blocked;
        if (s->changed)
                s->changed(s->changed_data);
}

void
log_sink_flush(LogSink *s)
{
        send_queue(s);
        if (log_losses_pending(&s->losses)) {
                announce(s);
                send_queue(s);
        }
        tell_change(s);
}

static void
on_retry(void *data)
{
        log_sink_flush(data);
}

void
log_sink_ready(LogSink *s)
{
        log_sink_flush(s);
}

bool
log_sink_wants(const LogSink *s, StreamId stream)
{
        return !s->blocked || (s->intake && !log_intake_has_stream(s->intake, stream));
}

void
log_sink_reopen(LogSink *s)
{
        if (!s->driver->reopen)
                return;
        int r = s->driver->reopen(s->self, &s->queue);
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
        log_queue_release(&s->queue);
        if (s->intake)
                log_intake_release(s->intake);
        if (s->driver->release)
                s->driver->release(s->self);
}

bool
log_sink_is_draining(const LogSink *s)
{
        if (s->finished && s->driver->busy && s->driver->busy(s->self))
                return true;
        return !log_queue_is_empty(&s->queue) && (!s->failing || s->driver->flags & LOG_DRIVER_REMOTE);
}

void
log_sink_abandon(LogSink *s)
{
        timer_stop(&s->retry);
        uint64_t before = s->losses.total[LOG_DROP_END].records;
        drop_queue(s, LOG_DROP_END);
        uint64_t n = s->losses.total[LOG_DROP_END].records - before;
        if (n > 0)
                diag_warn("Logging to %s: %" G_GUINT64_FORMAT
                          " records could not be delivered before the end",
                          target(s), n);
        s->ended = true;
        s->changed = NULL;
}

void
log_sink_finish(LogSink *s, bool sync)
{
        /* A last try, whatever the delay says. */
        timer_stop(&s->retry);
        if (s->intake)
                log_intake_flush(s->intake, &s->in);
        s->finished = true;
        log_sink_flush(s);
        if (s->driver->finish)
                s->driver->finish(s->self, &s->queue, sync);
        if (!log_sink_is_draining(s))
                log_sink_abandon(s);
}

gint64
log_sink_drain_time(const LogSink *s)
{
        return log_sink_is_draining(s) ? log_options_number(s->options, "drain-timeout") : 0;
}

static void
append_errors(const LogSink *s, GString *json)
{
        g_string_append_printf(json, "\"errors\":{\"count\":%" G_GUINT64_FORMAT ",\"last\":", s->n_errors);
        if (s->last_error) {
                const char *text = describe_error(s->last_error);
                json_append_string(json, text, strlen(text));
        } else {
                g_string_append(json, "null");
        }
        g_string_append_c(json, '}');
}

void
log_sink_status(const LogSink *s, GString *json)
{
        const char *state = s->ended ? "ended" : s->failing ? "failing" : s->stalled ? "waiting" : "ok";
        g_string_append_printf(json, "{\"driver\":\"%s\",\"target\":", s->driver->name);
        json_append_string(json, target(s), strlen(target(s)));
        g_string_append_printf(json, ",\"state\":\"%s\",", state);
        log_count_status("in", s->in, json);
        g_string_append_c(json, ',');
        log_count_status("out", s->queue.done, json);
        g_string_append_c(json, ',');
        log_losses_status(&s->losses, json);
        g_string_append_c(json, ',');
        log_count_status("queued", log_queue_waiting(&s->queue), json);
        g_string_append_printf(json,
                               ",\"queue\":{\"bytes\":%zu,\"max\":%zu},\"markers\":%" G_GUINT64_FORMAT ",",
                               log_queue_memory(&s->queue), s->queue_max, s->n_markers);
        append_errors(s, json);
        if (s->driver->status)
                s->driver->status(s->self, json);
        g_string_append_c(json, '}');
}
