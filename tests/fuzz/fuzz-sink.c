/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sink/audit.h"
#include "log/sink/change.h"
#include "log/sink/state.h"

#include "fuzz.h"

#include <errno.h>

/* A sink with each policy, and a destination with partial sends, failures, lost unacknowledged messages and
 * stalls. Received messages are counted here, and must agree with the sink's counters. */

typedef struct {
        size_t room;       /* bytes that are still accepted */
        int failure;       /* -errno of the next sends */
        bool forgets;      /* after a failure a partially sent message is sent again */
        bool acknowledges; /* messages are acknowledged later */
        size_t n_sent;     /* messages without an acknowledgement */
        LogCount out;
        uint64_t announced; /* according to received markers */
} Peer;

static Peer peer;

/* The header of a message; the record's bytes follow. */
typedef struct {
        uint32_t len, payload;
        bool marker;
} Head;

static gboolean
peer_open(void *self, const LogDriverConfig *config, GError **error)
{
        return TRUE;
}

static size_t
peer_max_encoded_len(void *self, size_t len)
{
        return sizeof(Head) + len;
}

static char *
peer_put(void *self, const LogRecord *r, char *at)
{
        Head head = {r->len, r->payload, (r->flags & LOG_RECORD_MARKER) != 0};
        return mempcpy(mempcpy(at, &head, sizeof head), r->bytes, r->len);
}

static void
count_first(LogQueue *q)
{
        Head head;
        memcpy(&head, q->head->bytes + q->head->start, sizeof head);
        if (head.marker) {
                peer.announced += head.payload;
                return;
        }
        peer.out.records++;
        peer.out.bytes += head.payload;
}

/* The oldest one that was not dropped: the one that log_queue_done removes. */
static void
acknowledge(LogQueue *q)
{
        const LogEntry *e = log_block_entry(q->head, q->head->first);
        g_assert_false(e->dead);
        count_first(q);
        log_queue_done(q, 1);
}

static void
send_bytes(LogQueue *q)
{
        const char *bytes;
        for (size_t len; peer.room > 0 && (len = log_queue_next(q, SIZE_MAX, &bytes)) > 0;) {
                size_t message = log_queue_next_len(q);
                size_t k = MIN(MIN(len, message - q->partially_sent), peer.room);
                peer.room -= peer.room == SIZE_MAX ? 0 : k;
                bool whole = q->partially_sent + k == message;
                if (peer.acknowledges) {
                        log_queue_sent(q, k);
                        peer.n_sent += whole;
                        continue;
                }
                if (whole) {
                        Head head;
                        memcpy(&head, bytes - q->partially_sent, sizeof head);
                        peer.out.records += !head.marker;
                        peer.out.bytes += head.marker ? 0 : head.payload;
                        peer.announced += head.marker ? head.payload : 0;
                }
                log_queue_wrote(q, k);
                log_audit_queue(q);
        }
}

static int
peer_send(void *self, LogQueue *q)
{
        if (peer.failure && (peer.forgets || peer.acknowledges)) {
                peer.n_sent = 0;
                log_queue_rewind(q);
        }
        if (peer.failure)
                return peer.failure;
        send_bytes(q);
        if (peer.room == SIZE_MAX)
                for (; peer.n_sent > 0; peer.n_sent--)
                        acknowledge(q);
        log_audit_queue(q);
        return log_queue_is_empty(q) ? 0 : LOG_SEND_WAIT;
}

static int
peer_reopen(void *self, LogQueue *q)
{
        return peer.failure;
}

static void
peer_close(void *self)
{
}

static const LogTransport transport = {.send = peer_send, .reopen = peer_reopen, .close = peer_close};

static const LogDriver driver = {
        .name = "peer",
        .flags = LOG_DRIVER_REMOTE,
        .size = 1,
        .format = {peer_put, peer_max_encoded_len},
        .transport = &transport,
        .open = peer_open,
};

static const LogConfig config = {.cid = "0123456789abcdef"};

static LogOptions *
make_options(uint8_t choice)
{
        static const char *const settings[][2] = {
                {"mode", "blocking"},       {"mode", "non-blocking"}, {"mode", "adaptive"},
                {"on-full", "drop-oldest"}, {"on-full", "block"},     {"max-record", "64"},
        };
        LogOptions *o = log_sink_options(&driver);
        int mode = choice % 4;
        if (mode < 3)
                (void)log_options_set(o, settings[mode][0], settings[mode][1], NULL);
        if (choice & 4)
                (void)log_options_set(o, settings[mode == 0 || mode == 3 ? 4 : 3][0],
                                      settings[mode == 0 || mode == 3 ? 4 : 3][1], NULL);
        if (choice & 8)
                (void)log_options_set(o, settings[5][0], settings[5][1], NULL);
        return o;
}

static LogSink *
make_sink(uint8_t choice)
{
        peer = (Peer){.forgets = choice & 16, .acknowledges = choice & 32};
        g_autoptr(LogOptions) options = make_options(choice);
        LogSink *s = log_sink_new(&(LogSinkSetup){.driver = &driver, .options = options}, &config, NULL);
        g_assert_nonnull(s);
        s->queue_max = 300;
        log_sink_start(s, NULL, NULL);
        return s;
}

/* As a reload does it. */
static void
change_options(LogSink *s, uint8_t choice)
{
        LogSinkChange change;
        g_assert_true(log_sink_prepare(s, make_options(choice), &config, &change, NULL));
        if (choice & 64)
                log_sink_change_done(&change);
        else
                log_sink_apply(&change, &config);
        s->queue_max = 300;
}

/* A complete or partial record, as from the splitter. */
static void
write_record(LogSink *s, LogRecord *lines, uint8_t a, uint8_t b, LogCount *in)
{
        static const char text[] = "0123456789012345678901234567890123456789012345678901234567890123\n";
        LogRecord *line = &lines[a & 1];
        bool partial = a & 2;
        LogRecord r = {
                .bytes = text + 64 - b % 65,
                .len = b % 65,
                .payload = b % 65 + !partial,
                .stream = a & 1,
                .time_ns = 1,
                .flags = (uint8_t)((partial ? LOG_RECORD_PARTIAL : 0) |
                                   (line->flags & LOG_RECORD_PARTIAL ? LOG_RECORD_CONTINUES : 0)),
        };
        if (r.payload == 0)
                return;
        if (r.flags)
                r.ordinal = line->flags & LOG_RECORD_PARTIAL ? line->ordinal + 1 : 1;
        *line = r;
        in->bytes += r.payload;
        log_sink_write(s, &(LogBatch){.records = &r, .n = 1, .payload = r.payload, .stream = r.stream});
}

static void
act(LogSink *s, LogRecord *lines, uint8_t a, uint8_t b, LogCount *in)
{
        switch (a >> 5) {
        case 0:
        case 1:
        case 2:
                write_record(s, lines, a, b, in);
                break;
        case 3:
                log_sink_flush(s);
                break;
        case 4:
                peer.room = b == 255 ? SIZE_MAX : b;
                log_sink_ready(s);
                break;
        case 5:
                peer.failure = b & 1 ? -EIO : 0;
                break;
        case 6:
                log_sink_reopen(s);
                break;
        default:
                if (a & 16)
                        change_options(s, b);
                if (s->condition == SINK_WAITING && s->mode == MODE_ADAPTIVE)
                        s->condition = SINK_STALLED;
                log_sink_release(s);
        }
}

static LogCount
sum_losses(const LogSink *s)
{
        LogCount sum = {0};
        for (LogDropCause i = 0; i < N_LOG_DROPS; i++) {
                sum.records += s->losses.total[i].records;
                sum.bytes += s->losses.total[i].bytes;
        }
        return sum;
}

static void
check(const LogSink *s)
{
        LogCount queued = log_queue_queued(&s->queue), lost = sum_losses(s);
        log_audit_queue(&s->queue);
        g_assert_cmpuint(s->queue.done.records, ==, peer.out.records);
        g_assert_cmpuint(s->queue.done.bytes, ==, peer.out.bytes);
        g_assert_cmpuint(s->in.records, ==, peer.out.records + queued.records + lost.records);
        g_assert_cmpuint(s->in.bytes, ==, peer.out.bytes + queued.bytes + lost.bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        fuzz_be_quiet();
        LogSink *s = make_sink(data[0]);
        LogRecord lines[N_STREAMS] = {{0}};
        LogCount in = {0};
        for (size_t i = 1; i + 1 < size; i += 2) {
                act(s, lines, data[i], data[i + 1], &in);
                check(s);
        }
        peer.failure = 0;
        peer.room = SIZE_MAX;
        log_sink_reopen(s);
        log_sink_finish(s, false);
        check(s);
        g_assert_true(log_queue_is_empty(&s->queue));
        g_assert_cmpuint(s->in.bytes, ==, in.bytes);
        g_assert_cmpuint(sum_losses(s).records, ==, peer.announced);
        log_sink_free(s);
        return 0;
}
