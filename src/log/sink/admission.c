/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sink/admission.h"

#include "base/clock.h"

/* True if the destination did not accept everything that was sent. */
static bool
is_backlogged(const LogSink *s)
{
        return s->condition != SINK_OK;
}

/* A destination that asks for a pause is there: it has as much time as one that stalls. */
static bool
is_patient(const LogSink *s)
{
        return s->busy && g_get_monotonic_time() < s->moved_usec + s->stall_timeout;
}

/* True if the container waits for a full queue now. */
static bool
waits(const LogSink *s)
{
        switch (s->mode) {
        case MODE_BLOCKING:
                return s->block_on_error || s->condition != SINK_FAILING;
        case MODE_ADAPTIVE:
                return s->condition == SINK_FAILING ? is_patient(s) : s->condition != SINK_STALLED;
        default:
                return false;
        }
}

/* The size that the limit of the queue applies to. Unacknowledged messages may take up the same amount
 * again: waiting for each acknowledgement would not use the bandwidth of the network. */
static size_t
count_memory(const LogSink *s)
{
        size_t all = log_queue_memory(&s->queue), sent = log_queue_sent_memory(&s->queue);
        return all - MIN(MIN(sent, s->queue_max), all);
}

bool
sink_has_taken(const LogSink *s)
{
        return s->queue.taken > 0 || (s->transport->taken && s->transport->taken(s->self) > 0);
}

void
sink_review_admission(LogSink *s)
{
        size_t memory = count_memory(s);
        bool was_full = s->admission != SINK_ADMITS;
        if (s->condition == SINK_ENDED || memory <= (was_full ? s->queue_max / 2 : s->queue_max))
                s->admission = SINK_ADMITS;
        else if (waits(s))
                s->admission = SINK_HOLDS;
        else if (s->admission == SINK_HOLDS)
                s->admission = SINK_ADMITS;
}

/* ---- encoding ---- */

static size_t
sum_payload(const LogRecord *records, size_t n)
{
        size_t sum = 0;
        for (size_t i = 0; i < n; i++)
                sum += records[i].payload;
        return sum;
}

/* A block with room for the first record accepts at least that one. */
static void
encode(LogSink *s, const LogRecord *records, size_t n, size_t payload)
{
        while (n > 0) {
                size_t need = s->driver->format.max_encoded_len(s->self, records->len);
                if (!s->transport->may_stall && !is_backlogged(s) && s->queue.tail &&
                    !log_block_room(s->queue.tail, need))
                        sink_send(s);
                LogBlock *b = log_queue_block(&s->queue, need);
                size_t k = log_driver_encode(s->driver, s->self, records, n, b);
                size_t part = k == n ? payload : sum_payload(records, k);
                log_queue_added(b, (LogCount){.records = k, .bytes = part});
                payload -= part;
                records += k;
                n -= k;
        }
}

/* A record of the monitor itself, which is not counted as input. */
static void
encode_own(LogSink *s, const LogRecord *r)
{
        LogBlock *b = log_queue_block(&s->queue, s->driver->format.max_encoded_len(s->self, r->len));
        (void)log_driver_encode(s->driver, s->self, r, 1, b);
}

static void
remember_last(LogSink *s, const LogRecord *r)
{
        s->streams[r->stream] = (SinkStream){
                .line = r->flags & LOG_RECORD_PARTIAL ? LINE_BEGUN : LINE_WHOLE,
                .ordinal = r->ordinal,
                .partial_id = r->partial_id,
        };
}

/* ---- dropping ---- */

static bool
is_losing_line(const SinkStream *stream)
{
        return stream->line == LINE_LOSING || stream->line == LINE_LOSING_END;
}

/* True if a part of the line was logged or queued, and its end was not. */
static bool
is_open(const SinkStream *stream)
{
        return stream->line == LINE_BEGUN || stream->line == LINE_LOSING_END || stream->line == LINE_CUT;
}

static void
drop(LogSink *s, const LogRecord *r, LogDropCause cause)
{
        SinkStream *stream = &s->streams[r->stream];
        bool goes_on = (r->flags & LOG_RECORD_PARTIAL) != 0;
        log_losses_add(&s->losses, cause, (LogCount){.records = 1, .bytes = r->payload});
        if (is_open(stream))
                stream->line = goes_on ? LINE_LOSING_END : LINE_CUT;
        else
                stream->line = goes_on ? LINE_LOSING : LINE_WHOLE;
        stream->cause = cause;
}

/* Drops the oldest message with the rest of its line. False if that can't be done. */
static bool
drop_line(LogSink *s, LogDropCause cause)
{
        LogDropped gone;
        if (!log_queue_drop_oldest(&s->queue, &gone))
                return false;
        log_losses_add(&s->losses, cause, gone.count);
        s->losses.unannounced[cause] += gone.announced;
        SinkStream *stream = &s->streams[gone.stream];
        if (gone.open)
                *stream = (SinkStream){
                        .line = stream->line == LINE_CUT ? LINE_WHOLE : LINE_LOSING,
                        .cause = cause,
                };
        return true;
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

uint64_t
log_sink_decide(LogSink *s, const LogFate *fates, size_t n)
{
        LogCount refused = {0};
        log_queue_decide(&s->queue, fates, n, &refused);
        log_losses_add(&s->losses, LOG_DROP_REFUSED, refused);
        return refused.records;
}

/* Ends a line whose rest was lost, so that readers don't join it with the next one. */
static void
close_line(LogSink *s, StreamId id, int64_t now_ns)
{
        SinkStream *stream = &s->streams[id];
        if (!is_open(stream))
                return;
        LogRecord end = {
                .bytes = "\n",
                .ordinal = stream->ordinal + 1,
                .time_ns = now_ns,
                .partial_id = stream->partial_id,
                .stream = (uint8_t)id,
                .flags = LOG_RECORD_CONTINUES | LOG_RECORD_MARKER,
        };
        stream->line = stream->line == LINE_LOSING_END ? LINE_LOSING : LINE_WHOLE;
        encode_own(s, &end);
}

/* ---- reporting losses ---- */

/* Reports in the stream how many records were dropped for one cause. */
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

/* True while records are still being dropped for this cause. */
static bool
is_losing(const LogSink *s)
{
        return s->admission == SINK_LOSES ||
               (s->phase < SINK_STOPPED &&
                (is_losing_line(&s->streams[STREAM_STDOUT]) || is_losing_line(&s->streams[STREAM_STDERR])));
}

void
sink_announce(LogSink *s)
{
        sink_review_admission(s);
        if (!log_losses_pending(&s->losses) || is_losing(s) || s->condition == SINK_ENDED)
                return;
        bool limited = s->intake && log_intake_is_limited(s->intake) && s->phase < SINK_STOPPED;
        for (LogDropCause i = 0; i < N_LOG_DROPS; i++)
                if (log_losses_are_due(&s->losses, i) && !(i == LOG_DROP_RATE && limited))
                        announce_cause(s, i);
}

/* ---- admission ---- */

/* Why the queue is full. */
static LogDropCause
full_cause(const LogSink *s)
{
        bool connected = (s->condition != SINK_FAILING || s->busy) && sink_has_taken(s);
        bool has_server = s->driver->flags & (LOG_DRIVER_REMOTE | LOG_DRIVER_LOCAL_SERVER);
        if (s->refused)
                return LOG_DROP_REFUSED;
        return connected || !has_server ? LOG_DROP_FULL : LOG_DROP_NOT_CONNECTED;
}

/* Drops old lines until `need` more bytes of memory fit into the queue. False if that is impossible or not
 * wanted: the end of a started line is never dropped for it, nor a partially sent message. An empty queue
 * accepts any record, because otherwise a record larger than the queue could never be delivered. */
static bool
make_room(LogSink *s, size_t need)
{
        while (!log_queue_is_empty(&s->queue) && count_memory(s) + need > s->queue_max) {
                if (s->on_full != ON_FULL_DROP_OLDEST || s->sending || log_queue_is_within_line(&s->queue) ||
                    !drop_line(s, full_cause(s)))
                        return false;
                s->admission = SINK_LOSES;
        }
        return true;
}

/* Adds a record to the queue, or drops it if it is full. Its size is known after encoding; it is removed
 * again before other records are dropped for it. */
static void
add(LogSink *s, const LogRecord *r)
{
        encode(s, r, 1, r->payload);
        if (!is_backlogged(s) || waits(s) || count_memory(s) <= s->queue_max) {
                remember_last(s, r);
                return;
        }
        bool has_room = make_room(s, log_queue_undo(&s->queue));
        bool continues = (r->flags & LOG_RECORD_CONTINUES) != 0;
        if (has_room && !(continues && is_losing_line(&s->streams[r->stream]))) {
                encode(s, r, 1, r->payload);
                remember_last(s, r);
                return;
        }
        drop(s, r, full_cause(s));
        s->admission = SINK_LOSES;
}

/* Slow path: one record at a time, while there is a backlog or records were dropped. */
static void
admit_one(LogSink *s, const LogRecord *r)
{
        SinkStream *stream = &s->streams[r->stream];
        bool continues = (r->flags & LOG_RECORD_CONTINUES) != 0;
        if (!continues && is_losing_line(stream))
                stream->line = stream->line == LINE_LOSING ? LINE_WHOLE : LINE_CUT;
        sink_announce(s);
        if (s->condition == SINK_ENDED) {
                drop(s, r, LOG_DROP_LIMIT);
        } else if (continues && (is_losing_line(stream) || stream->line == LINE_CUT)) {
                drop(s, r, stream->cause);
        } else if (s->admission == SINK_LOSES && s->on_full != ON_FULL_DROP_OLDEST) {
                drop(s, r, full_cause(s));
        } else {
                if (!continues)
                        close_line(s, r->stream, r->time_ns);
                add(s, r);
        }
}

/* True if all records can be encoded without checking each. */
static bool
is_easy(LogSink *s, const LogRecord *records, size_t n, size_t payload)
{
        LineState line = s->streams[records->stream].line;
        if (s->condition == SINK_ENDED || s->admission == SINK_LOSES || log_losses_pending(&s->losses) ||
            (line != LINE_WHOLE && line != LINE_BEGUN))
                return false;
        if (!is_backlogged(s))
                return true;
        const LogFormat *format = &s->driver->format;
        size_t frame = format->max_encoded_len(s->self, 0);
        size_t most = n * (frame + sizeof(LogEntry)) + format->max_encoded_len(s->self, payload) - frame;
        return count_memory(s) + most <= s->queue_max;
}

void
sink_admit(const LogRecord *records, size_t n, size_t payload, void *sink)
{
        LogSink *s = sink;
        if (is_easy(s, records, n, payload)) {
                encode(s, records, n, payload);
                remember_last(s, &records[n - 1]);
                return;
        }
        for (size_t i = 0; i < n; i++)
                admit_one(s, &records[i]);
}

void
sink_refuse(const LogRecord *r, bool limited, void *sink)
{
        LogSink *s = sink;
        if (limited)
                drop(s, r, LOG_DROP_RATE);
        else
                log_losses_add(&s->losses, LOG_DROP_FILTER, (LogCount){.records = 1, .bytes = r->payload});
}
