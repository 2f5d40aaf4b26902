/* GELF 1.1 (https://go2docs.graylog.org/current/getting_in_log_data/gelf.html): one JSON object a record.
 * Over UDP it is compressed and, if need be, sent in chunks; over TCP it ends with a NUL. */

#include "base/diag.h"
#include "base/error.h"
#include "base/json.h"
#include "base/page_buffer.h"
#include "log/connection.h"
#include "log/deflate.h"
#include "log/metadata.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* What fits into one datagram on any network, as other senders have it; 12 bytes of it are a chunk's head. */
#define DATAGRAM_MAX 1420
#define HEAD_LEN     12
#define CHUNK_LEN    (DATAGRAM_MAX - HEAD_LEN)
#define CHUNKS_MAX   128
#define MESSAGE_MAX  (CHUNK_LEN * CHUNKS_MAX)

/* Bytes that one byte of text becomes at most: \u0000. */
#define ESCAPE_MAX 6

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
        char *before; /* the members before short_message */
        char *behind; /* those behind the level */
        GString *text; /* of a record, while it is encoded; NULL: none */

        /* The message that is being sent over UDP. */
        bool sending;
        const char *bytes;
        size_t len;
        size_t next;   /* the chunk that comes next */
        uint64_t id;
        PageBuffer compressed;
} Gelf;

static gboolean
parse_address(const char *text, LogAddress *ret, GError **error)
{
        return log_address_parse("gelf", "gelf-address", text,
                                 1u << LOG_TRANSPORT_UDP | 1u << LOG_TRANSPORT_TCP, 0, ret, error);
}

static gboolean
check_address(const char *driver, const char *text, GError **error)
{
        return parse_address(text, NULL, error);
}

static const LogOption options[] = {
        {"gelf-address", LOG_OPTION_STRING, NULL, "udp://HOST:PORT or tcp://HOST:PORT; must be set",
         .check = check_address},
        {"gelf-compression-type", LOG_OPTION_ENUM, "gzip", "compression over UDP",
         .choices = "gzip|zlib|none"},
        {"gelf-compression-level", LOG_OPTION_INT, "1", "from -1 (zlib's default) over 0 (none) to 9 (best)",
         .min = -1, .max = 9},
        {"gelf-tcp-max-reconnect", LOG_OPTION_INT, NULL, "no effect: the server is tried for ever"},
        {"gelf-tcp-reconnect-delay", LOG_OPTION_INT, NULL, "no effect: up to 2 s, growing"},
        {NULL},
};

/* ---- opening ---- */

/* The name of an additional member: letters, digits, '_', '.' and '-'; "_id" is the server's own. */
static void
append_member(GString *json, const char *key, const char *value)
{
        g_autofree char *name = g_strdup(key);
        g_strcanon(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-", '_');
        g_string_append_printf(json, ",\"_%s%s\":", name, strcmp(name, "id") == 0 ? "_" : "");
        json_append_string(json, value, strlen(value));
}

static void
make_members(Gelf *self, const LogConfig *log, const LogMetadata *m)
{
        char host[256] = "";
        (void)gethostname(host, sizeof host - 1);
        GString *json = g_string_new("{\"version\":\"1.1\",\"host\":");
        json_append_string(json, host, strlen(host));
        g_string_append(json, ",\"short_message\":");
        self->before = g_string_free(json, FALSE);

        json = g_string_new(NULL);
        append_member(json, "container_id", log->cid);
        if (log->name)
                append_member(json, "container_name", log->name);
        append_member(json, "tag", m->tag);
        for (size_t i = 0; i < m->n_attributes; i++)
                append_member(json, m->attributes[i].key, m->attributes[i].value);
        self->behind = g_string_free(json, FALSE);
}

static gboolean
gelf_check(const LogDriverConfig *config, GError **error)
{
        const LogOptions *o = config->options;
        const char *address = log_options_string(o, "gelf-address");
        if (!address)
                return check_address("gelf", "", error);
        if (!g_str_has_prefix(address, "udp:") &&
            (log_options_has(o, "gelf-compression-type") || log_options_has(o, "gelf-compression-level")))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver gelf: options gelf-compression-type and gelf-compression-level "
                                 "are for UDP only");
        return TRUE;
}

static gboolean
read_address(Gelf *self, const LogDriverConfig *config, GError **error)
{
        const char *text = log_options_string(config->options, "gelf-address");
        LogAddress address = {0};
        if (!parse_address(text, &address, error))
                return FALSE;
        LogAddress *list = g_new(LogAddress, 1);
        *list = address;
        self->udp = address.transport == LOG_TRANSPORT_UDP;
        log_connection_init(&self->connection, config->sink, list, 1);
        return TRUE;
}

static void
release(void *data)
{
        Gelf *self = data;
        deflate_release(&self->deflate);
        if (!self->sending)
                page_buffer_release(&self->compressed);
        if (self->text)
                g_string_free(self->text, TRUE);
        self->text = NULL;
}

static void
gelf_close(void *data)
{
        Gelf *self = data;
        self->sending = false;
        release(self);
        if (self->connection.addresses)
                log_connection_done(&self->connection);
        g_free(self->before);
        g_free(self->behind);
        g_free(self);
}

static gboolean
set_up(Gelf *self, const LogDriverConfig *config, GError **error)
{
        const LogOptions *o = config->options;
        if (!read_address(self, config, error))
                return FALSE;
        self->compression =
                self->udp ? (Compression)log_options_number(o, "gelf-compression-type") : COMPRESSION_NONE;
        self->deflate.gzip = self->compression == COMPRESSION_GZIP;
        self->deflate.level = (int)log_options_number(o, "gelf-compression-level");
        if (getrandom(&self->id, sizeof self->id, 0) != (ssize_t)sizeof self->id)
                return error_set_errno(error, errno, "Log driver gelf: no random number");
        g_autoptr(LogMetadata) metadata = log_metadata_new(config, "{{.ID}}", error);
        if (!metadata)
                return FALSE;
        make_members(self, config->log, metadata);
        return TRUE;
}

static void *
gelf_open(const LogDriverConfig *config, GError **error)
{
        Gelf *self = g_new0(Gelf, 1);
        if (set_up(self, config, error))
                return self;
        gelf_close(self);
        return NULL;
}

/* ---- encoding ---- */

static size_t
gelf_bound(void *data, size_t len)
{
        const Gelf *self = data;
        return strlen(self->before) + ESCAPE_MAX * len + MEMBERS_MAX + strlen(self->behind) + 1;
}

/* Servers refuse an empty message, so an empty line is one of a blank. */
static void
append_record(const Gelf *self, const LogRecord *r, GString *json)
{
        g_string_append(json, self->before);
        json_append_string(json, r->len ? r->bytes : " ", r->len ? r->len : 1);
        g_string_append_printf(json, ",\"timestamp\":%" G_GINT64_FORMAT ".%03d,\"level\":%d%s",
                               r->time_ns / 1000000000, (int)(r->time_ns / 1000000 % 1000),
                               r->stream == STREAM_STDOUT ? 6 : 3, self->behind);
        if (r->ordinal > 0)
                g_string_append_printf(json,
                                       ",\"_partial_id\":\"%016" G_GINT64_MODIFIER
                                       "x\",\"_partial_ordinal\":%u,\"_partial_last\":\"%s\"",
                                       r->partial_id, r->ordinal,
                                       r->flags & LOG_RECORD_PARTIAL ? "false" : "true");
        g_string_append_c(json, '}');
        if (!self->udp)
                g_string_append_c(json, '\0');
}

static size_t
gelf_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        Gelf *self = data;
        if (!self->text)
                self->text = g_string_new(NULL);
        for (size_t i = 0; i < n; i++) {
                g_string_truncate(self->text, 0);
                append_record(self, &records[i], self->text);
                char *at = log_block_room(block, self->text->len);
                if (!at)
                        return i;
                memcpy(at, self->text->str, self->text->len);
                log_block_add(block, self->text->len, &records[i]);
        }
        return n;
}

/* ---- sending over UDP ---- */

static size_t
count_chunks(const Gelf *self)
{
        return self->len <= DATAGRAM_MAX ? 1 : (self->len + CHUNK_LEN - 1) / CHUNK_LEN;
}

/* Without zlib messages go out as they are, which every server takes. */
static void
compress(Gelf *self)
{
        if (self->compression == COMPRESSION_NONE)
                return;
        if (!deflate_is_possible(&self->deflate)) {
                diag_warn("There is no zlib (libz.so.1): GELF messages are not compressed");
                self->compression = COMPRESSION_NONE;
                return;
        }
        page_buffer_take(&self->compressed, MESSAGE_MAX);
        size_t len =
                deflate_message(&self->deflate, self->bytes, self->len, self->compressed.data, MESSAGE_MAX);
        if (len == 0)
                return;
        self->bytes = self->compressed.data;
        self->len = len;
}

/* Takes the next message. From here on it counts as sent, so that nobody drops it half way. */
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
                log_sink_drop_first(self->connection.sink);
                return true;
        }
        log_queue_sent(q, m.len);
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

static int
send_messages(Gelf *self, LogQueue *q)
{
        while (self->sending || start_message(self, q)) {
                int r = self->sending ? send_chunks(self) : 0;
                if (r == -EAGAIN)
                        return LOG_SEND_WAIT;
                bool sent = self->sending;
                self->sending = false;
                if (r < 0) {
                        log_connection_break(&self->connection, q);
                        return r;
                }
                if (sent)
                        log_queue_done(q, 1);
        }
        return 0;
}

static int
gelf_send(void *data, LogQueue *q)
{
        Gelf *self = data;
        if (!self->udp)
                return log_connection_deliver(&self->connection, q);
        if (log_queue_is_empty(q)) {
                self->sending = false;
                return 0;
        }
        int r = log_connection_ready(&self->connection, q);
        return r == 0 ? send_messages(self, q) : r;
}

static const char *
gelf_target(void *data)
{
        return ((Gelf *)data)->connection.target;
}

const LogDriver log_driver_gelf = {
        .name = "gelf",
        .help = "a server that takes the Graylog Extended Log Format",
        .options = options,
        .flags = LOG_DRIVER_METADATA | LOG_DRIVER_REMOTE | LOG_DRIVER_WHOLE_LINES | LOG_DRIVER_UTF8,
        .check = gelf_check,
        .open = gelf_open,
        .encode = gelf_encode,
        .bound = gelf_bound,
        .send = gelf_send,
        .release = release,
        .target = gelf_target,
        .close = gelf_close,
};
