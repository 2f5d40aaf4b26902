/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sink/change.h"
#include "log/sink/state.h"
#include "log/split.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* A driver that delivers to a string, a given number of bytes at a time, or fails on request. */
typedef struct {
        LogSink *sink;
        GString *out;
        size_t room; /* bytes it still accepts */
        int failure; /* -errno to return */
        int sends;
        bool breaks; /* on failure the bytes of a partially sent message are sent again */

        /* Messages are acknowledged later; on failure unacknowledged ones are sent again. */
        bool acknowledges;
        GRand *rand;
        GQueue sent;   /* of sizes: number of messages and of bytes, alternately */
        size_t unsure; /* the total of these bytes */
} Pipe;

static Pipe *pipe_opened;

static gboolean
pipe_open(void *data, const LogDriverConfig *config, GError **error)
{
        Pipe *p = data;
        p->sink = config->sink;
        p->out = g_string_new(NULL);
        p->room = SIZE_MAX;
        pipe_opened = p;
        return TRUE;
}

/* "[content]" for a line, "[content" for the first part of one, "content" and "content]" for the next. */
static char *
pipe_put(void *data, const LogRecord *r, char *at)
{
        if (!(r->flags & LOG_RECORD_CONTINUES))
                at = g_stpcpy(at, r->stream == STREAM_STDERR ? "err[" : "[");
        at = mempcpy(at, r->bytes, r->len);
        if (!(r->flags & LOG_RECORD_PARTIAL))
                *at++ = ']';
        return at;
}

static size_t
pipe_max_encoded_len(void *data, size_t len)
{
        return len + 5;
}

static void
acknowledge_some(Pipe *p, LogQueue *q)
{
        while (!g_queue_is_empty(&p->sent) && (p->room == SIZE_MAX || g_rand_boolean(p->rand))) {
                log_queue_done(q, GPOINTER_TO_SIZE(g_queue_pop_head(&p->sent)));
                p->unsure -= GPOINTER_TO_SIZE(g_queue_pop_head(&p->sent));
        }
}

static int
send_acknowledged(Pipe *p, LogQueue *q)
{
        const char *bytes;
        if (p->failure) {
                g_string_truncate(p->out, p->out->len - p->unsure);
                g_queue_clear(&p->sent);
                p->unsure = 0;
                log_queue_rewind(q);
                return p->failure;
        }
        acknowledge_some(p, q);
        for (size_t len; p->room > 0 && (len = log_queue_next(q, p->room, &bytes)) > 0;) {
                g_queue_push_tail(&p->sent, GSIZE_TO_POINTER(log_queue_count(q, len)));
                g_queue_push_tail(&p->sent, GSIZE_TO_POINTER(len));
                g_string_append_len(p->out, bytes, (gssize)len);
                log_queue_sent(q, len);
                p->unsure += len;
                p->room -= p->room == SIZE_MAX ? 0 : len;
        }
        acknowledge_some(p, q);
        return log_queue_is_empty(q) ? 0 : LOG_SEND_WAIT;
}

static int
pipe_reopen(void *data, LogQueue *q)
{
        return ((Pipe *)data)->failure;
}

static int
pipe_send(void *data, LogQueue *q)
{
        Pipe *p = data;
        p->sends++;
        if (p->acknowledges)
                return send_acknowledged(p, q);
        if (p->failure && p->breaks) {
                g_string_truncate(p->out, p->out->len - q->partially_sent);
                log_queue_rewind(q);
        }
        if (p->failure)
                return p->failure;
        const char *bytes;
        for (size_t len; p->room > 0 && (len = log_queue_next(q, SIZE_MAX, &bytes)) > 0;) {
                len = MIN(len, p->room);
                g_string_append_len(p->out, bytes, (gssize)len);
                p->room -= len;
                log_queue_wrote(q, len);
        }
        return log_queue_is_empty(q) ? 0 : LOG_SEND_WAIT;
}

static void
pipe_close(void *data)
{
        Pipe *p = data;
        g_string_free(p->out, TRUE);
        g_queue_clear(&p->sent);
}

static const LogTransport pipe_transport = {.send = pipe_send, .reopen = pipe_reopen, .close = pipe_close};

static const LogDriver pipe_driver = {
        .name = "pipe",
        .size = sizeof(Pipe),
        .format = {pipe_put, pipe_max_encoded_len},
        .transport = &pipe_transport,
        .open = pipe_open,
};

/* "<line>" on stdout, "{LINE}" on stderr, in parts; "#12 records dropped…#" for a marker. */
static char *
plain_put(void *data, const LogRecord *r, char *at)
{
        bool announces = r->flags & LOG_RECORD_MARKER && r->len > 0;
        const char *marks = announces ? "##" : r->stream == STREAM_STDOUT ? "<>" : "{}";
        if (!(r->flags & LOG_RECORD_CONTINUES))
                *at++ = marks[0];
        at = mempcpy(at, r->bytes, r->len);
        if (!(r->flags & LOG_RECORD_PARTIAL))
                *at++ = marks[1];
        return at;
}

static const LogDriver plain_driver = {
        .name = "plain",
        .size = sizeof(Pipe),
        .format = {plain_put, pipe_max_encoded_len},
        .transport = &pipe_transport,
        .open = pipe_open,
};

typedef struct {
        LogSink *sink;
        Pipe *pipe;
        LogSplitter splitters[N_STREAMS];
        int changes;
} Case;

static void
on_change(void *data)
{
        ((Case *)data)->changes++;
}

/* An option as KEY=VALUE; "queue=N" is a queue of N bytes, which may be less than the option allows. */
static void
set_option(LogOptions *o, const char *text, size_t *queue_max)
{
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) pair = g_strsplit(text, "=", 2);
        if (strcmp(pair[0], "queue") == 0)
                *queue_max = (size_t)atoi(pair[1]);
        else
                (void)log_options_set(o, pair[0], pair[1], &error);
        g_assert_no_error(error);
}

static void
case_open(Case *c, const LogDriver *driver, const char *const *options)
{
        g_autoptr(GError) error = NULL;
        static const LogConfig config = {.cid = "0123456789abcdef"};
        g_autoptr(LogOptions) o = log_sink_options(driver);
        LogSinkSetup setup = {.driver = driver, .options = o};
        size_t queue_max = 0;
        for (; *options; options++)
                set_option(o, *options, &queue_max);
        *c = (Case){.sink = log_sink_new(&setup, &config, &error)};
        g_assert_no_error(error);
        if (queue_max > 0)
                c->sink->queue_max = queue_max;
        c->pipe = pipe_opened;
        for (StreamId i = 0; i < N_STREAMS; i++)
                log_splitter_init(&c->splitters[i], i, 1);
}

static void
case_start_with(Case *c, const LogDriver *driver, const char *const *options)
{
        case_open(c, driver, options);
        log_sink_start(c->sink, on_change, c);
}

static void
case_start(Case *c, const char *const *options)
{
        case_start_with(c, &pipe_driver, options);
}

static void
write_text(Case *c, StreamId stream, const char *text)
{
        LogRecord records[64];
        for (size_t at = 0, len = strlen(text), used; at < len; at += used) {
                LogBatch batch = {.records = records, .stream = stream};
                batch.n = log_splitter_cut(&c->splitters[stream], text + at, len - at, records,
                                           G_N_ELEMENTS(records), &used);
                batch.payload = used;
                log_sink_write(c->sink, &batch);
        }
        log_sink_flush(c->sink);
}

/* Lines of 8 bytes as numbers from..to: "[0000007]" is 9 bytes encoded. */
static void
write_lines(Case *c, int from, int to)
{
        for (int i = from; i <= to; i++) {
                g_autofree char *line = g_strdup_printf("%07d\n", i);
                write_text(c, STREAM_STDOUT, line);
        }
}

static void
open_pipe(Case *c, size_t room)
{
        c->pipe->room = room;
        log_sink_ready(c->sink);
}

static void
assert_out(Case *c, const char *expected)
{
        g_assert_cmpstr(c->pipe->out->str, ==, expected);
        g_string_truncate(c->pipe->out, 0);
}

/* The number after `name":{"` … `"what":` in the status. */
static int64_t
status_number(Case *c, const char *name, const char *what)
{
        GString *json = g_string_new(NULL);
        log_sink_status(c->sink, json);
        const char *at = strstr(json->str, name);
        g_assert_nonnull(at);
        at = strstr(at, what);
        g_assert_nonnull(at);
        int64_t number = g_ascii_strtoll(at + strlen(what) + 2, NULL, 10);
        g_string_free(json, TRUE);
        return number;
}

/* Checks that in = out + dropped + queued. */
static void
assert_adds_up(Case *c)
{
        static const char *const units[] = {"records", "bytes"};
        static const char *const causes[] = {"queue-full", "not-connected", "rate-limit", "encoding",
                                             "size-limit", "filtered",      "refused",    "at-end"};
        for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
                int64_t sum =
                        status_number(c, "\"out\"", units[i]) + status_number(c, "\"queued\"", units[i]);
                for (size_t k = 0; k < G_N_ELEMENTS(causes); k++)
                        sum += status_number(c, causes[k], units[i]);
                g_assert_cmpint(sum, ==, status_number(c, "\"in\"", units[i]));
        }
}

static void
case_end(Case *c)
{
        assert_adds_up(c);
        log_sink_free(c->sink);
}

static void
test_delivery(void)
{
        Case c;
        case_start(&c, (const char *[]){NULL});
        write_text(&c, STREAM_STDOUT, "a\nb\nc");
        write_text(&c, STREAM_STDERR, "e\n");
        write_text(&c, STREAM_STDOUT, "d\n");
        assert_out(&c, "[a][b][cerr[e]d]");
        g_assert_cmpint(status_number(&c, "\"out\"", "bytes"), ==, 9);
        case_end(&c);
}

/* 40 lines in a queue for 20: (9 + 8) * 15 is 255. */
static void
test_drop_newest(void)
{
        Case c;
        case_start(&c, (const char *[]){"queue=256", "mode=non-blocking", NULL});
        c.pipe->room = 0;
        write_lines(&c, 1, 40);
        g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 25);
        g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
        open_pipe(&c, 4); /* in the middle of a record */
        assert_out(&c, "[000");
        write_lines(&c, 41, 41);
        assert_adds_up(&c);
        open_pipe(&c, SIZE_MAX);
        write_lines(&c, 42, 42);
        assert_out(&c, "0001][0000002][0000003][0000004][0000005][0000006][0000007][0000008][0000009]"
                       "[0000010][0000011][0000012][0000013][0000014][0000015]"
                       "err[conmon: 26 records dropped: queue full][0000042]");
        g_assert_cmpint(status_number(&c, "\"driver\"", "markers"), ==, 1);
        case_end(&c);
}

static void
test_drop_oldest(void)
{
        Case c;
        case_start(&c,
                   (const char *[]){"queue=64", "mode=non-blocking", "on-full=drop-oldest", NULL});
        c.pipe->room = 4;
        write_lines(&c, 1, 10);
        open_pipe(&c, SIZE_MAX);
        write_lines(&c, 11, 11);
        /* The first was partially sent and is kept; the oldest of the others are dropped. */
        assert_out(&c, "[0000001][0000009][0000010]err[conmon: 7 records dropped: queue full][0000011]");
        c.pipe->room = 0;
        write_lines(&c, 12, 20);
        open_pipe(&c, SIZE_MAX);
        assert_out(&c, "[0000018][0000019][0000020]err[conmon: 6 records dropped: queue full]");
        case_end(&c);
}

/* The new record may belong to the line that is dropped to make room. */
static void
test_drop_oldest_own_line(void)
{
        Case c;
        g_autofree char *text = g_strnfill(1800, 'x');
        case_start(&c, (const char *[]){"queue=3000", "mode=non-blocking", "on-full=drop-oldest",
                                        NULL});
        write_text(&c, STREAM_STDERR, "begun");
        c.pipe->room = 0;
        write_text(&c, STREAM_STDOUT, text + 800);
        write_text(&c, STREAM_STDERR, text + 600);
        write_text(&c, STREAM_STDOUT, text);
        g_assert_cmpint(status_number(&c, "\"in\"", "records"), ==, 4);
        g_assert_cmpint(status_number(&c, "\"out\"", "records"), ==, 1);
        g_assert_cmpint(status_number(&c, "\"queued\"", "bytes"), ==, 1200);
        g_assert_cmpint(status_number(&c, "\"queue-full\"", "bytes"), ==, 2800);
        open_pipe(&c, SIZE_MAX);
        case_end(&c);
}

static void
test_block(void)
{
        Case c;
        case_start(&c, (const char *[]){"queue=64", "mode=blocking", NULL});
        c.pipe->room = 0;
        write_lines(&c, 1, 3);
        g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
        write_lines(&c, 4, 5);
        g_assert_false(log_sink_wants(c.sink, STREAM_STDOUT));
        g_assert_cmpint(c.changes, ==, 1);
        open_pipe(&c, 18);
        g_assert_false(log_sink_wants(c.sink, STREAM_STDOUT));
        open_pipe(&c, SIZE_MAX);
        g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
        g_assert_cmpint(c.changes, ==, 2);
        assert_out(&c, "[0000001][0000002][0000003][0000004][0000005]");
        g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 0);
        case_end(&c);
}

/* While a reload closes a log that stalls, a new sink gets records before it is started. Its limit is valid
 * already, and the start sends them, without which a container that waits would wait forever. */
static void
test_before_the_start(void)
{
        static const char *const modes[] = {"mode=non-blocking", "mode=blocking", "mode=adaptive"};
        for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
                Case c;
                bool waits = i > 0;
                case_open(&c, &pipe_driver,
                          (const char *[]){"queue=256", "stall-timeout=1m", modes[i], NULL});
                log_sink_set_changed(c.sink, on_change, &c);
                write_lines(&c, 1, 40);
                g_assert_cmpint(c.pipe->sends, ==, 0);
                g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT) != waits);
                int64_t lost = status_number(&c, "\"queue-full\"", "records");
                g_assert_true(waits ? lost == 0 : lost > 0);
                log_sink_start(c.sink, on_change, &c);
                g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
                g_assert_cmpint(status_number(&c, "\"out\"", "records"), ==, 40 - lost);
                case_end(&c);
        }
}

static int n_starts, n_ends;

static void
count_start(void *self)
{
        g_assert_cmpint(n_ends, ==, 0);
        n_starts++;
}

static void
count_end(void *self, LogQueue *q, gint64 until)
{
        n_ends++;
}

/* The container may end meanwhile: an external logger that is at work already is not started again. */
static void
test_end_before_the_start(void)
{
        Case c;
        LogTransport transport = pipe_transport;
        transport.start = count_start;
        transport.finish = count_end;
        LogDriver driver = pipe_driver;
        driver.transport = &transport;
        for (int i = 0; i < 2; i++) {
                n_starts = n_ends = 0;
                case_open(&c, &driver, (const char *[]){NULL});
                if (i == 0)
                        log_sink_start(c.sink, on_change, &c);
                write_lines(&c, 1, 1);
                log_sink_finish(c.sink, 0);
                if (i == 1)
                        log_sink_start(c.sink, on_change, &c);
                g_assert_cmpint(n_starts, ==, 1 - i);
                g_assert_cmpint(n_ends, ==, 1);
                assert_out(&c, "[0000001]");
                case_end(&c);
        }
}

/* Like pipe_driver, for a server. */
static LogDriver
remote_driver(void)
{
        LogDriver driver = pipe_driver;
        driver.flags = LOG_DRIVER_REMOTE;
        return driver;
}

static void
run_until_wanted(Case *c)
{
        gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        while (!log_sink_wants(c->sink, STREAM_STDOUT) && g_get_monotonic_time() < end)
                loop_iterate(true);
        g_assert_true(log_sink_wants(c->sink, STREAM_STDOUT));
}

/* A slow destination loses nothing as long as it makes progress. */
static void
test_adaptive_slow(void)
{
        Case c;
        case_start(&c, (const char *[]){"queue=256", NULL});
        c.pipe->room = 1;
        int line = 0, held = 0;
        for (int i = 0; i < 2000; i++) {
                if (log_sink_wants(c.sink, STREAM_STDOUT)) {
                        line++;
                        write_lines(&c, line, line);
                } else {
                        held++;
                }
                open_pipe(&c, 2);
        }
        g_assert_cmpint(held, >, 1000);
        open_pipe(&c, SIZE_MAX);
        g_assert_cmpint(status_number(&c, "\"out\"", "records"), ==, line);
        case_end(&c);
}

/* A destination that stalls delays the container once, by stall-timeout. */
static void
test_adaptive_stalled(void)
{
        Case c;
        case_start(&c, (const char *[]){"queue=256", "stall-timeout=300ms", NULL});
        write_lines(&c, 1, 1);
        c.pipe->room = 1;
        gint64 start = g_get_monotonic_time();
        write_lines(&c, 2, 40);
        g_assert_false(log_sink_wants(c.sink, STREAM_STDOUT));
        run_until_wanted(&c);
        g_assert_cmpint(g_get_monotonic_time() - start, >=, 299 * 1000);
        g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 0);
        write_lines(&c, 41, 90);
        g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
        g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 50);
        /* Then it makes progress again. */
        open_pipe(&c, 1);
        g_assert_false(log_sink_wants(c.sink, STREAM_STDOUT));
        open_pipe(&c, SIZE_MAX);
        write_lines(&c, 91, 91);
        g_assert_cmpint(status_number(&c, "\"out\"", "records"), ==, 41);
        case_end(&c);
}

/* A destination that asks for pauses delays the container as one that stalls, again after each success. */
static void
test_adaptive_busy(void)
{
        LogDriver driver = remote_driver();
        Case c;
        case_start_with(&c, &driver, (const char *[]){"queue=256", "stall-timeout=300ms", NULL});
        write_lines(&c, 1, 1);
        for (int i = 0; i < 2; i++) {
                c.pipe->failure = -EBUSY;
                gint64 start = g_get_monotonic_time();
                write_lines(&c, 2, 40);
                g_assert_false(log_sink_wants(c.sink, STREAM_STDOUT));
                run_until_wanted(&c);
                g_assert_cmpint(g_get_monotonic_time() - start, >=, 299 * 1000);
                g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 10 * i);
                write_lines(&c, 41, 50);
                g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
                g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 10 * (i + 1));
                c.pipe->failure = 0;
                log_sink_reopen(c.sink);
                g_assert_cmpint(status_number(&c, "\"queued\"", "records"), ==, 0);
        }
        g_assert_cmpint(status_number(&c, "\"not-connected\"", "records"), ==, 0);
        case_end(&c);
}

static void
pipe_save(void *data, const LogQueue *q, StateWriter *w)
{
}

static void
pipe_restore(void *data, const LogDriverConfig *config, const LogQueue *q, StateReader *r)
{
        (void)pipe_open(data, config, NULL);
}

static LogDriver carried_driver;

static const LogDriver *
find_carried(const char *name)
{
        return &carried_driver;
}

static void
upgrade(Case *c)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(StateWriter) w = state_writer_new(NULL);
        log_sink_save(c->sink, w);
        g_assert_true(state_writer_finish(w, &error));
        g_autoptr(StateReader) r = state_reader_new(state_writer_fd(w), false, &error);
        g_assert_no_error(error);
        state_enter(r, "sink");
        LogSink *restored = log_sink_restore(r, find_carried, NULL);
        state_leave(r);
        g_assert_true(state_reader_finish(r, &error));
        restored->queue_max = c->sink->queue_max;
        log_sink_free(c->sink);
        c->sink = restored;
        c->pipe = pipe_opened;
        log_sink_set_changed(c->sink, on_change, c);
}

static void
case_start_to_upgrade(Case *c, LogDriver driver, const char *const *options)
{
        carried_driver = driver;
        carried_driver.save = pipe_save;
        carried_driver.restore = pipe_restore;
        case_start_with(c, &carried_driver, options);
}

/* A live upgrade does not prolong the pause. */
static void
test_adaptive_busy_upgrade(void)
{
        Case c;
        const char *const options[] = {"queue=256", "stall-timeout=600ms", NULL};
        case_start_to_upgrade(&c, remote_driver(), options);
        write_lines(&c, 1, 1);
        c.pipe->failure = -EBUSY;
        gint64 start = g_get_monotonic_time();
        write_lines(&c, 2, 40);
        gint64 moved = c.sink->moved_usec;
        upgrade(&c);
        c.pipe->failure = -EBUSY;
        log_sink_flush(c.sink);
        g_assert_false(log_sink_wants(c.sink, STREAM_STDOUT));
        run_until_wanted(&c);
        g_assert_cmpint(g_get_monotonic_time() - start, >=, 599 * 1000);
        g_assert_cmpint(c.sink->moved_usec, ==, moved);
        write_lines(&c, 41, 50);
        g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 10);
        c.pipe->failure = 0;
        log_sink_reopen(c.sink);
        g_assert_cmpint(status_number(&c, "\"queued\"", "records"), ==, 0);
        case_end(&c);
}

/* The queue becomes full after the upgrade, before the next attempt. */
static void
test_adaptive_busy_early_upgrade(void)
{
        Case c;
        const char *const options[] = {"queue=256", "stall-timeout=1m", NULL};
        case_start_to_upgrade(&c, remote_driver(), options);
        write_lines(&c, 1, 1);
        c.pipe->failure = -EBUSY;
        log_sink_retry_in(c.sink, G_TIME_SPAN_HOUR);
        write_lines(&c, 2, 5);
        upgrade(&c);
        log_sink_flush(c.sink);
        g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
        write_lines(&c, 6, 20);
        g_assert_false(log_sink_wants(c.sink, STREAM_STDOUT));
        g_assert_cmpint(status_number(&c, "\"queued\"", "records"), ==, 19);
        log_sink_reopen(c.sink);
        g_assert_cmpint(status_number(&c, "\"queued\"", "records"), ==, 0);
        case_end(&c);
}

/* Within a line that is logged, and within one that is filtered out. */
static void
test_filter_upgrade(void)
{
        Case c;
        char begin[71];
        case_start_to_upgrade(&c, pipe_driver, (const char *[]){"max-record=64", "exclude=hidden", NULL});
        memset(begin, 'x', 70);
        begin[70] = '\0';
        write_text(&c, STREAM_STDOUT, begin);
        memcpy(begin, "hidden", strlen("hidden"));
        write_text(&c, STREAM_STDERR, begin);
        g_assert_cmpint(c.pipe->out->len, ==, 1 + 64);
        for (int i = 0; i < 2; i++)
                upgrade(&c);
        write_text(&c, STREAM_STDOUT, "a\nb\n");
        write_text(&c, STREAM_STDERR, "a\nb\n");
        assert_out(&c, "xxxxxxa][b]err[b]");
        case_end(&c);
}

/* An absent server does not delay the container; a connection attempt does for a moment. */
static void
test_adaptive_not_connected(void)
{
        LogDriver driver = remote_driver();
        Case c;
        case_start_with(&c, &driver, (const char *[]){"queue=256", NULL});
        c.pipe->failure = -ECONNREFUSED;
        for (int i = 1; i <= 40; i++) {
                write_lines(&c, i, i);
                g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
        }
        g_assert_cmpint(status_number(&c, "\"not-connected\"", "records"), ==, 25);
        c.pipe->failure = 0;
        log_sink_reopen(c.sink);
        g_assert_nonnull(strstr(c.pipe->out->str, "err[conmon: 25 records dropped: not connected]"));
        case_end(&c);

        case_start_with(&c, &driver, (const char *[]){"queue=256", NULL});
        c.pipe->room = 0;
        write_lines(&c, 1, 40);
        g_assert_false(log_sink_wants(c.sink, STREAM_STDOUT));
        gint64 start = g_get_monotonic_time();
        run_until_wanted(&c);
        g_assert_cmpint(g_get_monotonic_time() - start, <, 1500 * 1000);
        write_lines(&c, 41, 50);
        g_assert_cmpint(status_number(&c, "\"not-connected\"", "records"), ==, 10);
        case_end(&c);
}

static void
test_blocking_one_stream(void)
{
        Case c;
        case_start(&c, (const char *[]){"queue=1", "on-full=block", "streams=stderr", NULL});
        c.pipe->room = 0;
        write_text(&c, STREAM_STDERR, "a\n");
        g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
        g_assert_false(log_sink_wants(c.sink, STREAM_STDERR));
        case_end(&c);
}

/* After a loss the log continues at the start of a line, and the partial line before it is completed. */
static void
test_resumes_at_a_line(void)
{
        Case c;
        case_start(&c, (const char *[]){"queue=64", "mode=non-blocking", NULL});
        c.pipe->room = 0;
        write_lines(&c, 1, 2);
        write_text(&c, STREAM_STDOUT, "begin ");
        write_text(&c, STREAM_STDOUT, "this is too long for the rest of the queue ");
        open_pipe(&c, SIZE_MAX);
        write_text(&c, STREAM_STDOUT, "still the same line ");
        write_text(&c, STREAM_STDOUT, "its end\nnext\n");
        assert_out(&c, "[0000001][0000002][begin err[conmon: 3 records dropped: queue full]][next]");
        g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 3);
        case_end(&c);
}

static void
test_oversized_record(void)
{
        Case c;
        case_start(&c, (const char *[]){"queue=10", "mode=non-blocking", NULL});
        c.pipe->room = 0;
        write_text(&c, STREAM_STDOUT, "longer than the queue\n");
        write_text(&c, STREAM_STDOUT, "b\n");
        open_pipe(&c, SIZE_MAX);
        assert_out(&c, "[longer than the queue]err[conmon: 1 record dropped: queue full]");
        case_end(&c);
}

/* A failing driver is called only by the timer; after the first success all records are sent. */
static void
test_retry(void)
{
        Case c;
        case_start(&c, (const char *[]){NULL});
        c.pipe->failure = -ENOSPC;
        gint64 first = g_get_monotonic_time();
        write_lines(&c, 1, 50);
        g_assert_cmpint(c.pipe->sends, ==, 1);
        g_assert_cmpint(status_number(&c, "\"errors\"", "count"), ==, 1);
        GString *json = g_string_new(NULL);
        log_sink_status(c.sink, json);
        g_assert_nonnull(strstr(json->str, "\"last\":\"No space left on device\""));
        g_assert_nonnull(strstr(json->str, "\"state\":\"failing\""));
        g_string_free(json, TRUE);
        gint64 deadline = first + 10 * G_USEC_PER_SEC;
        while (c.pipe->sends < 3 && g_get_monotonic_time() < deadline)
                loop_iterate(true);
        g_assert_cmpint(c.pipe->sends, ==, 3);
        g_assert_cmpint(g_get_monotonic_time() - first, >=, 290 * 1000);
        c.pipe->failure = 0;
        while (c.pipe->out->len == 0 && g_get_monotonic_time() < deadline)
                loop_iterate(true);
        g_assert_cmpuint(c.pipe->out->len, ==, 50 * 9);
        /* No timer is left. */
        g_assert_false(loop_iterate(false));
        case_end(&c);
}

/* For each error: it is in the status, no record is lost that fits into the queue, and recovery is
 * reported. */
static void
test_failures(void)
{
        static const int errors[] = {ENOSPC, EDQUOT, EIO, EROFS, EACCES, EMFILE, ENOENT, ECONNREFUSED, ENXIO};
        for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
                Case c;
                case_start(&c, (const char *[]){NULL});
                write_lines(&c, 1, 1);
                c.pipe->failure = -errors[i];
                write_lines(&c, 2, 3);
                g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
                GString *json = g_string_new(NULL);
                log_sink_status(c.sink, json);
                const char *text = errors[i] == ENXIO ? "it has no reader" : g_strerror(errors[i]);
                g_autofree char *last = g_strdup_printf("\"last\":\"%s\"", text);
                g_assert_nonnull(strstr(json->str, "\"state\":\"failing\""));
                g_assert_nonnull(strstr(json->str, last));
                g_string_free(json, TRUE);
                c.pipe->failure = 0;
                log_sink_finish(c.sink, G_MAXINT64);
                assert_out(&c, "[0000001][0000002][0000003]");
                case_end(&c);
        }
}

/* Records of a destination that fails until the end are dropped without waiting. */
static void
test_failure_to_the_end(void)
{
        Case c;
        case_start(&c, (const char *[]){NULL});
        c.pipe->failure = -EIO;
        write_lines(&c, 1, 3);
        log_sink_finish(c.sink, G_MAXINT64);
        g_assert_false(log_sink_is_draining(c.sink));
        g_assert_cmpint(status_number(&c, "\"at-end\"", "records"), ==, 3);
        case_end(&c);
}

static void
test_rate_limit(void)
{
        Case c;
        case_start(&c, (const char *[]){"rate-limit-burst=2", "rate-limit-interval=50ms", NULL});
        write_text(&c, STREAM_STDOUT, "a\nb\nc\nd\ne\n");
        assert_out(&c, "[a][b]");
        gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
        while (c.pipe->out->len == 0 && g_get_monotonic_time() < deadline)
                loop_iterate(true);
        assert_out(&c, "err[conmon: 3 records dropped: rate limit]");
        g_assert_cmpint(status_number(&c, "\"rate-limit\"", "records"), ==, 3);
        case_end(&c);
}

static void
test_end(void)
{
        Case c;
        case_start(&c, (const char *[]){"rate-limit-burst=2", "rate-limit-interval=1h", NULL});
        write_text(&c, STREAM_STDOUT, "a\nb\nc\n");
        log_sink_finish(c.sink, G_MAXINT64);
        assert_out(&c, "[a][b]err[conmon: 1 record dropped: rate limit]");
        g_assert_false(log_sink_is_draining(c.sink));
        case_end(&c);
}

/* Runs the main loop until the sink has stopped draining; returns how long that took. */
static gint64
drain(Case *c)
{
        gint64 start = g_get_monotonic_time();
        log_sink_drain(c->sink);
        while (log_sink_is_draining(c->sink) && g_get_monotonic_time() - start < 20 * G_USEC_PER_SEC)
                loop_iterate(true);
        return g_get_monotonic_time() - start;
}

/* Each sink has its own drain-timeout; progress extends it, but not forever. */
static void
test_drain_timeout(void)
{
        static const char *const modes[] = {"mode=non-blocking", "mode=adaptive"};
        for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
                Case c;
                case_start(&c, (const char *[]){"drain-timeout=100ms", modes[i], NULL});
                c.pipe->room = 0;
                write_lines(&c, 1, 3);
                log_sink_finish(c.sink, G_MAXINT64);
                gint64 took = drain(&c);
                g_assert_cmpint(took, >=, 99 * 1000);
                g_assert_cmpint(took, <, 5 * G_USEC_PER_SEC);
                g_assert_cmpint(c.changes, ==, 1);
                g_assert_cmpint(status_number(&c, "\"at-end\"", "records"), ==, 3);
                case_end(&c);
        }
}

typedef struct {
        Case *test;
        Timer timer;
} Opening;

static void
open_slowly(void *data)
{
        Opening *o = data;
        open_pipe(o->test, 3);
        timer_start(&o->timer, G_USEC_PER_SEC / 10);
}

/* A server that comes back in time gets the rest, also after an outage for which the delays have grown. */
static void
test_drain_after_an_outage(void)
{
        LogDriver driver = remote_driver();
        Case c;
        case_start_with(&c, &driver, (const char *[]){NULL});
        c.pipe->failure = -ECONNREFUSED;
        write_lines(&c, 1, 3);
        c.sink->attempt = 20;
        log_sink_finish(c.sink, G_MAXINT64);
        c.pipe->failure = 0;
        g_assert_cmpint(drain(&c), <, 1 * G_USEC_PER_SEC);
        g_assert_cmpint(status_number(&c, "\"out\"", "records"), ==, 3);
        case_end(&c);
}

static void
test_drain_while_it_moves(void)
{
        static const char *const modes[] = {"mode=non-blocking", "mode=adaptive"};
        for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
                Case c;
                case_start(&c, (const char *[]){"drain-timeout=400ms", modes[i], NULL});
                c.pipe->room = 0;
                write_lines(&c, 1, 4);
                log_sink_finish(c.sink, G_MAXINT64);
                Opening opening = {.test = &c};
                timer_init(&opening.timer, open_slowly, &opening);
                timer_start(&opening.timer, G_USEC_PER_SEC / 10);
                (void)drain(&c);
                timer_stop(&opening.timer);
                g_assert_true((status_number(&c, "\"at-end\"", "records") > 0) == (i == 0));
                case_end(&c);
        }
}

static void
test_drain(void)
{
        Case c;
        case_start(&c, (const char *[]){"drain-timeout=3s", NULL});
        c.pipe->room = 0;
        write_lines(&c, 1, 3);
        log_sink_finish(c.sink, G_MAXINT64);
        g_assert_true(log_sink_is_draining(c.sink));
        log_sink_drain(c.sink);
        open_pipe(&c, 9);
        g_assert_cmpint(c.changes, ==, 0);
        open_pipe(&c, 9);
        log_sink_abandon(c.sink);
        g_assert_cmpint(status_number(&c, "\"at-end\"", "records"), ==, 1);
        g_assert_false(log_sink_is_draining(c.sink));
        case_end(&c);
        case_start(&c, (const char *[]){NULL});
        c.pipe->room = 0;
        write_lines(&c, 1, 3);
        log_sink_finish(c.sink, G_MAXINT64);
        open_pipe(&c, SIZE_MAX);
        g_assert_cmpint(c.changes, ==, 1);
        case_end(&c);
}

/* Losses that the predecessor has reported are not reported by its successor, too. */
static void
test_successor(void)
{
        Case old, c;
        case_start(&old, (const char *[]){"queue=256", "mode=non-blocking", NULL});
        old.pipe->room = 0;
        write_lines(&old, 1, 40);
        open_pipe(&old, SIZE_MAX);
        g_assert_nonnull(strstr(old.pipe->out->str, "err[conmon: 25 records dropped: queue full]"));
        case_start(&c, (const char *[]){NULL});
        log_sink_add_counts(c.sink, old.sink);
        write_lines(&c, 41, 41);
        assert_out(&c, "[0000041]");
        g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 25);
        case_end(&c);
        case_end(&old);
}

/* It may have counted before its predecessor could be finished, which may still have a queue. */
static void
test_busy_successor(void)
{
        Case old, c;
        case_start(&old, (const char *[]){"queue=256", "mode=non-blocking", NULL});
        old.pipe->room = 90;
        write_lines(&old, 1, 60);
        case_start(&c, (const char *[]){"queue=256", "mode=non-blocking", NULL});
        c.pipe->room = 0;
        write_lines(&c, 61, 100);
        log_sink_succeed(c.sink, old.sink);
        assert_adds_up(&c);
        assert_adds_up(&old);
        open_pipe(&old, SIZE_MAX);
        log_sink_add_counts(c.sink, old.sink);
        g_assert_cmpint(status_number(&c, "\"in\"", "records"), ==, 100);
        case_end(&c);
        case_end(&old);
}

/* A destination that can't be reopened accepts nothing, and its queue is limited. */
static void
test_failed_reopening(void)
{
        Case c;
        case_start(&c, (const char *[]){"queue=256", "mode=non-blocking", NULL});
        c.pipe->failure = -ENOENT;
        log_sink_reopen(c.sink);
        write_lines(&c, 1, 40);
        g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 25);
        case_end(&c);
}

/* The data written to a stream, and the maximum expected output. */
typedef struct {
        GPtrArray *lines; /* of GString, the last one may be unfinished */
        bool open;
} Written;

static void
line_free(void *data)
{
        g_string_free(data, TRUE);
}

static void
write_random(Case *c, Written *written, GRand *rand, int *number)
{
        StreamId stream = g_rand_boolean(rand) ? STREAM_STDOUT : STREAM_STDERR;
        Written *w = &written[stream];
        g_autoptr(GString) text = g_string_new(NULL);
        for (int n = g_rand_int_range(rand, 1, 8); n > 0; n--) {
                int len = g_rand_int_range(rand, 0, 20);
                g_autofree char *word = g_strdup_printf("%d%.*s", ++*number, len, "....................");
                for (char *at = word; *at; at++)
                        *at = (char)(*at == '.' ? (stream ? 'Z' : 'z') : *at - '0' + (stream ? 'A' : 'a'));
                if (!w->open)
                        g_ptr_array_add(w->lines, g_string_new(NULL));
                g_string_append(w->lines->pdata[w->lines->len - 1], word);
                g_string_append(text, word);
                w->open = n == 1 && g_rand_int_range(rand, 0, 3) == 0;
                if (!w->open)
                        g_string_append_c(text, '\n');
        }
        write_text(c, stream, text->str);
}

/* The part of the output that belongs to one stream. */
static GString *
filter_stream(const char *out, const char *marks)
{
        GString *mine = g_string_new(NULL);
        for (const char *at = out; *at; at++) {
                if (*at == '#')
                        at = strchr(at + 1, '#');
                else if (*at == marks[0] || *at == marks[1] ||
                         (marks[0] == '{' ? g_ascii_isupper(*at) : g_ascii_islower(*at)))
                        g_string_append_c(mine, *at);
        }
        return mine;
}

/* Checks that each line of the output was written, in the same order, or is the beginning of such a line. A
 * marker may split a line. */
static void
check_stream(const char *out, const Written *w, const char *marks)
{
        size_t next = 0;
        const char *rest = NULL;
        g_autoptr(GString) mine = filter_stream(out, marks);
        for (const char *at = mine->str; *at;) {
                bool starts = *at == marks[0];
                at += starts;
                size_t len = strcspn(at, marks);
                if (at[len] && at[len] != marks[1])
                        g_error("unfinished: %s in %s", at, out);
                for (bool found = !starts; !found && next < w->lines->len; next++) {
                        rest = ((GString *)w->lines->pdata[next])->str;
                        found = strncmp(rest, at, len) == 0;
                }
                if (!rest || strncmp(rest, at, len) != 0)
                        g_error("not written: %s in %s", at, out);
                rest += len;
                at += len + (at[len] != '\0');
        }
}

static int64_t
sum_of_markers(const char *out)
{
        int64_t sum = 0;
        for (const char *at = out; (at = strchr(at, '#')); at = strchr(at + 1, '#') + 1)
                sum += g_ascii_strtoll(at + strlen("#conmon: "), NULL, 10);
        return sum;
}

static void
act(Case *c, Written *written, GRand *rand, int *number, size_t limit)
{
        static const size_t rooms[] = {0, 1, 7, 30, 100, 300, SIZE_MAX};
        int what = g_rand_int_range(rand, 0, 100);
        if (what < 50) {
                write_random(c, written, rand, number);
        } else if (what < 75) {
                open_pipe(c, rooms[g_rand_int_range(rand, 0, G_N_ELEMENTS(rooms))]);
        } else if (what < 80) {
                c->pipe->failure = -EIO;
        } else if (what < 85) {
                c->pipe->failure = 0;
        } else if (what < 95) {
                log_sink_reopen(c->sink);
        } else {
                log_sink_release(c->sink);
        }
        g_assert_cmpint(status_number(c, "\"queue\"", "bytes"), <=, (int64_t)limit);
        assert_adds_up(c);
}

/* Random operations: all records arrive that are not reported as dropped, lines are intact, and the limit
 * holds. */
static void
run_random(guint32 seed)
{
        static const char *const policies[][2] = {
                {"on-full=drop-newest", "mode=non-blocking"}, {"on-full=drop-oldest", "mode=non-blocking"},
                {"on-full=block", "mode=blocking"},           {"on-full=drop-newest", "mode=adaptive"},
                {"on-full=drop-oldest", "mode=adaptive"},
        };
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        int policy = g_rand_int_range(rand, 0, G_N_ELEMENTS(policies));
        int number = 0;
        Written written[N_STREAMS];
        Case c;
        case_start_with(
                &c, &plain_driver,
                (const char *[]){"queue=400", policies[policy][0], policies[policy][1], NULL});
        c.pipe->breaks = g_rand_boolean(rand);
        c.pipe->acknowledges = g_rand_boolean(rand);
        c.pipe->rand = rand;
        for (StreamId i = 0; i < N_STREAMS; i++)
                written[i] = (Written){.lines = g_ptr_array_new_with_free_func(line_free)};
        for (int i = 0; i < 300; i++)
                act(&c, written, rand, &number, policy >= 2 ? SIZE_MAX / 2 : 1000);
        c.pipe->failure = 0;
        c.pipe->room = SIZE_MAX;
        log_sink_reopen(c.sink);
        g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
        log_sink_finish(c.sink, G_MAXINT64);
        int64_t lost = status_number(&c, "\"queue-full\"", "records");
        g_assert_cmpint(status_number(&c, "\"queued\"", "records"), ==, 0);
        g_assert_cmpint(sum_of_markers(c.pipe->out->str), ==, lost);
        check_stream(c.pipe->out->str, &written[STREAM_STDOUT], "<>");
        check_stream(c.pipe->out->str, &written[STREAM_STDERR], "{}");
        for (StreamId i = 0; i < N_STREAMS; i++)
                g_ptr_array_unref(written[i].lines);
        case_end(&c);
}

static void
test_random(void)
{
        for (guint32 seed = 1; seed <= 40; seed++)
                run_random(seed);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/sink/delivery", test_delivery);
        g_test_add_func("/log/sink/drop-newest", test_drop_newest);
        g_test_add_func("/log/sink/drop-oldest", test_drop_oldest);
        g_test_add_func("/log/sink/drop-oldest-own-line", test_drop_oldest_own_line);
        g_test_add_func("/log/sink/block", test_block);
        g_test_add_func("/log/sink/adaptive-slow", test_adaptive_slow);
        g_test_add_func("/log/sink/adaptive-stalled", test_adaptive_stalled);
        g_test_add_func("/log/sink/adaptive-busy", test_adaptive_busy);
        g_test_add_func("/log/sink/adaptive-busy-upgrade", test_adaptive_busy_upgrade);
        g_test_add_func("/log/sink/adaptive-busy-early-upgrade", test_adaptive_busy_early_upgrade);
        g_test_add_func("/log/sink/filter-upgrade", test_filter_upgrade);
        g_test_add_func("/log/sink/adaptive-not-connected", test_adaptive_not_connected);
        g_test_add_func("/log/sink/blocking-one-stream", test_blocking_one_stream);
        g_test_add_func("/log/sink/resumes-at-a-line", test_resumes_at_a_line);
        g_test_add_func("/log/sink/oversized-record", test_oversized_record);
        g_test_add_func("/log/sink/retry", test_retry);
        g_test_add_func("/log/sink/failures", test_failures);
        g_test_add_func("/log/sink/failure-to-the-end", test_failure_to_the_end);
        g_test_add_func("/log/sink/successor", test_successor);
        g_test_add_func("/log/sink/busy-successor", test_busy_successor);
        g_test_add_func("/log/sink/failed-reopening", test_failed_reopening);
        g_test_add_func("/log/sink/rate-limit", test_rate_limit);
        g_test_add_func("/log/sink/end", test_end);
        g_test_add_func("/log/sink/drain", test_drain);
        g_test_add_func("/log/sink/drain-timeout", test_drain_timeout);
        g_test_add_func("/log/sink/drain-after-an-outage", test_drain_after_an_outage);
        g_test_add_func("/log/sink/drain-while-it-moves", test_drain_while_it_moves);
        g_test_add_func("/log/sink/before-the-start", test_before_the_start);
        g_test_add_func("/log/sink/end-before-the-start", test_end_before_the_start);
        g_test_add_func("/log/sink/random", test_random);
        return g_test_run();
}
