/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* GELF 1.1 (https://go2docs.graylog.org/current/getting_in_log_data/gelf.html): one JSON object per
 * record. Over UDP it is compressed and, if necessary, sent in chunks; over TCP and TLS it is terminated
 * by a NUL. */

#include "base/diag.h"
#include "base/error.h"
#include "base/json.h"
#include "base/page_buffer.h"
#include "log/net/deflate.h"
#include "log/net/transport.h"
#include "log/api/metadata.h"
#include "log/api/severity.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

/* The size of a datagram that passes any network, as in other senders; 12 bytes of it are a chunk's
 * header. */
#define DATAGRAM_MAX 1420
#define HEAD_LEN     12
#define CHUNK_LEN    (DATAGRAM_MAX - HEAD_LEN)
#define CHUNKS_MAX   128
#define MESSAGE_MAX  (CHUNK_LEN * CHUNKS_MAX)

/* Numbers, names and punctuation of a record, and the members of a partial one. */
#define MEMBERS_MAX 256

typedef enum {
        COMPRESSION_GZIP,
        COMPRESSION_ZLIB,
        COMPRESSION_NONE,
} Compression;

typedef struct {
        LogConnection connection;
        bool udp;
        Compression compression;
        Deflate deflate;
        LogSeverity severity;
        char *before; /* the members before short_message */
        char *behind; /* those after the level */

        /* The message that is being sent over UDP, and the connection that it is sent over. */
        uint64_t n_connects;
        bool sending;
        const char *bytes;
        size_t len;
        size_t next;   /* the next chunk */
        uint64_t id;
        PageBuffer compressed;
} Gelf;

static gboolean
parse_address(const char *text, LogAddress *ret, GError **error)
{
        return log_address_parse("gelf", "gelf-address", text,
                                 1u << LOG_SCHEME_UDP | 1u << LOG_SCHEME_TCP | 1u << LOG_SCHEME_TLS, 0, ret,
                                 error);
}

static gboolean
check_address(const char *driver, const char *text, GError **error)
{
        return parse_address(text, NULL, error);
}

typedef struct {
        const char *address;
        int compression_type; /* Compression */
        int64_t compression_level;
        bool type_given, level_given;
        LogSeverityOptions severity;
        LogTlsOptions tls;
        int64_t peer_timeout;
        LogMetadataOptions metadata;
} GelfOptions;

#define AT(member) offsetof(GelfOptions, member)

static const LogOption options[] = {
        {"gelf-address", {VALUE_TEXT}, AT(address), "",
         "udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT; must be set",
         .check = LOG_CHECK_FIRST, .annotations = LOG_ANNOTATIONS_ADDRESS},
        {"gelf-compression-type", {VALUE_CHOICE, "gzip|zlib|none"}, AT(compression_type), "gzip",
         "compression of messages over UDP", .given = AT(type_given), .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"gelf-compression-level", {VALUE_INT, .min = -1, .max = 9}, AT(compression_level), "1",
         "compression level: 0 none, 9 best, -1 zlib's default", .given = AT(level_given),
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        LOG_SEVERITY_OPTIONS(GelfOptions, severity, "false"),
        LOG_TLS_OPTIONS("gelf", GelfOptions, tls),
        LOG_CONNECTION_OPTIONS(GelfOptions, peer_timeout),
        LOG_METADATA_OPTIONS(GelfOptions, metadata),
        {"gelf-tcp-max-reconnect", .no_effect = true, .help = "connecting is retried indefinitely",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"gelf-tcp-reconnect-delay", .no_effect = true, .help = "the delay between attempts grows up to 2 s",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {""},
};

/* ---- opening ---- */

/* The name of an additional member without its leading '_': letters, digits, '_', '.' and '-'. */
static char *
clean_name(const char *key)
{
        return g_strcanon(g_strdup(key), G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_.-", '_');
}

/* "_id" is the server's own. */
static const char *const own_names[] = {
        "id", "command", "container_id", "container_name", "created", "image_id", "image_name", "tag",
        "partial_id", "partial_ordinal", "partial_last", NULL,
};

static void
append_member(GString *json, const char *name, const char *value)
{
        if (!value)
                return;
        g_string_append_printf(json, ",\"_%s\":", name);
        json_append_string(json, value, strlen(value));
}

static void
make_members(Gelf *self, const LogConfig *log, const LogBundle *bundle, LogMetadata *m)
{
        g_autofree char *command = log_bundle_command(bundle);
        GString *json = g_string_new("{\"version\":\"1.1\",\"host\":");
        json_append_string(json, m->host, strlen(m->host));
        g_string_append(json, ",\"short_message\":\"");
        self->before = g_string_free(json, FALSE);

        json = g_string_new(NULL);
        append_member(json, "container_id", log->cid);
        append_member(json, "container_name", log->name);
        append_member(json, "command", command);
        append_member(json, "created", log_bundle_created(bundle));
        append_member(json, "image_id", log_bundle_image_id(bundle));
        append_member(json, "image_name", log_bundle_image_name(bundle));
        append_member(json, "tag", m->tag);
        log_metadata_name_attributes(
                m, &(LogNameRule){.own = own_names, .max_len = INT_MAX, .clean = clean_name});
        for (size_t i = 0; i < m->n_attributes; i++)
                append_member(json, m->attributes[i].key, m->attributes[i].value);
        self->behind = g_string_free(json, FALSE);
}

static gboolean
gelf_check(const LogDriverConfig *config, GError **error)
{
        const GelfOptions *o = config->options;
        if (!o->address)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver gelf: gelf-address must be set, as udp://HOST:PORT, "
                                 "tcp://HOST:PORT or tls://HOST:PORT");
        if (!g_str_has_prefix(o->address, "udp:") && (o->type_given || o->level_given))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver gelf: options gelf-compression-type and gelf-compression-level "
                                 "are for UDP only");
        return log_tls_check("gelf", o->address, "tls://", &o->tls, error);
}

static gboolean
read_address(Gelf *self, const LogDriverConfig *config, GError **error)
{
        const GelfOptions *o = config->options;
        LogAddress address = {0};
        if (!parse_address(o->address, &address, error))
                return FALSE;
        self->udp = address.scheme == LOG_SCHEME_UDP;
        log_connection_init(&self->connection, config->sink, &address, 1);
        self->connection.peer_timeout = o->peer_timeout;
        return log_connection_set_tls(&self->connection, "gelf", &o->tls, error);
}

static void
gelf_release(void *data)
{
        Gelf *self = data;
        deflate_release(&self->deflate);
        if (!self->sending)
                page_buffer_release(&self->compressed);
}

static void
gelf_done(void *data)
{
        Gelf *self = data;
        self->sending = false;
        gelf_release(self);
        g_free(self->before);
        g_free(self->behind);
}

static gboolean
gelf_open(void *data, const LogDriverConfig *config, GError **error)
{
        Gelf *self = data;
        const GelfOptions *o = config->options;
        if (!read_address(self, config, error))
                return FALSE;
        self->compression =
                self->udp ? (Compression)o->compression_type : COMPRESSION_NONE;
        log_severity_init(&self->severity, &o->severity);
        self->deflate.gzip = self->compression == COMPRESSION_GZIP;
        self->deflate.level = (int)o->compression_level;
        if (getrandom(&self->id, sizeof self->id, 0) != (ssize_t)sizeof self->id)
                return error_set_errno(error, errno, "Log driver gelf: no random number");
        g_autoptr(LogMetadata) metadata = log_metadata_new(config, &o->metadata, "{{.ID}}", error);
        g_autoptr(LogBundle) bundle = metadata ? log_bundle_read(config->log, false, error) : NULL;
        if (!bundle)
                return FALSE;
        make_members(self, config->log, bundle, metadata);
        return TRUE;
}

/* ---- encoding ---- */

static size_t
gelf_max_encoded_len(void *data, size_t len)
{
        const Gelf *self = data;
        return strlen(self->before) + JSON_ESCAPE_MAX * len + MEMBERS_MAX + strlen(self->behind) + 1;
}

static char *
put_members(const LogRecord *r, int severity, char *at)
{
        char *end = at + snprintf(at, MEMBERS_MAX, "\",\"timestamp\":%" G_GINT64_FORMAT ".%03d,\"level\":%d",
                                  r->time_ns / 1000000000, (int)(r->time_ns / 1000000 % 1000),
                                  severity);
        if (r->ordinal == 0)
                return end;
        return end + snprintf(end, (size_t)(at + MEMBERS_MAX - end),
                              ",\"_partial_id\":\"%016" G_GINT64_MODIFIER
                              "x\",\"_partial_ordinal\":%u,\"_partial_last\":\"%s\"",
                              r->partial_id, r->ordinal, log_record_is_last(r) ? "true" : "false");
}

/* A prefix without text is kept: servers refuse empty messages. */
static char *
gelf_put(void *data, const LogRecord *whole, char *at)
{
        Gelf *self = data;
        int severity;
        LogRecord copy;
        const LogRecord *r = log_severity_take(&self->severity, whole, &copy, &severity);
        const LogRecord *text = r->len < whole->len && log_record_is_blank(r) ? whole : r;
        at = g_stpcpy(at, self->before);
        at = json_put_text(at, text->bytes, text->len);
        at = put_members(r, severity, at);
        at = g_stpcpy(at, self->behind);
        *at++ = '}';
        if (!self->udp)
                *at++ = '\0';
        return at;
}

/* ---- sending over UDP ---- */

static size_t
count_chunks(const Gelf *self)
{
        return self->len <= DATAGRAM_MAX ? 1 : (self->len + CHUNK_LEN - 1) / CHUNK_LEN;
}

/* Without zlib, messages are sent uncompressed, which every server accepts. */
static void
compress(Gelf *self)
{
        if (self->compression == COMPRESSION_NONE)
                return;
        if (!deflate_is_possible(&self->deflate)) {
                diag_warn("GELF messages are not compressed, because zlib (libz.so.1) can't be loaded");
                self->compression = COMPRESSION_NONE;
                return;
        }
        page_buffer_take(&self->compressed, MESSAGE_MAX);
        size_t len =
                deflate_pieces(&self->deflate, &(struct iovec){(char *)self->bytes, self->len}, 1,
                               self->compressed.data, MESSAGE_MAX);
        if (len == 0)
                return;
        self->bytes = self->compressed.data;
        self->len = len;
}

/* Starts the next message. From here on it is partially sent, so that it is not dropped. */
static bool
start_message(Gelf *self, LogQueue *q)
{
        LogMessage m;
        if (log_queue_peek(q, &m, 1) == 0)
                return false;
        self->bytes = m.bytes;
        self->len = m.len;
        compress(self);
        if (count_chunks(self) > CHUNKS_MAX) {
                log_arrival_finish_datagrams(&self->connection.arrival, q);
                log_sink_drop_first(self->connection.sink);
                return true;
        }
        log_queue_reserve(q, m.len); /* it may be refused */
        self->sending = true;
        self->next = 0;
        self->id++;
        return true;
}

/* 1e 0f, the id, the number of the chunk, how many there are. */
static void
put_head(const Gelf *self, char *head)
{
        memcpy(head, "\x1e\x0f", 2);
        memcpy(head + 2, &self->id, sizeof self->id);
        head[10] = (char)self->next;
        head[11] = (char)count_chunks(self);
}

/* Returns 0 or -errno. */
static int
send_chunks(Gelf *self)
{
        size_t n = count_chunks(self);
        for (; self->next < n; self->next++) {
                size_t at = n == 1 ? 0 : self->next * CHUNK_LEN;
                char head[HEAD_LEN];
                struct iovec pieces[] = {{head, n == 1 ? 0 : HEAD_LEN},
                                         {(char *)self->bytes + at,
                                          n == 1 ? self->len : MIN(self->len - at, CHUNK_LEN)}};
                put_head(self, head);
                ssize_t r = log_connection_write(&self->connection, pieces, G_N_ELEMENTS(pieces));
                if (r < 0)
                        return (int)r;
        }
        return 0;
}

/* Returns 0 when everything was written, or -errno. */
static int
write_messages(Gelf *self, LogQueue *q)
{
        while (self->sending || start_message(self, q)) {
                int r = self->sending ? send_chunks(self) : 0;
                if (r < 0)
                        return r;
                if (self->sending)
                        log_arrival_sent_datagrams(&self->connection.arrival, 1);
                self->sending = false;
        }
        return 0;
}

static int
send_messages(Gelf *self, LogQueue *q)
{
        LogConnection *c = &self->connection;
        if (self->n_connects != c->n_connects)
                self->sending = false;
        self->n_connects = c->n_connects;
        int r = log_connection_refusal(c);
        if (r == 0) {
                if (!self->sending)
                        log_arrival_finish_datagrams(&c->arrival, q);
                r = write_messages(self, q);
        }
        if (r == -EAGAIN)
                return LOG_SEND_WAIT;
        if (r == 0)
                r = log_connection_refusal(c);
        if (r < 0)
                return log_connection_refused(c, q, r);
        return log_queue_is_empty(q) ? 0 : LOG_SEND_WAIT;
}

static int
gelf_send(void *data, LogQueue *q)
{
        Gelf *self = data;
        int r = 0;
        if (!self->udp)
                return log_connection_deliver(&self->connection, q);
        if (log_queue_is_empty(q))
                self->sending = false;
        while (r == 0 && !log_queue_is_empty(q)) {
                r = log_connection_ready(&self->connection, q);
                if (r == 0)
                        r = send_messages(self, q);
        }
        return r;
}

static void
gelf_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const Gelf *self = data;
        log_connection_save(&self->connection, w);
        state_put_uint(w, "udp", self->udp);
        log_severity_save(&self->severity, w);
        state_put_uint(w, "compression", self->compression);
        state_put_uint(w, "gzip", self->deflate.gzip);
        state_put_int(w, "level", self->deflate.level);
        state_put_text(w, "before", self->before);
        state_put_text(w, "behind", self->behind);
        state_put_uint(w, "id", self->id);
        state_put_uint(w, "connects", self->n_connects);
        state_put_uint(w, "sending", self->sending);
        state_put_uint(w, "next", self->sending ? self->next : 0);
        state_put_bytes(w, "bytes", self->sending ? self->bytes : "", self->sending ? self->len : 0);
}

/* The message that is being sent, compressed or not, is in the buffer of compressed ones. */
static void
restore_message(Gelf *self, StateReader *r)
{
        self->n_connects = state_get_uint(r, "connects", UINT64_MAX);
        self->sending = state_get_bool(r, "sending");
        self->next = state_get_uint(r, "next", CHUNKS_MAX);
        const char *bytes = state_get_bytes(r, "bytes", &self->len);
        if (self->sending && (self->len == 0 || self->len > CHUNKS_MAX * CHUNK_LEN))
                state_fail(r, "A GELF message of %zu bytes can't be sent", self->len);
        if (state_failed(r) || !self->sending)
                return;
        page_buffer_take(&self->compressed, MAX(self->len, MESSAGE_MAX));
        self->bytes = memcpy(self->compressed.data, bytes, self->len);
}

static void
gelf_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        Gelf *self = data;
        log_connection_restore(&self->connection, config->sink, &((const GelfOptions *)config->options)->tls,
                               r);
        self->udp = state_get_bool(r, "udp");
        log_severity_restore(&self->severity, r);
        self->compression = (Compression)state_get_uint(r, "compression", COMPRESSION_NONE);
        self->deflate.gzip = state_get_bool(r, "gzip");
        self->deflate.level = (int)state_get_int(r, "level", -1, 9);
        self->before = state_get_text(r, "before");
        self->behind = state_get_text(r, "behind");
        self->id = state_get_uint(r, "id", UINT64_MAX);
        if (!self->before || !self->behind)
                state_fail(r, "The members of GELF messages are not complete");
        restore_message(self, r);
}

static const LogTransport transport = {
        .send = gelf_send,
        .taken = log_connection_taken,
        .status = log_connection_status,
        .reason = log_connection_reason,
        .release = gelf_release,
        .target = log_connection_target,
        .close = log_connection_close,
};

const LogDriver log_driver_gelf = {
        .name = "gelf",
        .help = "a server for the Graylog Extended Log Format",
        .options = {options, sizeof(GelfOptions), {check_address}},
        .flags = LOG_DRIVER_ANNOTATIONS | LOG_DRIVER_METADATA | LOG_DRIVER_REMOTE | LOG_DRIVER_WHOLE_LINES |
                 LOG_DRIVER_UTF8 | LOG_DRIVER_NO_BLANKS,
        .size = sizeof(Gelf),
        .format = {gelf_put, gelf_max_encoded_len},
        .transport = &transport,
        .check = gelf_check,
        .open = gelf_open,
        .done = gelf_done,
        .save = gelf_save,
        .restore = gelf_restore,
};
