/* The forward protocol of fluentd and fluent-bit, version 1
 * (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1), in PackedForward mode: what is
 * waiting goes out as one message [tag, entries, option]. Records have the keys of Docker's driver. */

#include "base/error.h"
#include "base/fd.h"
#include "log/connection.h"
#include "log/forward_auth.h"
#include "log/metadata.h"
#include "log/msgpack.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#define DEFAULT_PORT 24224

/* Messages that may be on their way without an acknowledgement. */
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
        STATE_HELO, /* waiting for the server's word */
        STATE_PONG, /* waiting for its answer to ours */
        STATE_READY,
} State;

/* A message that was sent, or is being sent. */
typedef struct {
        uint64_t number;
        size_t n; /* records */
        bool acked;
} Chunk;

typedef struct {
        LogConnection connection;
        ForwardAuth auth;
        State state;
        uint64_t n_connects; /* the connection that the state belongs to */
        int failure;         /* -errno of the protocol */
        GString *input;      /* what the server said and is not understood yet; NULL: nothing */
        GString *greeting;   /* the rest of the PING; NULL: nothing */

        bool whole_seconds;
        bool request_ack;
        int64_t answer_timeout;
        Timer answer_timer;
        uint64_t seed;
        uint64_t next_number;
        Chunk window[WINDOW]; /* a ring */
        size_t oldest, n_chunks;

        /* The message that is being written. */
        bool writing;
        size_t written;
        struct iovec entries;
        char trailer[TRAILER_MAX];
        size_t trailer_len;
        char *head; /* array and tag, with room behind them for the head of the entries */
        size_t head_len, tag_len;

        GString *fixed[N_STREAMS]; /* the members of a record before its text */
        GString *attributes;
        uint32_t n_members;
} Fluentd;

static gboolean
parse_address(const char *text, LogAddress *ret, GError **error)
{
        g_autofree char *with_scheme = strstr(text, "://") ? NULL : g_strconcat("tcp://", text, NULL);
        return log_address_parse("fluentd", "fluentd-address", with_scheme ? with_scheme : text,
                                 1u << LOG_TRANSPORT_TCP | 1u << LOG_TRANSPORT_UNIX, DEFAULT_PORT, ret,
                                 error);
}

static gboolean
check_address(const char *driver, const char *text, GError **error)
{
        return parse_address(text, NULL, error);
}

static const LogOption options[] = {
        {"fluentd-address", LOG_OPTION_STRING, "tcp://127.0.0.1:24224",
         "tcp://HOST[:PORT], HOST[:PORT] or unix://PATH", .check = check_address},
        {"fluentd-request-ack", LOG_OPTION_BOOL, "no",
         "whether records are kept until the server acknowledges them"},
        {"fluentd-read-timeout", LOG_OPTION_DURATION, "60s", "how long the server may take to answer",
         .min = 1000},
        {"fluentd-sub-second-precision", LOG_OPTION_BOOL, "yes", "whether times have nanoseconds"},
        FORWARD_AUTH_OPTIONS,
        {"fluentd-async", LOG_OPTION_BOOL, "yes",
         "no effect: the container never waits for the server to appear"},
        {"fluentd-async-reconnect-interval", LOG_OPTION_DURATION, NULL, "no effect: up to 2 s, growing"},
        {"fluentd-buffer-limit", LOG_OPTION_BINARY_SIZE, NULL, "no effect: see max-buffer-size"},
        {"fluentd-max-retries", LOG_OPTION_INT, NULL, "no effect: the server is tried for ever"},
        {"fluentd-retry-wait", LOG_OPTION_DURATION, NULL, "no effect: up to 2 s, growing"},
        {"fluentd-write-timeout", LOG_OPTION_DURATION, NULL, "no effect: writing never waits"},
        {NULL},
};

/* ---- opening ---- */

static void
append_member(GString *out, const char *key, const char *value, size_t len)
{
        char head[MSGPACK_HEAD_MAX];
        g_string_append_len(out, head, msgpack_put_str_head(head, strlen(key)) - head);
        g_string_append(out, key);
        g_string_append_len(out, head, msgpack_put_str_head(head, len) - head);
        g_string_append_len(out, value, (gssize)len);
}

static void
append_text_member(GString *out, const char *key, const char *value)
{
        append_member(out, key, value, strlen(value));
}

static void
make_record(Fluentd *self, const LogConfig *log, const LogMetadata *m)
{
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
        self->attributes = g_string_new(NULL);
        for (size_t i = 0; i < m->n_attributes; i++)
                append_text_member(self->attributes, m->attributes[i].key, m->attributes[i].value);
        self->n_members = (name ? 4 : 3) + (uint32_t)m->n_attributes;
}

static void
make_head(Fluentd *self, const char *tag)
{
        self->head = g_malloc(2 * MSGPACK_HEAD_MAX + 1 + strlen(tag));
        char *end = msgpack_put_text(msgpack_put_array(self->head, 3), tag);
        self->tag_len = (size_t)(end - self->head);
}

static gboolean
read_address(Fluentd *self, const LogDriverConfig *config, GError **error)
{
        LogAddress address = {0};
        if (!parse_address(log_options_string(config->options, "fluentd-address"), &address, error))
                return FALSE;
        LogAddress *list = g_new(LogAddress, 1);
        *list = address;
        log_connection_init(&self->connection, config->sink, list, 1);
        return TRUE;
}

static void
string_free(GString *s)
{
        if (s)
                g_string_free(s, TRUE);
}

static void
fluentd_close(void *data)
{
        Fluentd *self = data;
        timer_stop(&self->answer_timer);
        if (self->connection.addresses)
                log_connection_done(&self->connection);
        forward_auth_done(&self->auth);
        string_free(self->input);
        string_free(self->greeting);
        string_free(self->fixed[STREAM_STDOUT]);
        string_free(self->fixed[STREAM_STDERR]);
        string_free(self->attributes);
        g_free(self->head);
        g_free(self);
}

static void on_input(LogConnection *c, void *data);
static void on_answer_timeout(void *data);

static gboolean
set_up(Fluentd *self, const LogDriverConfig *config, GError **error)
{
        const LogOptions *o = config->options;
        if (!read_address(self, config, error) || !forward_auth_init(&self->auth, o, error))
                return FALSE;
        g_autoptr(LogMetadata) metadata = log_metadata_new(config, "{{.ID}}", error);
        if (!metadata)
                return FALSE;
        make_record(self, config->log, metadata);
        make_head(self, metadata->tag);
        self->whole_seconds = !log_options_number(o, "fluentd-sub-second-precision");
        self->request_ack = log_options_number(o, "fluentd-request-ack") != 0;
        self->answer_timeout = log_options_number(o, "fluentd-read-timeout");
        self->connection.on_input = on_input;
        self->connection.data = self;
        self->seed = (uint64_t)g_get_real_time();
        timer_init(&self->answer_timer, on_answer_timeout, self);
        return TRUE;
}

static gboolean
fluentd_check(const LogDriverConfig *config, GError **error)
{
        return forward_auth_check_options(config->options, error);
}

static void *
fluentd_open(const LogDriverConfig *config, GError **error)
{
        Fluentd *self = g_new0(Fluentd, 1);
        if (set_up(self, config, error))
                return self;
        fluentd_close(self);
        return NULL;
}

/* ---- encoding: one entry [time, record] each ---- */

static size_t
fluentd_bound(void *data, size_t len)
{
        const Fluentd *self = data;
        return 1 + MSGPACK_TIME_LEN + MSGPACK_HEAD_MAX + self->fixed[STREAM_STDOUT]->len + MSGPACK_HEAD_MAX +
               len + PARTIAL_MAX + self->attributes->len;
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
                                r->flags & LOG_RECORD_PARTIAL ? "false" : "true");
}

static char *
put_entry(const Fluentd *self, const LogRecord *r, char *at)
{
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

static size_t
fluentd_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        for (size_t i = 0; i < n; i++) {
                char *at = log_block_room(block, fluentd_bound(data, records[i].len));
                if (!at)
                        return i;
                log_block_add(block, (size_t)(put_entry(data, &records[i], at) - at), &records[i]);
        }
        return n;
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

/* Makes a message of what was not sent, as far as it is in one piece. The bytes stay where they are until the
 * queue is told that they are done. */
static bool
start_chunk(Fluentd *self, LogQueue *q)
{
        const char *bytes;
        size_t len = log_queue_next(q, SIZE_MAX, &bytes);
        if (len == 0)
                return false;
        Chunk *chunk = &self->window[(self->oldest + self->n_chunks++) % WINDOW];
        *chunk = (Chunk){.number = self->next_number++, .n = log_queue_count(q, len)};
        log_queue_sent(q, len);
        self->entries = (struct iovec){(char *)bytes, len};
        self->head_len = (size_t)(msgpack_put_bin_head(self->head + self->tag_len, len) - self->head);
        make_trailer(self, chunk);
        self->writing = true;
        self->written = 0;
        return true;
}

/* Takes the oldest chunks off as far as they have arrived. */
static void
finish_chunks(Fluentd *self, LogQueue *q)
{
        while (self->n_chunks > 0 && self->window[self->oldest].acked) {
                log_queue_done(q, self->window[self->oldest].n);
                self->oldest = (self->oldest + 1) % WINDOW;
                self->n_chunks--;
        }
        if (self->n_chunks == 0 && self->state == STATE_READY)
                timer_stop(&self->answer_timer);
}

/* What is left of some pieces when the first `done` bytes of them are gone. */
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
        chunk->acked = !self->request_ack;
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
        g_clear_pointer(&self->greeting, string_free);
        return 0;
}

/* Forgets what belongs to a connection. */
static void
reset(Fluentd *self)
{
        self->state = self->auth.shared_key ? STATE_HELO : STATE_READY;
        self->failure = 0;
        self->writing = false;
        self->oldest = self->n_chunks = 0;
        g_clear_pointer(&self->input, string_free);
        g_clear_pointer(&self->greeting, string_free);
        timer_stop(&self->answer_timer);
}

/* Writes until nothing is left, or there is no room, in the kernel or in the window. Returns 0 or -errno. */
static int
write_all(Fluentd *self, LogQueue *q)
{
        int r = write_greeting(self);
        while (r == 0 && self->state == STATE_READY && (self->writing || self->n_chunks < WINDOW)) {
                if (!self->writing && !start_chunk(self, q))
                        break;
                r = write_chunk(self);
                finish_chunks(self, q);
        }
        return r == -EAGAIN ? 0 : r;
}

static int
try_send(Fluentd *self, LogQueue *q)
{
        int r = self->failure;
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
        finish_chunks(self, q);
        return write_all(self, q);
}

/* With nothing to send, an end of the connection is of no interest, but words of the
 * server that make no sense are. */
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
        int r = log_queue_is_empty(q) ? be_idle(self) : try_send(self, q);
        if (r < 0) {
                reset(self);
                log_connection_break(&self->connection, q);
                return r;
        }
        return log_queue_is_empty(q) ? 0 : LOG_SEND_WAIT;
}

static void
on_answer_timeout(void *data)
{
        Fluentd *self = data;
        self->failure = -ETIMEDOUT;
        log_sink_ready(self->connection.sink);
}

/* ---- what the server says ---- */

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
        /* Without a request for it nothing is to be said. A server that wants a shared key says HELO. */
        return self->request_ack ? take_ack(self, r) : -EACCES;
}

/* Returns 0 or -errno. */
static int
understand(Fluentd *self)
{
        MsgpackReader r = {self->input->str, self->input->str + self->input->len};
        int e = 0;
        while (e == 0 && r.at < r.end)
                e = take_message(self, &r);
        g_string_erase(self->input, 0, r.at - self->input->str);
        if (e == -EAGAIN)
                return self->input->len < INPUT_MAX ? 0 : -EBADMSG;
        return e;
}

static void
on_input(LogConnection *c, void *data)
{
        Fluentd *self = data;
        char bytes[4096];
        ssize_t n = fd_read(c->fd, bytes, sizeof bytes);
        if (n == -EAGAIN)
                return;
        if (n <= 0) {
                log_connection_end(c);
                return;
        }
        if (!self->input)
                self->input = g_string_new(NULL);
        g_string_append_len(self->input, bytes, n);
        self->failure = understand(self);
        if (self->input->len == 0)
                g_clear_pointer(&self->input, string_free);
        log_sink_ready(c->sink);
}

static const char *
fluentd_target(void *data)
{
        return ((Fluentd *)data)->connection.target;
}

static const char *const aliases[] = {"forward", NULL};

const LogDriver log_driver_fluentd = {
        .name = "fluentd",
        .aliases = aliases,
        .help = "a server that speaks the forward protocol, as fluentd and fluent-bit do",
        .options = options,
        .flags = LOG_DRIVER_METADATA | LOG_DRIVER_REMOTE | LOG_DRIVER_WHOLE_LINES | LOG_DRIVER_UTF8,
        .check = fluentd_check,
        .open = fluentd_open,
        .encode = fluentd_encode,
        .bound = fluentd_bound,
        .send = fluentd_send,
        .target = fluentd_target,
        .close = fluentd_close,
};
