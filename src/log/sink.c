#include "log/sink.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/error.h"
#include "base/json.h"
#include "base/watch.h"

#include <stdio.h>
#include <string.h>

#define RETRY_FIRST_USEC (100 * 1000)
#define RETRY_MAX_USEC   (2 * 1000 * 1000)

typedef enum {
        ON_FULL_DROP_NEWEST,
        ON_FULL_DROP_OLDEST,
        ON_FULL_BLOCK,
} OnFull;

/* What was admitted last of a stream, and whether something was dropped since. */
typedef struct {
        bool open; /* the line is not finished */
        bool lost;
        LogDropCause cause; /* of the loss */
        uint32_t ordinal;
        uint64_t partial_id;
} StreamState;

struct LogSink {
        const LogDriver *driver;
        void *self;
        LogOptions *options;
        LogQueue queue;
        size_t queue_max;
        OnFull on_full;
        bool started;
        bool finished; /* nothing will be written any more */
        bool ended;   /* takes nothing any more */
        bool stalled; /* the last send did not send all */
        bool full;    /* records were dropped, and will be until the queue is half empty */
        bool blocked; /* the caller was asked to stop */
        int failing;  /* -errno of the last send, or 0 */
        int last_error;
        uint64_t n_errors;
        unsigned attempt;
        Timer retry;
        StreamState streams[N_STREAMS];
        LogCount in;
        LogCount dropped[N_LOG_DROPS];
        uint64_t unannounced[N_LOG_DROPS]; /* records */
        uint64_t n_markers;
        LogSinkChangedFunc changed;
        void *changed_data;
};

static const char *const cause_texts[N_LOG_DROPS] = {
        [LOG_DROP_FULL] = "queue full",     [LOG_DROP_LIMIT] = "size limit reached",
        [LOG_DROP_RATE] = "rate limit",     [LOG_DROP_FILTER] = "filtered",
        [LOG_DROP_ENCODE] = "not encodable", [LOG_DROP_END] = "container ended",
};

/* As the status file has them. */
static const char *const cause_names[N_LOG_DROPS] = {
        [LOG_DROP_FULL] = "queue-full", [LOG_DROP_LIMIT] = "size-limit", [LOG_DROP_RATE] = "rate-limit",
        [LOG_DROP_FILTER] = "filtered", [LOG_DROP_ENCODE] = "encoding",  [LOG_DROP_END] = "container-ended",
};

const LogOption *
log_sink_options(void)
{
        static const LogOption options[] = {
                {"mode", LOG_OPTION_ENUM, "non-blocking", "whether the container waits while the queue is full",
                 .choices = "blocking|non-blocking"},
                {"on-full", LOG_OPTION_ENUM, NULL, "what happens while the queue is full",
                 .choices = "drop-newest|drop-oldest|block"},
                {"max-buffer-size", LOG_OPTION_BINARY_SIZE, "256k", "size of the queue", .max = 1 << 30},
                {"drain-timeout", LOG_OPTION_DURATION, "2s", "how long the end may wait for what is queued",
                 .max = 12 * 1000 * 1000},
                {NULL},
        };
        return options;
}

static const char *
target(const LogSink *s)
{
        return s->driver->target ? s->driver->target(s->self) : s->driver->name;
}

static gboolean
read_options(LogSink *s, GError **error)
{
        const LogOptions *o = s->options;
        bool blocking = strcmp(log_options_string(o, "mode"), "blocking") == 0;
        s->on_full = blocking ? ON_FULL_BLOCK : ON_FULL_DROP_NEWEST;
        if (log_options_has(o, "on-full"))
                s->on_full = (OnFull)log_options_number(o, "on-full");
        if (log_options_has(o, "mode") && blocking != (s->on_full == ON_FULL_BLOCK))
                return error_set(error, CONMON_ERROR_USAGE, "Log driver %s: mode=%s and on-full=%s contradict each other",
                                 s->driver->name, log_options_string(o, "mode"), log_options_string(o, "on-full"));
        s->queue_max = (size_t)log_options_number(o, "max-buffer-size");
        return TRUE;
}

static void retry_send(void *data);

LogSink *
log_sink_new(const LogDriver *driver, LogOptions *options, const char *arg, const LogConfig *log,
             bool from_log_path, GError **error)
{
        LogSink *s = g_new0(LogSink, 1);
        s->driver = driver;
        s->options = options;
        timer_init(&s->retry, retry_send, s);
        LogDriverConfig config = {
                .sink = s,
                .arg = arg,
                .options = options,
                .log = log,
                .from_log_path = from_log_path,
        };
        if (read_options(s, error))
                s->self = driver->open(&config, error);
        if (s->self)
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

static void
drop(LogSink *s, const LogRecord *r, LogDropCause cause)
{
        s->dropped[cause].records++;
        s->dropped[cause].bytes += log_record_payload(r);
        s->unannounced[cause]++;
        s->streams[r->stream].lost = true;
        s->streams[r->stream].cause = cause;
}

static void
count_dropped(LogSink *s, LogDropCause cause, LogCount count)
{
        s->dropped[cause].records += count.records;
        s->dropped[cause].bytes += count.bytes;
        s->unannounced[cause] += count.records;
}

/* The first failure in a row is told, and scheduled is always another try. */
static void
note_failure(LogSink *s, int r)
{
        if (!s->failing)
                diag_warn("Logging to %s failed: %s; up to %zu bytes are kept until it works again", target(s),
                          g_strerror(-r), s->queue_max);
        s->n_errors++;
        s->failing = s->last_error = r;
        int64_t wait = (int64_t)RETRY_FIRST_USEC << MIN(s->attempt, 10u);
        s->attempt++;
        timer_start(&s->retry, MIN(wait, RETRY_MAX_USEC));
}

static void
note_success(LogSink *s)
{
        if (s->failing)
                diag_warn("Logging to %s works again", target(s));
        s->failing = 0;
        s->attempt = 0;
        timer_stop(&s->retry);
}

static void
note_end(LogSink *s)
{
        LogCount gone = {0};
        log_queue_clear(&s->queue, &gone);
        count_dropped(s, LOG_DROP_LIMIT, gone);
        if (!s->ended)
                diag_warn("Logging to %s has ended: its size limit is reached", target(s));
        s->ended = true;
}

/* Lets the driver work, unless it failed and its next try is set. */
static void
send_queue(LogSink *s)
{
        if (!s->started || timer_is_running(&s->retry))
                return;
        int r = s->driver->send(s->self, &s->queue);
        s->stalled = r != 0;
        if (r < 0) {
                note_failure(s, r);
                return;
        }
        note_success(s);
        if (r == LOG_SEND_ENDED)
                note_end(s);
}

/* Encodes what may be added to the queue. A block with room for the first record takes that one at least. */
static void
encode_all(LogSink *s, const LogRecord *records, size_t n, size_t payload)
{
        while (n > 0) {
                size_t need = s->driver->bound(s->self, records->len);
                if (!s->stalled && s->queue.tail && !log_block_room(s->queue.tail, need))
                        send_queue(s);
                LogBlock *b = log_queue_block(&s->queue, need);
                size_t k = s->driver->encode(s->self, records, n, b);
                size_t part = payload;
                if (k < n) {
                        part = 0;
                        for (size_t i = 0; i < k; i++)
                                part += log_record_payload(&records[i]);
                }
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
        s->streams[r->stream] = (StreamState){
                .open = (r->flags & LOG_RECORD_PARTIAL) != 0,
                .ordinal = r->ordinal,
                .partial_id = r->partial_id,
        };
}

/* Ends a line whose rest was lost, so that no reader joins it with what comes next. */
static void
close_line(LogSink *s, StreamId stream, int64_t now_ns)
{
        StreamState *state = &s->streams[stream];
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
        char text[128];
        int64_t now_ns = clock_realtime_ns();
        uint64_t n = s->unannounced[cause];
        int len = snprintf(text, sizeof text, "conmon: %" G_GUINT64_FORMAT " record%s dropped: %s\n", n,
                           n == 1 ? "" : "s", cause_texts[cause]);
        close_line(s, STREAM_STDERR, now_ns);
        LogRecord marker = {
                .bytes = text,
                .len = (uint32_t)len - 1,
                .time_ns = now_ns,
                .stream = STREAM_STDERR,
                .flags = LOG_RECORD_MARKER,
        };
        s->unannounced[cause] = 0;
        s->n_markers++;
        encode_own(s, &marker);
}

static bool
is_unannounced(const LogSink *s)
{
        return s->unannounced[LOG_DROP_FULL] || s->unannounced[LOG_DROP_RATE] || s->unannounced[LOG_DROP_ENCODE];
}

/* Announces what was dropped by a condition that has ended. */
static void
announce(LogSink *s)
{
        if (s->full && log_queue_memory(&s->queue) <= s->queue_max / 2)
                s->full = false;
        if (s->full || s->ended)
                return;
        static const LogDropCause causes[] = {LOG_DROP_FULL, LOG_DROP_RATE, LOG_DROP_ENCODE};
        for (size_t i = 0; i < G_N_ELEMENTS(causes); i++)
                if (s->unannounced[causes[i]] > 0)
                        announce_cause(s, causes[i]);
}

/* Makes room for what was added last. False if that is not possible. */
static bool
drop_oldest(LogSink *s)
{
        while (log_queue_memory(&s->queue) > s->queue_max) {
                StreamId stream;
                bool open;
                LogCount gone = {0};
                if (!log_queue_drop_oldest(&s->queue, &gone, &stream, &open))
                        return false;
                count_dropped(s, LOG_DROP_FULL, gone);
                s->full = true;
                if (open)
                        s->streams[stream] = (StreamState){.lost = true, .cause = LOG_DROP_FULL};
        }
        return true;
}

/* The last message made the queue longer than it may be. */
static void
handle_full(LogSink *s, const LogRecord *r, const StreamState *before)
{
        if (s->on_full == ON_FULL_BLOCK)
                return;
        if (s->on_full == ON_FULL_DROP_OLDEST && drop_oldest(s))
                return;
        log_queue_undo(&s->queue);
        s->streams[r->stream] = *before;
        if (log_queue_is_empty(&s->queue)) {
                /* Longer than the whole queue: taken nevertheless, or it could never be delivered. */
                encode_all(s, r, 1, log_record_payload(r));
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
        StreamState *state = &s->streams[r->stream];
        bool rest = state->lost && (r->flags & LOG_RECORD_CONTINUES);
        announce(s);
        if (s->ended || rest || (s->full && s->on_full == ON_FULL_DROP_NEWEST)) {
                drop(s, r, s->ended ? LOG_DROP_LIMIT : rest ? state->cause : LOG_DROP_FULL);
                return;
        }
        if (!(r->flags & LOG_RECORD_CONTINUES))
                close_line(s, r->stream, r->time_ns);
        StreamState before = *state;
        encode_all(s, r, 1, log_record_payload(r));
        remember_last(s, r);
        if (s->stalled && log_queue_memory(&s->queue) > s->queue_max)
                handle_full(s, r, &before);
}

/* True if all of the batch can be encoded without looking at each record. */
static bool
is_easy(LogSink *s, const LogRecord *records, size_t n, size_t payload)
{
        if (s->ended || s->full || is_unannounced(s) || s->streams[records->stream].lost)
                return false;
        if (!s->stalled)
                return true;
        size_t frame = s->driver->bound(s->self, 0);
        size_t most = n * (frame + sizeof(LogEntry)) + s->driver->bound(s->self, payload) - frame;
        return log_queue_memory(&s->queue) + most <= s->queue_max;
}

/* Asks the caller to stop or to go on; tells that the last was sent. */
static void
tell_change(LogSink *s)
{
        size_t memory = s->on_full == ON_FULL_BLOCK ? log_queue_memory(&s->queue) : 0;
        bool blocked = memory > (s->blocked ? s->queue_max / 2 : s->queue_max) && !s->ended;
        bool drained = s->finished && log_queue_is_empty(&s->queue);
        if (blocked == s->blocked && !drained)
                return;
        s->blocked = blocked;
        if (s->changed)
                s->changed(s->changed_data);
}

void
log_sink_write(LogSink *s, const LogBatch *batch)
{
        s->in.records += batch->n;
        s->in.bytes += batch->payload;
        if (is_easy(s, batch->records, batch->n, batch->payload)) {
                encode_all(s, batch->records, batch->n, batch->payload);
                remember_last(s, &batch->records[batch->n - 1]);
                return;
        }
        for (size_t i = 0; i < batch->n; i++)
                admit(s, &batch->records[i]);
}

void
log_sink_flush(LogSink *s)
{
        send_queue(s);
        if (is_unannounced(s)) {
                announce(s);
                send_queue(s);
        }
        tell_change(s);
}

static void
retry_send(void *data)
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
        return !s->blocked;
}

void
log_sink_reopen(LogSink *s)
{
        if (!s->driver->reopen)
                return;
        int r = s->driver->reopen(s->self, &s->queue);
        if (r < 0)
                note_failure(s, r);
        else
                log_sink_flush(s);
}

void
log_sink_release(LogSink *s)
{
        log_queue_release(&s->queue);
        if (s->driver->release)
                s->driver->release(s->self);
}

void
log_sink_finish(LogSink *s, bool sync)
{
        /* A last try, whatever the delay says. */
        timer_stop(&s->retry);
        s->finished = true;
        log_sink_flush(s);
        if (s->driver->finish)
                s->driver->finish(s->self, &s->queue, sync);
}

bool
log_sink_is_draining(const LogSink *s)
{
        return !log_queue_is_empty(&s->queue) && (!s->failing || s->driver->flags & LOG_DRIVER_REMOTE);
}

void
log_sink_abandon(LogSink *s)
{
        timer_stop(&s->retry);
        LogCount gone = {0};
        log_queue_clear(&s->queue, &gone);
        if (gone.records > 0)
                diag_warn("Logging to %s: %" G_GUINT64_FORMAT " records could not be delivered before the end",
                          target(s), gone.records);
        count_dropped(s, LOG_DROP_END, gone);
        s->ended = true;
        s->changed = NULL;
}

gint64
log_sink_drain_time(const LogSink *s)
{
        return log_sink_is_draining(s) ? log_options_number(s->options, "drain-timeout") : 0;
}

static void
append_count(GString *json, const char *name, LogCount count)
{
        g_string_append_printf(json, "\"%s\":{\"records\":%" G_GUINT64_FORMAT ",\"bytes\":%" G_GUINT64_FORMAT "}", name,
                               count.records, count.bytes);
}

static void
append_dropped(const LogSink *s, GString *json)
{
        g_string_append(json, ",\"dropped\":{");
        for (int i = 0; i < N_LOG_DROPS; i++) {
                if (i > 0)
                        g_string_append_c(json, ',');
                append_count(json, cause_names[i], s->dropped[i]);
        }
        g_string_append_c(json, '}');
}

static void
append_errors(const LogSink *s, GString *json)
{
        g_string_append_printf(json, ",\"errors\":{\"count\":%" G_GUINT64_FORMAT ",\"last\":", s->n_errors);
        if (s->last_error) {
                const char *text = g_strerror(-s->last_error);
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
        append_count(json, "in", s->in);
        g_string_append_c(json, ',');
        append_count(json, "out", s->queue.done);
        append_dropped(s, json);
        g_string_append_c(json, ',');
        append_count(json, "queued", log_queue_waiting(&s->queue));
        g_string_append_printf(json, ",\"queue\":{\"bytes\":%zu,\"max\":%zu},\"markers\":%" G_GUINT64_FORMAT,
                               log_queue_memory(&s->queue), s->queue_max, s->n_markers);
        append_errors(s, json);
        if (s->driver->status)
                s->driver->status(s->self, json);
        g_string_append_c(json, '}');
}
