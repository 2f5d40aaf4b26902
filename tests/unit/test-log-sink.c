#include "log/sink.h"
#include "log/split.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* A driver that delivers to a string, a given number of bytes at a time, or fails as told. */
typedef struct {
        LogSink *sink;
        GString *out;
        size_t room; /* bytes it still takes */
        int failure; /* -errno to return */
        int sends;
        bool breaks; /* at a failure what was taken of a message that is not complete is given back */

        /* Messages are only done when that is said, some time later; a failure
         * gives back what is not done. */
        bool acknowledges;
        GRand *rand;
        GQueue sent; /* of sizes: how many messages, how many bytes, in turns */
        size_t unsure; /* the bytes in all of these */
} Pipe;

static Pipe *pipe_opened;

static void *
pipe_open(const LogDriverConfig *config, GError **error)
{
        Pipe *p = g_new0(Pipe, 1);
        p->sink = config->sink;
        p->out = g_string_new(NULL);
        p->room = SIZE_MAX;
        pipe_opened = p;
        return p;
}

/* "[content]" for a line, "[content" for the first part of one, "content" and "content]" for the next. */
static size_t
pipe_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        for (size_t i = 0; i < n; i++) {
                const LogRecord *r = &records[i];
                const char *begin = r->stream == STREAM_STDERR ? "err[" : "[";
                g_autofree char *text = g_strdup_printf(
                        "%s%.*s%s", r->flags & LOG_RECORD_CONTINUES ? "" : begin, (int)r->len, r->bytes,
                        r->flags & LOG_RECORD_PARTIAL ? "" : "]");
                char *at = log_block_room(block, strlen(text));
                if (!at)
                        return i;
                memcpy(at, text, strlen(text));
                log_block_add(block, strlen(text), r);
        }
        return n;
}

static size_t
pipe_bound(void *data, size_t len)
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
                g_string_truncate(p->out, p->out->len - q->torn);
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
        g_free(p);
}

static const LogDriver pipe_driver = {
        .name = "pipe",
        .open = pipe_open,
        .encode = pipe_encode,
        .bound = pipe_bound,
        .send = pipe_send,
        .reopen = pipe_reopen,
        .close = pipe_close,
};

/* "<line>" on stdout, "{LINE}" on stderr, in pieces; "#12 records dropped…#" for what was lost. */
static size_t
plain_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        for (size_t i = 0; i < n; i++) {
                const LogRecord *r = &records[i];
                bool announces = r->flags & LOG_RECORD_MARKER && r->len > 0;
                const char *marks = announces ? "##" : r->stream == STREAM_STDOUT ? "<>" : "{}";
                const char *begin = r->flags & LOG_RECORD_CONTINUES ? "" : marks;
                const char *end = r->flags & LOG_RECORD_PARTIAL ? "" : marks + 1;
                g_autofree char *text = g_strdup_printf("%.1s%.*s%s", begin, (int)r->len, r->bytes, end);
                char *at = log_block_room(block, strlen(text));
                if (!at)
                        return i;
                memcpy(at, text, strlen(text));
                log_block_add(block, strlen(text), r);
        }
        return n;
}

static const LogDriver plain_driver = {
        .name = "plain",
        .open = pipe_open,
        .encode = plain_encode,
        .bound = pipe_bound,
        .send = pipe_send,
        .reopen = pipe_reopen,
        .close = pipe_close,
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

static void
case_start_with(Case *c, const LogDriver *driver, const char *const *options)
{
        g_autoptr(GError) error = NULL;
        static const LogConfig config = {.cid = "0123456789abcdef"};
        LogOptions *o = log_sink_options(driver);
        for (; *options; options++) {
                g_auto(GStrv) pair = g_strsplit(*options, "=", 2);
                (void)log_options_set(o, pair[0], pair[1], &error);
                g_assert_no_error(error);
        }
        *c = (Case){.sink = log_sink_new(driver, o, NULL, &config, false, &error)};
        g_assert_no_error(error);
        c->pipe = pipe_opened;
        for (StreamId i = 0; i < N_STREAMS; i++)
                log_splitter_init(&c->splitters[i], i, 1);
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

/* A number behind `name":{"` … `"what":` in the status. */
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

/* Whatever happened: what came in is delivered, dropped or waiting. */
static void
assert_adds_up(Case *c)
{
        static const char *const units[] = {"records", "bytes"};
        static const char *const causes[] = {"queue-full", "rate-limit", "encoding", "size-limit",
                                                     "filtered", "at-end"};
        for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
                int64_t sum = status_number(c, "\"out\"", units[i]) +
                              status_number(c, "\"queued\"", units[i]);
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
        case_start(&c, (const char *[]){"max-buffer-size=256", NULL});
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
        case_start(&c, (const char *[]){"max-buffer-size=64", "on-full=drop-oldest", NULL});
        c.pipe->room = 4;
        write_lines(&c, 1, 10);
        open_pipe(&c, SIZE_MAX);
        write_lines(&c, 11, 11);
        /* The first was sent in part and stays, and with that the others can't go. */
        assert_out(&c, "[0000001][0000002][0000003]err[conmon: 7 records dropped: queue full][0000011]");
        c.pipe->room = 0;
        write_lines(&c, 12, 20);
        open_pipe(&c, SIZE_MAX);
        assert_out(&c, "[0000018][0000019][0000020]err[conmon: 6 records dropped: queue full]");
        case_end(&c);
}

static void
test_block(void)
{
        Case c;
        case_start(&c, (const char *[]){"max-buffer-size=64", "mode=blocking", NULL});
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

static void
test_blocking_one_stream(void)
{
        Case c;
        case_start(&c, (const char *[]){"max-buffer-size=1", "on-full=block", "streams=stderr", NULL});
        c.pipe->room = 0;
        write_text(&c, STREAM_STDERR, "a\n");
        g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
        g_assert_false(log_sink_wants(c.sink, STREAM_STDERR));
        case_end(&c);
}

/* After a loss the log goes on at the start of a line, and the line that was begun is closed. */
static void
test_resumes_at_a_line(void)
{
        Case c;
        case_start(&c, (const char *[]){"max-buffer-size=64", NULL});
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
        case_start(&c, (const char *[]){"max-buffer-size=10", NULL});
        c.pipe->room = 0;
        write_text(&c, STREAM_STDOUT, "longer than the queue\n");
        write_text(&c, STREAM_STDOUT, "b\n");
        open_pipe(&c, SIZE_MAX);
        assert_out(&c, "[longer than the queue]err[conmon: 1 record dropped: queue full]");
        case_end(&c);
}

/* While a driver fails it is called by the timer only; the first success sends all. */
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
                g_main_context_iteration(NULL, TRUE);
        g_assert_cmpint(c.pipe->sends, ==, 3);
        g_assert_cmpint(g_get_monotonic_time() - first, >=, 290 * 1000);
        c.pipe->failure = 0;
        while (c.pipe->out->len == 0 && g_get_monotonic_time() < deadline)
                g_main_context_iteration(NULL, TRUE);
        g_assert_cmpuint(c.pipe->out->len, ==, 50 * 9);
        /* Nothing is left that would wake anybody up. */
        g_assert_false(g_main_context_iteration(NULL, FALSE));
        case_end(&c);
}

/* Whatever the reason is: told in the status, nothing lost that fits, the other way
 * round when it works again. */
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
                const char *text = errors[i] == ENXIO ? "nobody reads it" : g_strerror(errors[i]);
                g_autofree char *last = g_strdup_printf("\"last\":\"%s\"", text);
                g_assert_nonnull(strstr(json->str, "\"state\":\"failing\""));
                g_assert_nonnull(strstr(json->str, last));
                g_string_free(json, TRUE);
                c.pipe->failure = 0;
                log_sink_finish(c.sink, true);
                assert_out(&c, "[0000001][0000002][0000003]");
                case_end(&c);
        }
}

/* What fails until the end is dropped then, and nobody waits for it. */
static void
test_failure_to_the_end(void)
{
        Case c;
        case_start(&c, (const char *[]){NULL});
        c.pipe->failure = -EIO;
        write_lines(&c, 1, 3);
        log_sink_finish(c.sink, true);
        g_assert_cmpint(log_sink_drain_time(c.sink), ==, 0);
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
                g_main_context_iteration(NULL, TRUE);
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
        log_sink_finish(c.sink, true);
        assert_out(&c, "[a][b]err[conmon: 1 record dropped: rate limit]");
        g_assert_cmpint(log_sink_drain_time(c.sink), ==, 0);
        case_end(&c);
}

static void
test_drain(void)
{
        Case c;
        case_start(&c, (const char *[]){"drain-timeout=3s", NULL});
        c.pipe->room = 0;
        write_lines(&c, 1, 3);
        log_sink_finish(c.sink, true);
        g_assert_true(log_sink_is_draining(c.sink));
        g_assert_cmpint(log_sink_drain_time(c.sink), ==, 3 * G_USEC_PER_SEC);
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
        log_sink_finish(c.sink, true);
        open_pipe(&c, SIZE_MAX);
        g_assert_cmpint(c.changes, ==, 1);
        case_end(&c);
}

/* A destination that can't be opened again takes nothing, and what waits for it has its limit. */
static void
test_failed_reopening(void)
{
        Case c;
        case_start(&c, (const char *[]){"max-buffer-size=256", NULL});
        c.pipe->failure = -ENOENT;
        log_sink_reopen(c.sink);
        write_lines(&c, 1, 40);
        g_assert_cmpint(status_number(&c, "\"queue-full\"", "records"), ==, 25);
        case_end(&c);
}

/* What was written to a stream, and what may be in the output at most. */
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

/* What belongs to one stream. */
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

/* Each line of the output is one that was written, in the same order, or the beginning of one. An
 * announcement may cut a line in two. */
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
                        g_error("not ended: %s in %s", at, out);
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

/* Whatever happens in which order: what is not announced as lost arrives, lines stay
 * lines, the limit is kept. */
static void
run_random(guint32 seed)
{
        static const char *const policies[] = {"on-full=drop-newest", "on-full=drop-oldest", "on-full=block"};
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        const char *policy = policies[g_rand_int_range(rand, 0, 3)];
        int number = 0;
        Written written[N_STREAMS];
        Case c;
        case_start_with(&c, &plain_driver, (const char *[]){"max-buffer-size=400", policy, NULL});
        c.pipe->breaks = g_rand_boolean(rand);
        c.pipe->acknowledges = g_rand_boolean(rand);
        c.pipe->rand = rand;
        for (StreamId i = 0; i < N_STREAMS; i++)
                written[i] = (Written){.lines = g_ptr_array_new_with_free_func(line_free)};
        for (int i = 0; i < 300; i++)
                act(&c, written, rand, &number, policy == policies[2] ? SIZE_MAX / 2 : 1000);
        c.pipe->failure = 0;
        c.pipe->room = SIZE_MAX;
        log_sink_reopen(c.sink);
        g_assert_true(log_sink_wants(c.sink, STREAM_STDOUT));
        log_sink_finish(c.sink, true);
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
        for (guint32 seed = 1; seed <= 24; seed++)
                run_random(seed);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/sink/delivery", test_delivery);
        g_test_add_func("/log/sink/drop-newest", test_drop_newest);
        g_test_add_func("/log/sink/drop-oldest", test_drop_oldest);
        g_test_add_func("/log/sink/block", test_block);
        g_test_add_func("/log/sink/blocking-one-stream", test_blocking_one_stream);
        g_test_add_func("/log/sink/resumes-at-a-line", test_resumes_at_a_line);
        g_test_add_func("/log/sink/oversized-record", test_oversized_record);
        g_test_add_func("/log/sink/retry", test_retry);
        g_test_add_func("/log/sink/failures", test_failures);
        g_test_add_func("/log/sink/failure-to-the-end", test_failure_to_the_end);
        g_test_add_func("/log/sink/failed-reopening", test_failed_reopening);
        g_test_add_func("/log/sink/rate-limit", test_rate_limit);
        g_test_add_func("/log/sink/end", test_end);
        g_test_add_func("/log/sink/drain", test_drain);
        g_test_add_func("/log/sink/random", test_random);
        return g_test_run();
}
