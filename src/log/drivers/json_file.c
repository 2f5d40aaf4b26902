/* Docker's json-file: {"log":"text\n","stream":"stdout","attrs":{...},"time":"..."} and a newline for each
 * record. A record without a newline at the end of "log" goes on in the next one of its stream. */

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "log/driver.h"
#include "log/log_file.h"
#include "log/metadata.h"

#include <string.h>

/* Bytes that one byte of text becomes at most: \u0000. */
#define ESCAPE_MAX 6

static const char head[] = "{\"log\":\"";
#define HEAD_LEN (sizeof head - 1)

/* Behind the text of a record; it stays the same for all records of a chunk. */
typedef struct {
        int64_t time_ns; /* of the first record of the line that goes on, or was written last */
        /* `\n","stream":…}` and a newline; a partial record leaves the first two bytes out */
        GString *text;
        int64_t text_ns; /* the time in it */
} Tail;

typedef struct {
        LogFile file;
        char *attrs; /* `"attrs":{…},` or nothing */
        Tail tails[N_STREAMS];
} JsonFile;

static char *
make_attrs(const LogMetadata *m)
{
        GString *json = g_string_new(NULL);
        size_t i = 0;
        /* The tag has its place among the keys, and gives way to an attribute of that name. */
        bool tag = m->tag && *m->tag;
        for (size_t k = 0; k < m->n_attributes; k++)
                tag = tag && strcmp(m->attributes[k].key, "tag") != 0;
        while (tag || i < m->n_attributes) {
                bool is_tag = tag && (i == m->n_attributes || strcmp("tag", m->attributes[i].key) < 0);
                const char *key = is_tag ? "tag" : m->attributes[i].key;
                const char *value = is_tag ? m->tag : m->attributes[i].value;
                g_string_append(json, json->len == 0 ? "\"attrs\":{" : ",");
                json_append_string(json, key, strlen(key));
                g_string_append_c(json, ':');
                json_append_string(json, value, strlen(value));
                if (is_tag)
                        tag = false;
                else
                        i++;
        }
        if (json->len > 0)
                g_string_append(json, "},");
        return g_string_free(json, FALSE);
}

static void
json_file_close(void *data)
{
        JsonFile *self = data;
        log_file_close(&self->file);
        for (StreamId i = 0; i < N_STREAMS; i++)
                g_string_free(self->tails[i].text, TRUE);
        g_free(self->attrs);
        g_free(self);
}

static gboolean
json_file_check(const LogDriverConfig *config, GError **error)
{
        LogFileLimits limits = {0};
        if (!config->arg || !*config->arg)
                return error_set(error, CONMON_ERROR_USAGE, "json-file requires a filename");
        return log_file_read_limits(config, &limits, error);
}

static void *
json_file_open(const LogDriverConfig *config, GError **error)
{
        LogFileLimits limits = {0};
        g_autoptr(LogMetadata) metadata = log_metadata_new(config, NULL, error);
        if (!metadata || !log_file_read_limits(config, &limits, error))
                return NULL;
        JsonFile *self = g_new0(JsonFile, 1);
        for (StreamId i = 0; i < N_STREAMS; i++)
                self->tails[i].text = g_string_new(NULL);
        self->attrs = make_attrs(metadata);
        int r = log_file_open(&self->file, config->arg, &limits, config->sink);
        if (r == 0)
                return self;
        error_set_errno(error, r, "Failed to open log file %s", config->arg);
        json_file_close(self);
        return NULL;
}

/* All parts of a line have the time of the first. */
static void
make_tail(JsonFile *self, const LogRecord *r)
{
        Tail *tail = &self->tails[r->stream];
        if (!(r->flags & LOG_RECORD_CONTINUES))
                tail->time_ns = r->time_ns;
        if (tail->text->len > 0 && tail->text_ns == tail->time_ns)
                return;
        char time[CLOCK_UTC_SIZE];
        (void)clock_format_utc(tail->time_ns, time);
        g_string_printf(tail->text, "\\n\",\"stream\":\"%s\",%s\"time\":\"%s\"}\n", stream_name(r->stream),
                        self->attrs, time);
        tail->text_ns = tail->time_ns;
}

/* Sixteen bytes at a time, on any processor that the compiler knows. */
typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef uint64_t Words2 __attribute__((vector_size(16)));

/* True if all of them stand for themselves in a JSON string. */
static bool
are_plain(Bytes16 b)
{
        Words2 special = (Words2)((b < 0x20) | (b >= 0x80) | (b == '"') | (b == '\\') | (b == '<') |
                                  (b == '>') | (b == '&'));
        return (special[0] | special[1]) == 0;
}

/* The same for one byte: a bit for each, none of them beyond ASCII. */
static bool
is_plain(unsigned char c)
{
        static const uint64_t plain[4] = {
                ~((UINT64_C(1) << 32) - 1) & ~(UINT64_C(1) << '"' | UINT64_C(1) << '&' | UINT64_C(1) << '<' |
                                               UINT64_C(1) << '>'),
                ~(UINT64_C(1) << ('\\' - 64)),
        };
        return plain[c / 64] >> c % 64 & 1;
}

/* Text on its way into a JSON string. There is room for ESCAPE_MAX times as many bytes as are left. */
typedef struct {
        const char *at;
        const char *end;
        char *out;
} Escape;

static void
put_number(Escape *e, unsigned c)
{
        static const char digits[] = "0123456789abcdef";
        *e->out++ = '\\';
        *e->out++ = 'u';
        for (int shift = 12; shift >= 0; shift -= 4)
                *e->out++ = digits[c >> shift & 15];
}

/* One ASCII character that does not stand for itself. */
static void
put_special(Escape *e)
{
        char c = *e->at++;
        const char *letter = c == '\n' ? "n" : c == '\r' ? "r" : c == '"' ? "\"" : c == '\\' ? "\\" : NULL;
        if (!letter) {
                put_number(e, (unsigned char)c);
                return;
        }
        *e->out++ = '\\';
        *e->out++ = *letter;
}

/* One character beyond ASCII, or one byte that is none. */
static void
put_unicode(Escape *e)
{
        gunichar c = g_utf8_get_char_validated(e->at, e->end - e->at);
        /* The two highest values are errors. */
        bool valid = c < (gunichar)-2;
        size_t len = valid ? (size_t)(g_utf8_next_char(e->at) - e->at) : 1;
        if (valid && c != 0x2028 && c != 0x2029)
                e->out = mempcpy(e->out, e->at, len);
        else
                put_number(e, valid ? c : 0xfffd);
        e->at += len;
}

/* At least up to `until`. */
static void
put_bytes(Escape *e, const char *until)
{
        while (e->at < until) {
                if (is_plain((unsigned char)*e->at))
                        *e->out++ = *e->at++;
                else if (*e->at >= 0)
                        put_special(e);
                else
                        put_unicode(e);
        }
}

static char *
put_text(char *out, const char *text, size_t len)
{
        Escape e = {.at = text, .end = text + len, .out = out};
        while ((size_t)(e.end - e.at) >= sizeof(Bytes16)) {
                /* What is then written again does no harm. */
                Bytes16 block;
                memcpy(&block, e.at, sizeof block);
                memcpy(e.out, &block, sizeof block);
                if (!are_plain(block)) {
                        put_bytes(&e, e.at + sizeof block);
                        continue;
                }
                e.at += sizeof block;
                e.out += sizeof block;
        }
        put_bytes(&e, e.end);
        return e.out;
}

static size_t
json_file_bound(void *data, size_t len)
{
        const JsonFile *self = data;
        return HEAD_LEN + len * ESCAPE_MAX + sizeof "\\n\",\"stream\":\"stderr\",\"time\":\"\"}" +
               CLOCK_UTC_SIZE + strlen(self->attrs);
}

static size_t
json_file_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        JsonFile *self = data;
        size_t frame = json_file_bound(self, 0);
        for (size_t i = 0; i < n; i++) {
                const LogRecord *r = &records[i];
                char *start = log_block_room(block, frame + (size_t)r->len * ESCAPE_MAX);
                if (!start)
                        return i;
                make_tail(self, r);
                const GString *tail = self->tails[r->stream].text;
                size_t skip = r->flags & LOG_RECORD_PARTIAL ? 2 : 0;
                char *at = mempcpy(start, head, HEAD_LEN);
                at = put_text(at, r->bytes, r->len);
                at = mempcpy(at, tail->str + skip, tail->len - skip);
                log_block_add(block, (size_t)(at - start), r);
        }
        return n;
}

static void
json_file_start(void *data)
{
        log_file_start(&((JsonFile *)data)->file);
}

static int
json_file_send(void *data, LogQueue *queue)
{
        return log_file_send(&((JsonFile *)data)->file, queue);
}

static int
json_file_reopen(void *data, LogQueue *queue)
{
        return log_file_reopen(&((JsonFile *)data)->file, queue);
}

static void
json_file_finish(void *data, LogQueue *queue, bool sync)
{
        log_file_finish(&((JsonFile *)data)->file, queue, sync);
}

static const char *
json_file_target(void *data)
{
        return ((JsonFile *)data)->file.path;
}

static const LogOption options[] = {LOG_FILE_OPTIONS, {NULL}};

const LogDriver log_driver_json_file = {
        .name = "json-file",
        .arg = "PATH",
        .help = "a file in Docker's format, an object of JSON a line",
        .flags = LOG_DRIVER_METADATA | LOG_DRIVER_UTF8,
        .options = options,
        .check = json_file_check,
        .open = json_file_open,
        .start = json_file_start,
        .encode = json_file_encode,
        .bound = json_file_bound,
        .send = json_file_send,
        .reopen = json_file_reopen,
        .finish = json_file_finish,
        .target = json_file_target,
        .close = json_file_close,
};
