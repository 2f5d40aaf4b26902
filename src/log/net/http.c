/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/http.h"

#include "base/diag.h"
#include "base/json.h"
#include "log/api/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* Delays for a server that can't be reached, as in the other drivers, and for one that reports an overload;
 * microseconds. */
#define RECONNECT_FIRST (100 * 1000)
#define RECONNECT_MAX   (2 * 1000 * 1000)
#define BACKOFF_FIRST   (500 * 1000)
#define BACKOFF_MAX     (30 * 1000 * 1000)
#define BACKOFF_LIMIT   (INT64_MAX >> 20) /* no overflow in backoff */

/* Delays between queries for an acknowledgement. */
#define QUERY_FIRST (100 * 1000)
#define QUERY_MAX   (2 * 1000 * 1000)

/* The shortest time between two reports of a refusal. */
#define REPORT_AGAIN_USEC (60 * G_USEC_PER_SEC)

/* By which part of it the size of batches grows with each that is accepted, after it was halved: twice the
 * size is tried again after 45 batches. */
#define GROWTH 64

/* How many messages are taken from the queue at once. */
#define MESSAGES 64

/* ---- sending a request ---- */

void
log_http_add(LogHttp *h, const char *bytes, size_t len)
{
        http_request_add(&h->request, bytes, len);
}

/* A larger batch would be waited for in vain. A reload can change the size of the queue. */
static size_t
batch_max(const LogHttp *h)
{
        return MIN(h->batch_size, log_sink_queue_max(h->connection.sink) / 2);
}

/* Adds messages until the batch is full. */
static void
add_messages(LogHttp *h, LogQueue *q)
{
        LogMessage some[MESSAGES];
        size_t sum = 0, n, max = batch_max(h);
        while ((n = log_queue_peek(q, some, G_N_ELEMENTS(some))) > 0) {
                size_t taken = 0, i = 0;
                for (; i < n && (h->n == 0 || sum + taken + some[i].len <= max); i++) {
                        if (h->protocol->add)
                                h->protocol->add(h, &some[i], h->n == 0);
                        else
                                log_http_add(h, some[i].bytes, some[i].len);
                        taken += some[i].len;
                        h->n++;
                }
                log_queue_reserve(q, taken);
                sum += taken;
                if (i < n)
                        break;
        }
        h->batch_len = sum;
}

/* Compresses the body, if that makes it shorter. */
static bool
compress(LogHttp *h)
{
        if (!h->compress)
                return false;
        if (deflate_is_possible(&h->deflate))
                return http_request_compress(&h->request, &h->deflate);
        diag_warn("Logging to %s: requests are not compressed, because zlib (libz.so.1) can't be loaded; "
                  "install it, or turn compression off",
                  h->target);
        h->compress = false;
        return false;
}

/* The body is complete. */
static void
begin_request(LogHttp *h, const char *path, bool is_query)
{
        http_request_end_body(&h->request);
        bool compressed = !is_query && compress(h);
        http_request_set_head(&h->request, path, h->url.authority, h->fields, h->protocol->content_type,
                              compressed);
        h->n_requests++;
        h->answered = false;
        h->is_query = is_query;
        http_answer_clear(&h->answer);
        h->state = LOG_HTTP_WRITING;
        timer_start(&h->answer_timer, h->timeout);
}

static void
send_batch(LogHttp *h, LogQueue *q)
{
        HttpRequest *r = &h->request;
        http_request_begin(r);
        h->n = h->n_queries = 0;
        add_messages(h, q);
        if (h->protocol->frame)
                h->protocol->frame(h, r->body_len, r->before, r->after);
        begin_request(h, h->url.path, false);
}

/* Queries for the acknowledgement of the batch. */
static void
send_query(LogHttp *h)
{
        g_autoptr(GString) path = g_string_new(NULL);
        http_request_begin(&h->request);
        h->protocol->query(h, path, h->request.before);
        begin_request(h, path->str, true);
        h->n_queries++;
}

/* Returns 0 if the whole request is written, or -errno. */
static int
write_request(LogHttp *h)
{
        const struct iovec *pieces;
        for (int n; (n = http_request_next(&h->request, &pieces)) > 0;) {
                ssize_t k = log_connection_write(&h->connection, pieces, n);
                if (k < 0)
                        return (int)k;
                http_request_wrote(&h->request, (size_t)k);
                timer_start(&h->answer_timer, h->timeout);
        }
        h->state = LOG_HTTP_READING;
        return 0;
}

/* ---- results ---- */

/* Ends the request. Its memory is freed by http_release, when the monitor is idle. */
static void
end_request(LogHttp *h)
{
        h->state = LOG_HTTP_IDLE;
        h->answered = false;
        h->failure = 0;
        h->problem = NULL;
        timer_stop(&h->answer_timer);
        http_answer_clear(&h->answer);
}

/* A random delay between half of the exponential one and all of it, so that the monitors of a host don't all
 * try at the same time. */
static int64_t
backoff(unsigned attempt, int64_t first, int64_t max)
{
        uint32_t random = 0;
        int64_t delay = MIN(first << MIN(attempt, 20u), max);
        if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
                random = (uint32_t)g_get_monotonic_time() << 16;
        return delay / 2 + delay / 2 * (random >> 16) / 65535;
}

static void
set_text(char **text, char *new_text)
{
        g_free(*text);
        *text = new_text;
}

/* The request failed without a valid answer. */
static int
fail(LogHttp *h, LogQueue *q, int r)
{
        set_text(&h->reason, g_strdup(h->problem));
        end_request(h);
        log_connection_break(&h->connection, q);
        h->due = true;
        log_sink_retry_in(h->connection.sink, backoff(h->attempt++, RECONNECT_FIRST, RECONNECT_MAX));
        return r;
}

static LogHttpOutcome
judge_status(int status)
{
        if (status < 300)
                return LOG_HTTP_DELIVERED;
        return status == 408 || status == 429 || status >= 500 ? LOG_HTTP_AGAIN : LOG_HTTP_REFUSED;
}

static char *
describe_answer(int status, const char *message)
{
        if (!message || !*message)
                return g_strdup_printf("it answered %d", status);
        return g_strdup_printf("it answered %d (%s)", status, message);
}

static void
report_refusal(LogHttp *h, uint64_t n, const char *answer)
{
        gint64 now = g_get_monotonic_time();
        h->n_refused++;
        if (h->reported_usec > 0 && now - h->reported_usec < REPORT_AGAIN_USEC)
                return;
        h->reported_usec = now;
        diag_warn("Logging to %s: the server refused %" G_GUINT64_FORMAT
                  " record%s: %s; refused records are dropped, and counted in the status",
                  h->target, n, n == 1 ? "" : "s", answer);
}

/* Applies the verdict to the records of the batch. Returns true if some have to be sent again. */
static bool
apply_verdict(LogHttp *h, LogQueue *q, LogHttpVerdict *v, const char *answer)
{
        if (v->outcome == LOG_HTTP_DELIVERED) {
                log_queue_done(q, v->n);
                return false;
        }
        if (v->outcome == LOG_HTTP_LATER)
                return false;
        if (v->outcome == LOG_HTTP_AGAIN) {
                log_queue_rewind(q);
                return true;
        }
        if (v->outcome == LOG_HTTP_REFUSED) {
                v->fates = g_new(LogFate, v->n);
                for (size_t i = 0; i < v->n; i++)
                        v->fates[i] = LOG_FATE_REFUSED;
        }
        uint64_t refused = log_sink_decide(h->connection.sink, v->fates, v->n);
        if (refused > 0)
                report_refusal(h, refused, answer);
        for (size_t i = 0; i < v->n; i++)
                if (v->fates[i] == LOG_FATE_AGAIN)
                        return true;
        return false;
}

static LogHttpVerdict
judge(LogHttp *h)
{
        const HttpAnswer *a = &h->answer;
        LogHttpVerdict v = {.outcome = judge_status(a->status), .n = h->n, .is_query = h->is_query};
        if (a->location && a->status < 400 && a->status >= 300)
                v.message = g_strdup_printf("see %s; redirects are not followed", a->location);
        if (h->protocol->judge)
                h->protocol->judge(h, a, &v);
        /* The request is too large: the records are sent again in smaller batches. */
        if (a->status == 413 && v.n > 1) {
                v.outcome = LOG_HTTP_AGAIN;
                v.at_once = true;
                h->batch_size = h->batch_len / 2;
        }
        /* The server has said so to an idle connection, at the moment when the request was sent: that is not
         * about the request (RFC 9110, 15.5.9). */
        if (a->status == 408 && h->reused) {
                v.outcome = v.is_query ? LOG_HTTP_LATER : LOG_HTTP_AGAIN;
                v.at_once = true;
        }
        if (!v.message && v.outcome != LOG_HTTP_DELIVERED && a->body)
                v.message = http_printable(a->body->str, a->body->len);
        return v;
}

/* The limit of the server, or of a proxy before it, may have been for one kind of data, or for a time. */
static void
grow(LogHttp *h)
{
        h->batch_size = MIN(h->batch_size + h->batch_size / GROWTH + 1, h->batch_limit);
}

static void
wait_to_query(LogHttp *h)
{
        h->state = LOG_HTTP_PENDING;
        if (h->n_queries == 0)
                h->taken = log_connection_taken(h);
        timer_start(&h->batch_timer, MIN((int64_t)QUERY_FIRST << MIN(h->n_queries, 10u), QUERY_MAX));
}

/* A batch that the server has received stays sent although the connection is lost. */
static void
break_connection(LogHttp *h, LogQueue *q)
{
        log_connection_break(&h->connection, q);
        h->connection.lost = false;
        if (h->state == LOG_HTTP_PENDING)
                log_queue_reserve(q, h->batch_len);
}

/* Ends an answered request, and the connection if that can't be used again. */
static void
finish_request(LogHttp *h, LogQueue *q, LogHttpOutcome outcome)
{
        bool persists = h->persists && h->answer.persistent && h->last_status != 408;
        end_request(h);
        if (outcome == LOG_HTTP_LATER)
                wait_to_query(h);
        if (persists)
                h->reused = true;
        else
                break_connection(h, q);
}

/* Returns 0, or -errno if records have to be sent again later. */
static int
process_answer(LogHttp *h, LogQueue *q)
{
        g_autofree char *answer = NULL;
        LogHttpVerdict v = judge(h);
        int64_t retry_after = h->answer.retry_after;
        h->last_status = h->answer.status;
        answer = describe_answer(h->last_status, v.message);
        if (v.outcome != LOG_HTTP_DELIVERED && v.outcome != LOG_HTTP_LATER)
                set_text(&h->last_message, g_strdup(v.message));
        uint64_t before = q->taken;
        bool again = apply_verdict(h, q, &v, answer);
        if (q->taken != before)
                h->attempt = 0;
        if (h->last_status < 300 && !v.is_query)
                grow(h);
        finish_request(h, q, v.outcome);
        g_free(v.message);
        g_free(v.fates);
        h->due = again || h->ending;
        if (!again || v.at_once) {
                h->attempt = 0;
                return 0;
        }
        set_text(&h->reason, g_steal_pointer(&answer));
        int64_t delay = backoff(h->attempt++, h->backoff_first, h->backoff_max);
        log_sink_retry_in(h->connection.sink, MAX(delay, retry_after));
        return -EBUSY;
}

/* ---- receiving ---- */

static bool
is_in_flight(const LogHttp *h)
{
        return h->state == LOG_HTTP_WRITING || h->state == LOG_HTTP_READING;
}

static void
note_problem(LogHttp *h, int r, const char *problem)
{
        h->failure = r;
        h->problem = problem;
}

static void
take_input(LogHttp *h, const char *bytes, size_t len)
{
        size_t used = 0;
        int r = http_answer_push(&h->answer, bytes, len, &used);
        if (r < 0)
                note_problem(h, r, h->answer.problem);
        if (r <= 0)
                return;
        h->answered = true;
        /* After an early answer the rest of the request is not written, and the connection can't be
         * reused. */
        h->persists = used == len && h->state == LOG_HTTP_READING;
}

/* After a failed write: a server that rejects a request early may have sent its answer before it closed the
 * connection. Returns true if there is a complete one. */
static bool
read_early_answer(LogHttp *h)
{
        char bytes[1024];
        ssize_t n;
        while (!h->answered && h->failure == 0 &&
               (n = log_connection_read(&h->connection, bytes, sizeof bytes)) > 0)
                take_input(h, bytes, (size_t)n);
        return h->answered;
}

/* ---- sending ---- */

/* True if there is a request to send, or to go on with, now; if not, a timer runs until then. */
static bool
is_due(LogHttp *h, const LogQueue *q)
{
        if (h->state == LOG_HTTP_PENDING)
                return !timer_is_running(&h->batch_timer);
        if (h->state != LOG_HTTP_IDLE)
                return true;
        if (h->due || h->batch_wait == 0 || log_queue_memory(q) >= batch_max(h))
                return true;
        if (!timer_is_running(&h->batch_timer))
                timer_start(&h->batch_timer, h->batch_wait);
        return false;
}

/* The queue is empty: the request is abandoned, and a loss of the connection is not a failure. */
static void
become_idle(LogHttp *h, LogQueue *q)
{
        if (h->state != LOG_HTTP_IDLE)
                log_connection_break(&h->connection, q);
        end_request(h);
        timer_stop(&h->batch_timer);
        h->connection.lost = false;
        h->due = h->ending;
}

/* True if the loss of the connection is not a failure. A server may close an idle connection at the moment
 * when the next request is sent; then that request is sent again at once. */
static bool
is_closed_idle(const LogHttp *h)
{
        return !is_in_flight(h) || (h->reused && !http_answer_has_begun(&h->answer));
}

/* Establishes the connection if necessary. Returns 0, LOG_SEND_WAIT or -errno. */
static int
connect_to_server(LogHttp *h, LogQueue *q)
{
        if (h->connection.lost && is_closed_idle(h)) {
                bool has_batch = h->state == LOG_HTTP_PENDING || (h->state != LOG_HTTP_IDLE && h->is_query);
                end_request(h);
                h->state = has_batch ? LOG_HTTP_PENDING : LOG_HTTP_IDLE;
                break_connection(h, q);
        }
        if (!h->connection.connected)
                h->reused = false;
        return log_connection_ready(&h->connection, q);
}

/* Writes the request, or the rest of it. Returns LOG_SEND_WAIT, 0 if there is an early answer or the request
 * has to be sent again at once, or -errno. */
static int
send_request(LogHttp *h)
{
        int r = write_request(h);
        log_connection_look(&h->connection);
        if (r == 0 || r == -EAGAIN)
                return LOG_SEND_WAIT;
        if (!read_early_answer(h) && !is_closed_idle(h))
                return r;
        h->connection.lost = !h->answered;
        return 0;
}

/* Goes on with the request, or begins the next one. Returns as send_request does. */
static int
advance(LogHttp *h, LogQueue *q)
{
        int r = connect_to_server(h, q);
        if (r != 0)
                return r;
        if (h->state == LOG_HTTP_IDLE)
                send_batch(h, q);
        else if (h->state == LOG_HTTP_PENDING)
                send_query(h);
        return h->state == LOG_HTTP_WRITING ? send_request(h) : LOG_SEND_WAIT;
}

/* Sends one request after the other, as each is answered. Returns 0, LOG_SEND_WAIT or -errno. */
static int
exchange(LogHttp *h, LogQueue *q)
{
        int r = 0;
        while (r == 0 && !log_queue_is_empty(q)) {
                if (h->answered) {
                        r = process_answer(h, q);
                        continue;
                }
                r = h->failure;
                if (r == 0)
                        r = is_due(h, q) ? advance(h, q) : LOG_SEND_WAIT;
                if (r < 0)
                        return fail(h, q, r);
        }
        return r;
}

static int
http_send(void *self, LogQueue *q)
{
        LogHttp *h = self;
        int r = exchange(h, q);
        if (log_queue_is_empty(q))
                become_idle(h, q);
        else if (r == 0)
                r = LOG_SEND_WAIT;
        return r;
}

/* ---- events ---- */

/* That may be the end of the answer, too. */
static void
take_end(LogHttp *h)
{
        if (http_answer_end(&h->answer)) {
                h->answered = true;
                h->persists = false;
        } else if (http_answer_has_begun(&h->answer)) {
                note_problem(h, -ECONNRESET, "it closed the connection in the middle of its answer");
        }
}

static void
on_input(LogConnection *c, void *data)
{
        LogHttp *h = data;
        char bytes[1024];
        ssize_t n = log_connection_read(c, bytes, sizeof bytes);
        if (n == -EAGAIN)
                return;
        bool expected = is_in_flight(h) && !h->answered;
        if (n > 0 && expected) {
                take_input(h, bytes, (size_t)n);
                if (h->answered || h->failure < 0)
                        log_sink_ready(c->sink);
                return;
        }
        if (expected)
                take_end(h);
        /* After unexpected input it is not known where the next answer begins: a new connection is used. */
        log_connection_end(c);
}

static void
on_answer_timeout(void *data)
{
        LogHttp *h = data;
        int64_t left = log_arrival_time_left(&h->connection.arrival, h->timeout);
        if (left > 0) {
                timer_start(&h->answer_timer, left);
                return;
        }
        note_problem(h, -ETIMEDOUT, "it did not answer in time");
        log_sink_ready(h->connection.sink);
}

static void
on_batch_timeout(void *data)
{
        LogHttp *h = data;
        h->due = true;
        log_sink_ready(h->connection.sink);
}

/* ---- the transport ---- */

/* Initializes the connection, and the URL for messages. */
static void
take_url(LogHttp *h, LogSink *sink, LogUrl *url)
{
        h->target = g_strdup_printf("%s://%s%.*s", url->address.scheme == LOG_SCHEME_TLS ? "https" : "http",
                                    url->authority, (int)strcspn(url->path, "?"), url->path);
        log_connection_init(&h->connection, sink, &url->address, 1);
        url->address = (LogAddress){0};
        h->url = *url;
        *url = (LogUrl){0};
        h->connection.on_input = on_input;
        h->connection.data = h;
}

gboolean
log_http_open(LogHttp *h, const LogDriverConfig *config, const char *driver, LogUrl *url,
              const LogHttpSetup *setup, GError **error)
{
        const LogHttpOptions *o = setup->options;
        take_url(h, config->sink, url);
        h->protocol = setup->protocol;
        h->answer.body_max = setup->protocol->answer_max;
        h->compress = setup->compress;
        h->deflate = (Deflate){.gzip = true, .level = setup->level};
        h->batch_wait = o->batch_wait;
        h->timeout = o->timeout;
        h->backoff_first = BACKOFF_FIRST;
        h->backoff_max = BACKOFF_MAX;
        h->batch_size = h->batch_limit = (size_t)o->batch_size;
        timer_init(&h->batch_timer, on_batch_timeout, h);
        timer_init(&h->answer_timer, on_answer_timeout, h);
        GString *fields = g_string_new("User-Agent: conmon\r\nAccept-Encoding: identity\r\n");
        if (setup->more_fields)
                g_string_append(fields, setup->more_fields);
        gboolean ok = log_http_add_fields(driver, o, setup->token_scheme, config->log->errands, fields,
                                          error) &&
                      log_connection_set_tls(&h->connection, driver, &o->tls, error);
        h->fields = g_string_free(fields, FALSE);
        return ok;
}

/* From now on no batch waits for more records, and the delays are short again. */
static void
http_finish(void *self, LogQueue *q, gint64 until)
{
        LogHttp *h = self;
        h->ending = h->due = true;
        h->attempt = 0;
        if (!log_queue_is_empty(q))
                log_sink_ready(h->connection.sink);
}

static void
http_release(void *self)
{
        LogHttp *h = self;
        if (h->state != LOG_HTTP_IDLE)
                return;
        deflate_release(&h->deflate);
        http_request_clear(&h->request);
}

/* That a server takes queries is no progress that a container should wait for: it may never acknowledge the
 * batch. */
static uint64_t
http_taken(void *self)
{
        const LogHttp *h = self;
        bool waits = h->state == LOG_HTTP_PENDING || (h->state != LOG_HTTP_IDLE && h->is_query);
        return waits && !h->ending ? h->taken : log_connection_taken(self);
}

static void
http_status(void *self, GString *json)
{
        const LogHttp *h = self;
        const char *message = h->last_message ? h->last_message : "";
        g_string_append_printf(json,
                               ",\"http\":{\"requests\":%" G_GUINT64_FORMAT ",\"refused\":%" G_GUINT64_FORMAT
                               ",\"status\":%d,\"message\":",
                               h->n_requests, h->n_refused, h->last_status);
        json_append_string(json, message, strlen(message));
        g_string_append_c(json, '}');
        log_connection_status(self, json);
}

static const char *
http_reason(void *self)
{
        const LogHttp *h = self;
        return h->reason ? h->reason : log_connection_reason(self);
}

static const char *
http_target(void *self)
{
        return ((const LogHttp *)self)->target;
}

static void
http_close(void *self)
{
        LogHttp *h = self;
        timer_stop(&h->batch_timer);
        timer_stop(&h->answer_timer);
        h->state = LOG_HTTP_IDLE;
        http_release(h);
        http_answer_clear(&h->answer);
        log_connection_close(&h->connection);
        log_url_clear(&h->url);
        secret_free(h->fields);
        g_free(h->target);
        g_free(h->reason);
        g_free(h->last_message);
}

const LogTransport log_http_transport = {
        .send = http_send,
        .finish = http_finish,
        .taken = http_taken,
        .release = http_release,
        .status = http_status,
        .reason = http_reason,
        .target = http_target,
        .close = http_close,
};

/* ---- live upgrade ---- */

static void
save_request(const LogHttp *h, StateWriter *w)
{
        state_put_uint(w, "state", h->state);
        state_put_uint(w, "due", h->due);
        state_put_uint(w, "is-query", h->is_query);
        state_put_uint(w, "queries", h->n_queries);
        state_put_uint(w, "answered", h->answered);
        state_put_uint(w, "reused", h->reused);
        state_put_uint(w, "persists", h->persists);
        state_put_uint(w, "records", h->n);
        state_put_uint(w, "batch-length", h->batch_len);
        /* The pieces of a request that was abandoned are invalid. */
        http_request_save(h->state == LOG_HTTP_WRITING ? &h->request : &(HttpRequest){0}, w);
        http_answer_save(&h->answer, w);
        timer_save(&h->batch_timer, w, "batch-timer");
        timer_save(&h->answer_timer, w, "answer-timer");
}

void
log_http_save(const LogHttp *h, StateWriter *w)
{
        log_connection_save(&h->connection, w);
        state_begin(w, "http");
        state_put_text(w, "target", h->target);
        state_put_text(w, "authority", h->url.authority);
        state_put_text(w, "path", h->url.path);
        state_put_text(w, "fields", h->fields);
        state_put_uint(w, "compress", h->compress);
        state_put_int(w, "level", h->deflate.level);
        state_put_uint(w, "batch-size", h->batch_size);
        state_put_int(w, "batch-wait", h->batch_wait);
        state_put_int(w, "timeout", h->timeout);
        state_put_int(w, "backoff-first", h->backoff_first);
        state_put_int(w, "backoff-max", h->backoff_max);
        save_request(h, w);
        state_put_int(w, "failure", h->failure);
        state_put_text(w, "problem", h->problem);
        state_put_text(w, "reason", h->reason);
        state_put_uint(w, "attempt", h->attempt);
        state_put_uint(w, "requests", h->n_requests);
        state_put_uint(w, "refused", h->n_refused);
        state_put_int(w, "last-status", h->last_status);
        state_put_text(w, "last-message", h->last_message);
        state_put_int(w, "reported", h->reported_usec);
        state_end(w);
}

static void
restore_request(LogHttp *h, StateReader *r)
{
        h->state = (LogHttpState)state_get_uint(r, "state", LOG_HTTP_PENDING);
        h->due = state_get_bool(r, "due");
        h->is_query = state_get_bool(r, "is-query");
        h->n_queries = (unsigned)state_get_uint(r, "queries", UINT32_MAX);
        h->answered = state_get_bool(r, "answered");
        h->reused = state_get_bool(r, "reused");
        h->persists = state_get_bool(r, "persists");
        h->n = state_get_uint(r, "records", SIZE_MAX);
        h->batch_len = state_get_uint(r, "batch-length", SIZE_MAX);
        http_request_restore(&h->request, r);
        http_answer_restore(&h->answer, r);
        timer_init(&h->batch_timer, on_batch_timeout, h);
        timer_restore(&h->batch_timer, r, "batch-timer");
        timer_init(&h->answer_timer, on_answer_timeout, h);
        timer_restore(&h->answer_timer, r, "answer-timer");
}

static void
restore_settings(LogHttp *h, StateReader *r)
{
        h->target = state_get_text(r, "target");
        h->url.authority = state_get_text(r, "authority");
        h->url.path = state_get_text(r, "path");
        h->fields = state_get_text(r, "fields");
        h->compress = state_get_bool(r, "compress");
        h->deflate = (Deflate){.gzip = true, .level = (int)state_get_int(r, "level", -1, 9)};
        h->batch_size = state_get_uint(r, "batch-size", SIZE_MAX);
        h->batch_wait = state_get_int(r, "batch-wait", 0, INT64_MAX);
        h->timeout = state_get_int(r, "timeout", 1, INT64_MAX);
        h->backoff_first = state_get_int(r, "backoff-first", 0, BACKOFF_LIMIT);
        h->backoff_max = state_get_int(r, "backoff-max", 0, BACKOFF_LIMIT);
        if (!h->target || !h->url.authority || !h->url.path || !h->fields)
                state_fail(r, "The state of an HTTP connection is incomplete");
}

/* The messages of an unanswered request must be in the queue. */
static void
check_request(const LogHttp *h, const LogQueue *queue, StateReader *r)
{
        const char *bytes;
        if (h->state != LOG_HTTP_IDLE && (h->n == 0 || log_queue_find(queue, h->n - 1, &bytes) == 0))
                state_fail(r, "The %zu records of a request are not in the queue", h->n);
        if ((h->state == LOG_HTTP_PENDING || h->is_query) && !h->protocol->query)
                state_fail(r, "A request waits for an acknowledgement, which its protocol does not have");
        if (h->answered && h->answer.state != HTTP_DONE)
                state_fail(r, "An answer is marked as complete, but is incomplete");
}

void
log_http_restore(LogHttp *h, const LogDriverConfig *config, const LogHttpProtocol *protocol,
                 const LogHttpOptions *o, const LogQueue *queue, StateReader *r)
{
        g_autofree char *problem = NULL;
        log_connection_restore(&h->connection, config->sink, &o->tls, r);
        h->connection.on_input = on_input;
        h->connection.data = h;
        h->protocol = protocol;
        h->batch_limit = (size_t)o->batch_size;
        h->taken = log_connection_taken(&h->connection);
        h->answer.body_max = protocol->answer_max;
        secret_protect(); /* the fields may contain a password */
        state_enter(r, "http");
        restore_settings(h, r);
        restore_request(h, r);
        check_request(h, queue, r);
        h->failure = (int)state_get_int(r, "failure", INT32_MIN, 0);
        problem = state_get_text(r, "problem");
        h->problem = g_intern_string(problem);
        h->reason = state_get_text(r, "reason");
        h->attempt = (unsigned)state_get_uint(r, "attempt", UINT32_MAX);
        h->n_requests = state_get_uint(r, "requests", UINT64_MAX);
        h->n_refused = state_get_uint(r, "refused", UINT64_MAX);
        h->last_status = (int)state_get_int(r, "last-status", 0, 599);
        h->last_message = state_get_text(r, "last-message");
        h->reported_usec = state_get_int(r, "reported", 0, INT64_MAX);
        state_leave(r);
}
