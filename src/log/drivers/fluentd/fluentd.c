/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* The forward protocol of fluentd and fluent-bit, version 1
 * (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1), in PackedForward mode:
 * queued records are sent as one message [tag, entries, option]. Records have the keys of Docker's driver. */

#include "base/error.h"
#include "base/gstring.h"
#include "log/net/connection.h"
#include "log/drivers/fluentd/forward_auth.h"
#include "log/api/metadata.h"
#include "log/drivers/fluentd/msgpack.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#define DEFAULT_PORT 24224

/* Maximum number of unacknowledged messages. */
#define WINDOW 64

/* Answers of a server are short. */
#define INPUT_MAX 65536

/* A chunk's name: base64 of 16 bytes. */
#define CHUNK_NAME_LEN 24

/* Of the option map: names and heads included. */
#define TRAILER_MAX 64

/* The four members of a partial record, with a 64-bit id and a 32-bit ordinal as text. */
#define PARTIAL_MAX 112

typedef enum {
        STATE_HELO, /* waiting for the server's HELO */
        STATE_PONG, /* waiting for its answer to ours */
        STATE_READY,
} State;

/* A message that was sent, or is being sent. */
typedef struct {
        uint64_t number;
        size_t n;     /* records */
        uint64_t end; /* its end in the bytes written; 0: it is still being written */
        bool acked;   /* by the server */
} Chunk;

typedef struct {
        LogConnection connection;
        ForwardAuth auth;
        State state;
        uint64_t n_connects; /* the connection that the state belongs to */
        int failure;         /* -errno of the protocol */
        char *reason;        /* describes it, until the next attempt; NULL: there was none */
        GString *input;      /* input from the server that was not parsed yet; NULL: none */
        MsgpackScan scan;    /* of the message that the input begins with */
        GString *greeting;   /* the rest of the PING; NULL: nothing */

        bool whole_seconds;
        bool request_ack;
        int64_t answer_timeout;
        Timer answer_timer;
        uint64_t seed;
        uint64_t next_number;
        Chunk window[WINDOW]; /* a ring */
        size_t oldest, n_chunks;
        uint64_t n_seen; /* bytes that had arrived at the last look */

        /* The message that is being written. */
        bool writing;
        size_t written;
        struct iovec entries;
        char trailer[TRAILER_MAX];
        size_t trailer_len;
        char *head; /* array and tag, with space after them for the header of the entries */
        size_t head_len, tag_len;

        GString *fixed[N_STREAMS]; /* the members of a record before its text */
        GString *attributes;
        uint32_t n_members;
} Fluentd;

static gboolean
parse_address(const char *text, LogAddress *ret, GError **error)
{
        g_autofree char *with_scheme = strstr(text, "://") ? NULL : g_strconcat("tcp://", text, NULL);
        const unsigned allowed =
                1u << LOG_SCHEME_TCP | 1u << LOG_SCHEME_TLS | 1u << LOG_SCHEME_UNIX;
        return log_address_parse("fluentd", "fluentd-address", with_scheme ? with_scheme : text, allowed,
                                 DEFAULT_PORT, ret, NULL) ||
               error_set(error, CONMON_ERROR_USAGE,
                         "Log driver fluentd: option fluentd-address can't be '%s'; allowed: "
                         "tcp://HOST[:PORT], HOST[:PORT], tls://HOST[:PORT], unix://PATH",
                         text);
}

static gboolean
check_address(const char *driver, const char *text, GError **error)
{
        return parse_address(text, NULL, error);
}

typedef struct {
        const char *address;
        bool request_ack;
        int64_t read_timeout;
        bool sub_second_precision;
        ForwardAuthOptions auth;
        LogTlsOptions tls;
        int64_t peer_timeout;
        LogMetadataOptions metadata;
} FluentdOptions;

#define AT(member) offsetof(FluentdOptions, member)

static const LogOption options[] = {
        {"fluentd-address", {VALUE_TEXT}, AT(address), "tcp://127.0.0.1:24224",
         "tcp://HOST[:PORT], HOST[:PORT], tls://HOST[:PORT] or unix://PATH", .check = LOG_CHECK_FIRST,
         .annotations = LOG_ANNOTATIONS_ADDRESS},
        {"fluentd-request-ack", {VALUE_BOOL}, AT(request_ack), "false",
         "whether to keep records until the server acknowledges them",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"fluentd-read-timeout", {VALUE_DURATION, .min = 1000}, AT(read_timeout), "60s",
         "time limit for an answer of the server", .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"fluentd-sub-second-precision", {VALUE_BOOL}, AT(sub_second_precision), "false",
         "whether timestamps have nanoseconds", .annotations = LOG_ANNOTATIONS_ALLOWED},
        FORWARD_AUTH_OPTIONS(FluentdOptions, auth),
        LOG_TLS_OPTIONS("fluentd", FluentdOptions, tls),
        LOG_CONNECTION_OPTIONS(FluentdOptions, peer_timeout),
        LOG_METADATA_OPTIONS(FluentdOptions, metadata),
        {"fluentd-async", .no_effect = true, .help = "a container starts without waiting for the server",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"fluentd-async-reconnect-interval", .no_effect = true,
         .help = "the delay between attempts grows up to 2 s",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"fluentd-buffer-limit", {VALUE_BINARY_SIZE}, .same_as = "max-buffer-size",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"fluentd-max-retries", .no_effect = true, .help = "connecting is retried indefinitely",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"fluentd-retry-wait", .no_effect = true, .help = "the delay between attempts grows up to 2 s",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"fluentd-write-timeout", .no_effect = true, .help = "writing never blocks",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {""},
};

/* ---- opening ---- */

static void
append_text(GString *out, const char *text)
{
        size_t old = out->len;
        g_string_set_size(out, old + MSGPACK_STR_MAX(strlen(text)));
        const char *end = msgpack_put_text(out->str + old, text);
        g_string_set_size(out, (gsize)(end - out->str));
}

static void
append_text_member(GString *out, const char *key, const char *value)
{
        append_text(out, key);
        append_text(out, value);
}

static void
make_record(Fluentd *self, const LogConfig *log, LogMetadata *m)
{
        static const char *const own[] = {
                "container_id", "container_name",  "source",       "log", "partial_message",
                "partial_id",   "partial_ordinal", "partial_last", NULL,
        };
        g_autofree char *name = log->name ? g_strconcat("/", log->name, NULL) : NULL;
        for (StreamId i = 0; i < N_STREAMS; i++) {
                GString *fixed = self->fixed[i] = g_string_new(NULL);
                append_text_member(fixed, "container_id", log->cid);
                if (name)
                        append_text_member(fixed, "container_name", name);
                append_text_member(fixed, "source", stream_name(i));
                /* The key of the member whose value is the line. */
                g_string_append(fixed, "\xa3log");
        }
        log_metadata_name_attributes(
                m, &(LogNameRule){.own = own, .max_len = INT_MAX, .clean = log_metadata_clean_text});
        self->attributes = g_string_new(NULL);
        for (size_t i = 0; i < m->n_attributes; i++)
                append_text_member(self->attributes, m->attributes[i].key, m->attributes[i].value);
        self->n_members = (name ? 4 : 3) + (uint32_t)m->n_attributes;
}

static void
make_head(Fluentd *self, const char *tag)
{
        self->head = g_malloc(2 * MSGPACK_HEAD_MAX + MSGPACK_STR_MAX(strlen(tag)));
        char *end = msgpack_put_text(msgpack_put_array(self->head, 3), tag);
        self->tag_len = (size_t)(end - self->head);
}

static gboolean
read_address(Fluentd *self, const LogDriverConfig *config, GError **error)
{
        const FluentdOptions *o = config->options;
        LogAddress address = {0};
        if (!parse_address(o->address, &address, error))
                return FALSE;
        log_connection_init(&self->connection, config->sink, &address, 1);
        self->connection.peer_timeout = o->peer_timeout;
        return log_connection_set_tls(&self->connection, "fluentd", &o->tls, error);
}

static void
fluentd_done(void *data)
{
        Fluentd *self = data;
        timer_stop(&self->answer_timer);
        forward_auth_done(&self->auth);
        g_free(self->reason);
        gstring_free(self->input);
        gstring_free(self->greeting);
        gstring_free(self->fixed[STREAM_STDOUT]);
        gstring_free(self->fixed[STREAM_STDERR]);
        gstring_free(self->attributes);
        g_free(self->head);
}

static void on_input(LogConnection *c, void *data);
static void on_answer_timeout(void *data);

static gboolean
fluentd_open(void *data, const LogDriverConfig *config, GError **error)
{
        Fluentd *self = data;
        const FluentdOptions *o = config->options;
        if (!read_address(self, config, error) ||
            !forward_auth_init(&self->auth, &o->auth, config->log->errands, error))
                return FALSE;
        g_autoptr(LogMetadata) metadata = log_metadata_new(config, &o->metadata, "{{.ID}}", error);
        if (!metadata)
                return FALSE;
        make_record(self, config->log, metadata);
        make_head(self, metadata->tag);
        self->whole_seconds = !o->sub_second_precision;
        self->request_ack = o->request_ack;
        self->answer_timeout = o->read_timeout;
        self->connection.on_input = on_input;
        self->connection.data = self;
        self->seed = (uint64_t)g_get_real_time();
        timer_init(&self->answer_timer, on_answer_timeout, self);
        return TRUE;
}

static gboolean
fluentd_check(const LogDriverConfig *config, GError **error)
{
        const FluentdOptions *o = config->options;
        return log_tls_check("fluentd", o->address, "tls://", &o->tls, error) &&
               forward_auth_check_options(&o->auth, error);
}

/* ---- encoding: one entry [time, record] each ---- */

static size_t
fluentd_max_encoded_len(void *data, size_t len)
{
        const Fluentd *self = data;
        return 1 + MSGPACK_TIME_LEN + MSGPACK_HEAD_MAX + self->fixed[STREAM_STDOUT]->len +
               MSGPACK_STR_MAX(len) + PARTIAL_MAX + self->attributes->len;
}

static char *
put_partial(const LogRecord *r, char *at)
{
        char id[17], ordinal[11];
        (void)snprintf(id, sizeof id, "%016" G_GINT64_MODIFIER "x", r->partial_id);
        (void)snprintf(ordinal, sizeof ordinal, "%u", r->ordinal);
        at = msgpack_put_text(msgpack_put_text(at, "partial_message"), "true");
        at = msgpack_put_text(msgpack_put_text(at, "partial_id"), id);
        at = msgpack_put_text(msgpack_put_text(at, "partial_ordinal"), ordinal);
        return msgpack_put_text(msgpack_put_text(at, "partial_last"),
                                log_record_is_last(r) ? "true" : "false");
}

static char *
fluentd_put(void *data, const LogRecord *r, char *at)
{
        const Fluentd *self = data;
        const GString *fixed = self->fixed[r->stream];
        at = msgpack_put_array(at, 2);
        if (self->whole_seconds)
                at = msgpack_put_uint(at, (uint32_t)(r->time_ns / 1000000000));
        else
                at = msgpack_put_time(at, r->time_ns);
        at = msgpack_put_map(at, self->n_members + (r->ordinal > 0 ? 4 : 0));
        memcpy(at, fixed->str, fixed->len);
        at = msgpack_put_str(at + fixed->len, r->bytes, r->len);
        if (r->ordinal > 0)
                at = put_partial(r, at);
        memcpy(at, self->attributes->str, self->attributes->len);
        return at + self->attributes->len;
}

/* ---- sending ---- */

static void
put_chunk_name(const Fluentd *self, uint64_t number, char *name)
{
        uint64_t parts[2] = {self->seed, number};
        gint state = 0, save = 0;
        gsize n = g_base64_encode_step((const guchar *)parts, sizeof parts, FALSE, name, &state, &save);
        (void)g_base64_encode_close(FALSE, name + n, &state, &save);
}

static void
make_trailer(Fluentd *self, const Chunk *chunk)
{
        char *at = msgpack_put_map(self->trailer, self->request_ack ? 2 : 1);
        at = msgpack_put_uint(msgpack_put_text(at, "size"), (uint32_t)chunk->n);
        if (self->request_ack) {
                at = msgpack_put_str_head(msgpack_put_text(at, "chunk"), CHUNK_NAME_LEN);
                char name[CHUNK_NAME_LEN + 8];
                put_chunk_name(self, chunk->number, name);
                memcpy(at, name, CHUNK_NAME_LEN);
                at += CHUNK_NAME_LEN;
        }
        self->trailer_len = (size_t)(at - self->trailer);
}

/* Creates a message from contiguous unsent entries. The bytes stay in the queue until they are
 * acknowledged. */
static bool
start_chunk(Fluentd *self, LogQueue *q)
{
        const char *bytes;
        size_t len = log_queue_next(q, SIZE_MAX, &bytes);
        if (len == 0)
                return false;
        Chunk *chunk = &self->window[(self->oldest + self->n_chunks++) % WINDOW];
        *chunk = (Chunk){.number = self->next_number++, .n = log_queue_count(q, len)};
        if (self->request_ack)
                log_queue_reserve(q, len); /* only the acknowledgement is progress */
        else
                log_queue_sent(q, len);
        self->entries = (struct iovec){(char *)bytes, len};
        self->head_len = (size_t)(msgpack_put_bin_head(self->head + self->tag_len, len) - self->head);
        make_trailer(self, chunk);
        self->writing = true;
        self->written = 0;
        return true;
}

static bool
has_arrived(const Fluentd *self, const Chunk *chunk)
{
        if (self->request_ack)
                return chunk->acked;
        return chunk->end > 0 && chunk->end <= self->connection.arrival.n_acked;
}

/* Removes the oldest chunks that were acknowledged. */
static void
finish_chunks(Fluentd *self, LogQueue *q)
{
        while (self->n_chunks > 0 && has_arrived(self, &self->window[self->oldest])) {
                log_queue_done(q, self->window[self->oldest].n);
                self->oldest = (self->oldest + 1) % WINDOW;
                self->n_chunks--;
        }
        if (self->n_chunks == 0 && self->state == STATE_READY)
                timer_stop(&self->answer_timer);
}

/* The rest of some pieces without the first `done` bytes. */
static int
rest_of(struct iovec *pieces, int n, size_t done)
{
        int kept = 0;
        for (int i = 0; i < n; i++) {
                size_t gone = MIN(done, pieces[i].iov_len);
                done -= gone;
                if (gone < pieces[i].iov_len)
                        pieces[kept++] =
                                (struct iovec){(char *)pieces[i].iov_base + gone, pieces[i].iov_len - gone};
        }
        return kept;
}

/* Returns 0 when all of the message is written. */
static int
write_chunk(Fluentd *self)
{
        for (;;) {
                struct iovec pieces[] = {{self->head, self->head_len},
                                         self->entries,
                                         {self->trailer, self->trailer_len}};
                int n = rest_of(pieces, G_N_ELEMENTS(pieces), self->written);
                if (n == 0)
                        break;
                ssize_t k = log_connection_write(&self->connection, pieces, n);
                if (k < 0)
                        return (int)k;
                self->written += (size_t)k;
        }
        self->writing = false;
        Chunk *chunk = &self->window[(self->oldest + self->n_chunks - 1) % WINDOW];
        chunk->end = self->connection.arrival.n_written;
        if (self->request_ack && !timer_is_running(&self->answer_timer))
                timer_start(&self->answer_timer, self->answer_timeout);
        return 0;
}

static int
write_greeting(Fluentd *self)
{
        while (self->greeting && self->greeting->len > 0) {
                struct iovec piece = {self->greeting->str, self->greeting->len};
                ssize_t k = log_connection_write(&self->connection, &piece, 1);
                if (k < 0)
                        return (int)k;
                g_string_erase(self->greeting, 0, k);
        }
        g_clear_pointer(&self->greeting, gstring_free);
        return 0;
}

/* Resets the state of a connection. */
static void
reset(Fluentd *self)
{
        self->state = self->auth.shared_key ? STATE_HELO : STATE_READY;
        self->failure = 0;
        self->writing = false;
        self->oldest = self->n_chunks = 0;
        g_clear_pointer(&self->input, gstring_free);
        self->scan = (MsgpackScan){0};
        g_clear_pointer(&self->greeting, gstring_free);
        timer_stop(&self->answer_timer);
}

/* Writes until everything was sent, or the socket buffer or the window is full. Returns 0 or -errno. */
static int
write_all(Fluentd *self, LogQueue *q)
{
        int r = write_greeting(self);
        bool full;
        do {
                while (r == 0 && self->state == STATE_READY && (self->writing || self->n_chunks < WINDOW)) {
                        if (!self->writing && !start_chunk(self, q))
                                break;
                        r = write_chunk(self);
                }
                full = self->n_chunks == WINDOW;
                log_connection_look(&self->connection);
                finish_chunks(self, q);
                /* If everything has arrived by now, no timer and no event would call again. */
        } while (r == 0 && full && self->n_chunks < WINDOW);
        return r == -EAGAIN ? 0 : r;
}

/* The time limit for an acknowledgement begins when the oldest message has arrived: a slow network may need
 * longer for the transfer. */
static void
extend_limit(Fluentd *self)
{
        const Chunk *first = &self->window[self->oldest];
        uint64_t before = self->n_seen, now = self->connection.arrival.n_acked;
        self->n_seen = now;
        bool arriving = now != before && (first->end == 0 || first->end > before);
        if (self->n_chunks > 0 && arriving && timer_is_running(&self->answer_timer))
                timer_start(&self->answer_timer, self->answer_timeout);
}

static int
try_send(Fluentd *self, LogQueue *q)
{
        int r = self->failure;
        finish_chunks(self, q);
        extend_limit(self);
        if (r == 0)
                r = log_connection_ready(&self->connection, q);
        if (r != 0)
                return r;
        if (self->n_connects != self->connection.n_connects) {
                reset(self);
                self->n_connects = self->connection.n_connects;
                if (self->state != STATE_READY)
                        timer_start(&self->answer_timer, self->answer_timeout);
        }
        return write_all(self, q);
}

/* With nothing to send, a closed connection is not an error, but invalid input from the server is. */
static int
be_idle(Fluentd *self)
{
        self->connection.lost = false;
        self->writing = false;
        self->n_chunks = 0;
        return self->failure;
}

static int
fluentd_send(void *data, LogQueue *q)
{
        Fluentd *self = data;
        if (self->failure == 0)
                g_clear_pointer(&self->reason, g_free);
        int r = log_queue_is_empty(q) ? be_idle(self) : try_send(self, q);
        if (r < 0) {
                reset(self);
                log_connection_break(&self->connection, q);
                return r;
        }
        return log_queue_is_empty(q) ? 0 : LOG_SEND_WAIT;
}

static char *
describe_timeout(const Fluentd *self)
{
        static const char *const missing[] = {
                [STATE_HELO] = "did not ask for the shared key in time; it may have none",
                [STATE_PONG] = "did not answer the handshake in time",
                [STATE_READY] = "did not acknowledge a message in time",
        };
        return g_strconcat("the server ", missing[self->state], NULL);
}

/* Why the server's message can't be accepted. */
static char *
describe_message(const Fluentd *self, int r)
{
        if (r != -EACCES)
                return g_strdup(self->state == STATE_READY && self->request_ack
                                        ? "the server sent something else than an acknowledgement"
                                        : "the server does not speak the forward protocol");
        if (self->state == STATE_READY)
                return g_strdup("the server requires a shared key; set fluentd-shared-key-file");
        return self->auth.refusal ? g_strconcat("the server refused: ", self->auth.refusal, NULL)
                                  : g_strdup("the server does not know the shared key");
}

static void
note_failure(Fluentd *self, int r, char *reason)
{
        self->failure = r;
        g_free(self->reason);
        self->reason = reason;
}

static void
on_answer_timeout(void *data)
{
        Fluentd *self = data;
        note_failure(self, -ETIMEDOUT, describe_timeout(self));
        log_sink_ready(self->connection.sink);
}

/* ---- input from the server ---- */

static int
take_ack(Fluentd *self, MsgpackReader *r)
{
        MsgpackReader copy = *r;
        MsgpackValue map, key, name;
        int e = msgpack_read(&copy, &map);
        if (e == 0 && (map.type != MSGPACK_MAP || map.n != 1))
                return -EBADMSG;
        if (e == 0)
                e = msgpack_read(&copy, &key);
        if (e == 0)
                e = msgpack_read(&copy, &name);
        if (e != 0)
                return e;
        if (key.type != MSGPACK_STR || key.len != 3 || memcmp(key.text, "ack", 3) != 0)
                return -EBADMSG;
        *r = copy;
        for (size_t i = 0; i < self->n_chunks; i++) {
                Chunk *chunk = &self->window[(self->oldest + i) % WINDOW];
                char expected[CHUNK_NAME_LEN + 8];
                put_chunk_name(self, chunk->number, expected);
                bool mine = name.type == MSGPACK_STR && name.len == CHUNK_NAME_LEN &&
                            memcmp(name.text, expected, CHUNK_NAME_LEN) == 0;
                if (mine && !(self->writing && i + 1 == self->n_chunks)) {
                        chunk->acked = true;
                        timer_start(&self->answer_timer, self->answer_timeout);
                        return 0;
                }
        }
        return -EBADMSG;
}

static int
take_message(Fluentd *self, MsgpackReader *r)
{
        int e;
        switch (self->state) {
        case STATE_HELO:
                e = forward_auth_answer(&self->auth, r, &self->greeting);
                self->state = e == 0 ? STATE_PONG : STATE_HELO;
                return e;
        case STATE_PONG:
                e = forward_auth_check(&self->auth, r);
                if (e == 0) {
                        self->state = STATE_READY;
                        timer_stop(&self->answer_timer);
                }
                return e;
        case STATE_READY:
                break;
        }
        if (forward_auth_is_asked_for(*r))
                return -EACCES;
        /* Nothing else is expected without a request for acknowledgements. */
        return self->request_ack ? take_ack(self, r) : -EBADMSG;
}

/* Returns 0 or -errno. */
static int
understand(Fluentd *self)
{
        size_t done = 0;
        int e = 0;
        while (e == 0 && done < self->input->len) {
                MsgpackScan *scan = &self->scan;
                const char *text = self->input->str + done;
                e = msgpack_scan(scan, text, self->input->len - done);
                if (e < 0)
                        break;
                MsgpackReader r = {text, text + scan->at};
                done += scan->at;
                *scan = (MsgpackScan){0};
                e = take_message(self, &r);
                /* The value is complete: missing members will not follow. */
                if (e == -EAGAIN)
                        return -EBADMSG;
        }
        g_string_erase(self->input, 0, (gssize)done);
        if (e == -EAGAIN)
                return self->input->len < INPUT_MAX ? 0 : -EBADMSG;
        return e;
}

static void
on_input(LogConnection *c, void *data)
{
        Fluentd *self = data;
        char bytes[4096];
        ssize_t n = log_connection_read(c, bytes, sizeof bytes);
        if (n == -EAGAIN)
                return;
        if (n <= 0) {
                log_connection_end(c);
                return;
        }
        if (!self->input)
                self->input = g_string_new(NULL);
        g_string_append_len(self->input, bytes, n);
        int r = understand(self);
        note_failure(self, r, r < 0 ? describe_message(self, r) : NULL);
        if (self->input->len == 0)
                g_clear_pointer(&self->input, gstring_free);
        log_sink_ready(c->sink);
}

/* ---- live upgrade ---- */

/* The start of the current message in the queue follows from the previous ones. */
static void
save_window(const Fluentd *self, StateWriter *w)
{
        for (size_t i = 0; i < self->n_chunks; i++) {
                const Chunk *chunk = &self->window[(self->oldest + i) % WINDOW];
                state_begin(w, "chunk");
                state_put_uint(w, "number", chunk->number);
                state_put_uint(w, "records", chunk->n);
                state_put_uint(w, "end", chunk->end);
                state_put_uint(w, "acknowledged", chunk->acked);
                state_end(w);
        }
        state_put_uint(w, "writing", self->writing);
        state_put_uint(w, "written", self->writing ? self->written : 0);
        state_put_uint(w, "entries", self->writing ? self->entries.iov_len : 0);
}

static void
fluentd_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const Fluentd *self = data;
        log_connection_save(&self->connection, w);
        forward_auth_save(&self->auth, w);
        state_put_uint(w, "state", self->state);
        state_put_uint(w, "connects", self->n_connects);
        state_put_int(w, "failure", self->failure);
        state_put_string(w, "input", self->input);
        state_put_string(w, "greeting", self->greeting);
        state_put_uint(w, "whole-seconds", self->whole_seconds);
        state_put_uint(w, "request-ack", self->request_ack);
        state_put_int(w, "answer-timeout", self->answer_timeout);
        timer_save(&self->answer_timer, w, "answer-timer");
        state_put_uint(w, "seed", self->seed);
        state_put_uint(w, "next-number", self->next_number);
        save_window(self, w);
        state_put_bytes(w, "head", self->head, self->tag_len);
        for (StreamId i = 0; i < N_STREAMS; i++)
                state_put_string(w, "fixed", self->fixed[i]);
        state_put_string(w, "attributes", self->attributes);
        state_put_uint(w, "members", self->n_members);
}

/* Restores the message that is being written. */
static void
restore_writing(Fluentd *self, const LogQueue *queue, StateReader *r)
{
        size_t before = 0;
        const char *bytes = NULL;
        for (size_t i = 0; i + 1 < self->n_chunks; i++)
                before += self->window[i].n;
        size_t len = self->n_chunks > 0 ? log_queue_find(queue, before, &bytes) : 0;
        if (self->entries.iov_len == 0 || self->entries.iov_len > len) {
                state_fail(r, "The message that is being written is not in the queue");
                return;
        }
        self->entries.iov_base = (char *)bytes;
        self->head_len = (size_t)(msgpack_put_bin_head(self->head + self->tag_len, self->entries.iov_len) -
                                  self->head);
        make_trailer(self, &self->window[self->n_chunks - 1]);
}

static void
restore_window(Fluentd *self, StateReader *r)
{
        while (state_enter_next(r, "chunk")) {
                Chunk chunk = {.number = state_get_uint(r, "number", UINT64_MAX)};
                chunk.n = state_get_uint(r, "records", SIZE_MAX);
                chunk.end = state_get_uint(r, "end", UINT64_MAX);
                chunk.acked = state_get_bool(r, "acknowledged");
                state_leave(r);
                if (self->n_chunks < WINDOW)
                        self->window[self->n_chunks++] = chunk;
                else
                        state_fail(r, "Too many messages wait for an acknowledgement");
        }
        self->writing = state_get_bool(r, "writing");
        self->written = state_get_uint(r, "written", SIZE_MAX);
        self->entries.iov_len = state_get_uint(r, "entries", SIZE_MAX);
}

static void
restore_head(Fluentd *self, StateReader *r)
{
        const char *head = state_get_bytes(r, "head", &self->tag_len);
        self->head = g_malloc(self->tag_len + MSGPACK_HEAD_MAX);
        memcpy(self->head, head, self->tag_len);
}

static void
fluentd_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        Fluentd *self = data;
        log_connection_restore(&self->connection, config->sink,
                               &((const FluentdOptions *)config->options)->tls, r);
        self->connection.on_input = on_input;
        self->connection.data = self;
        forward_auth_restore(&self->auth, r);
        self->state = (State)state_get_uint(r, "state", STATE_READY);
        self->n_connects = state_get_uint(r, "connects", UINT64_MAX);
        self->failure = (int)state_get_int(r, "failure", INT32_MIN, 0);
        self->input = state_get_string_or_null(r, "input");
        self->greeting = state_get_string_or_null(r, "greeting");
        self->whole_seconds = state_get_bool(r, "whole-seconds");
        self->request_ack = state_get_bool(r, "request-ack");
        self->answer_timeout = state_get_int(r, "answer-timeout", 1, INT64_MAX);
        timer_init(&self->answer_timer, on_answer_timeout, self);
        timer_restore(&self->answer_timer, r, "answer-timer");
        self->seed = state_get_uint(r, "seed", UINT64_MAX);
        self->next_number = state_get_uint(r, "next-number", UINT64_MAX);
        restore_window(self, r);
        restore_head(self, r);
        for (StreamId i = 0; i < N_STREAMS; i++)
                self->fixed[i] = state_get_string(r, "fixed");
        self->attributes = state_get_string(r, "attributes");
        self->n_members = (uint32_t)state_get_uint(r, "members", UINT32_MAX);
        /* Before the first connection the state is always HELO. */
        if (self->n_connects > 0 && self->state != STATE_READY && !self->auth.shared_key)
                state_fail(r, "A server requires a shared key, and there is none");
        if (self->writing && !state_failed(r))
                restore_writing(self, queue, r);
}

static const char *
fluentd_reason(void *data)
{
        const Fluentd *self = data;
        return self->reason ? self->reason : log_connection_reason(data);
}

static const LogTransport transport = {
        .send = fluentd_send,
        .taken = log_connection_taken,
        .status = log_connection_status,
        .reason = fluentd_reason,
        .target = log_connection_target,
        .close = log_connection_close,
};

static const char *const aliases[] = {"forward", NULL};

const LogDriver log_driver_fluentd = {
        .name = "fluentd",
        .aliases = aliases,
        .help = "a server for the forward protocol, such as fluentd or fluent-bit",
        .options = {options, sizeof(FluentdOptions), {check_address}},
        .flags = LOG_DRIVER_ANNOTATIONS | LOG_DRIVER_METADATA | LOG_DRIVER_REMOTE | LOG_DRIVER_WHOLE_LINES |
                 LOG_DRIVER_UTF8,
        .size = sizeof(Fluentd),
        .format = {fluentd_put, fluentd_max_encoded_len},
        .transport = &transport,
        .check = fluentd_check,
        .open = fluentd_open,
        .done = fluentd_done,
        .save = fluentd_save,
        .restore = fluentd_restore,
};
