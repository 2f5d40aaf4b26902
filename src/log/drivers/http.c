/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* JSON to any HTTP server: one object per line (NDJSON), the same with an action line of Elasticsearch's
 * _bulk before each, or an array of objects. */

#include "base/clock.h"
#include "base/json.h"
#include "log/api/metadata.h"
#include "log/net/http.h"

#include <string.h>

/* Elasticsearch reports a result for each record. */
#define BULK_ANSWER_MAX ((size_t)4 * 1024 * 1024)

/* A data stream of the type logs; without an index a request is refused. */
#define BULK_PATH "/logs-conmon-default/_bulk"

/* Names and punctuation of a record, its time, and the members of a partial line. */
#define MEMBERS_MAX 256

typedef enum {
        FORMAT_NDJSON,
        FORMAT_ELASTICSEARCH,
        FORMAT_ARRAY,
} Format;

typedef struct {
        LogHttp http;
        Format format;
        char *behind; /* the members after the text, and the end of the object */
} HttpDriver;

typedef struct {
        int format; /* Format */
        int compression;
        LogHttpOptions http;
        LogMetadataOptions metadata;
} HttpDriverOptions;

#define AT(member) offsetof(HttpDriverOptions, member)

static const LogOption options[] = {
        {"http-url",
         {VALUE_TEXT},
         AT(http.url),
         "",
         "http:// or https://HOST[:PORT][/PATH]; must be set",
         .check = LOG_CHECK_FIRST,
         .annotations = LOG_ANNOTATIONS_ADDRESS},
        {"http-format",
         {VALUE_CHOICE, "ndjson|elasticsearch|array"},
         AT(format),
         "ndjson",
         "format of requests: one object per line, the same for Elasticsearch's _bulk, or an array",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"http-compression",
         {VALUE_CHOICE, "none|gzip"},
         AT(compression),
         "none",
         "compression of requests",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        LOG_HTTP_OPTIONS("http", HttpDriverOptions, http),
        LOG_HTTP_PASSWORD_OPTIONS("http", HttpDriverOptions, http),
        LOG_TLS_OPTIONS("http", HttpDriverOptions, http.tls),
        LOG_METADATA_OPTIONS(HttpDriverOptions, metadata),
        {""},
};

/* ---- opening ---- */

static gboolean
http_check(const LogDriverConfig *config, GError **error)
{
        const HttpDriverOptions *o = config->options;
        return log_http_check_options("http", &o->http, error);
}

/* Elasticsearch makes an object of what is in front of a dot, which fails where there is a text of that
 * name. */
static char *
clean_field(const char *key)
{
        char *name = log_metadata_clean_text(key);
        return g_strdelimit(name, ". \t", '_');
}

/* After the text of a record. */
static char *
make_members(const LogConfig *log, LogMetadata *m, Format format)
{
        GString *json = g_string_new(NULL);
        json_append_member(json, "container_id", log->cid);
        if (log->name)
                json_append_member(json, "container_name", log->name);
        if (m->tag)
                json_append_member(json, "tag", m->tag);
        log_metadata_append_attrs(m, format == FORMAT_ELASTICSEARCH ? clean_field : log_metadata_clean_text,
                                  json);
        g_string_append_c(json, '}');
        if (format != FORMAT_ARRAY)
                g_string_append_c(json, '\n');
        return g_string_free(json, FALSE);
}

static const LogHttpProtocol protocols[FORMAT_ARRAY + 1];

static gboolean
http_open(void *data, const LogDriverConfig *config, GError **error)
{
        HttpDriver *self = data;
        const HttpDriverOptions *o = config->options;
        LogUrl url = {0};
        LogHttpSetup setup = {
                .protocol = &protocols[o->format],
                .token_scheme = "Bearer",
                .options = &o->http,
                .compress = o->compression == 1,
                .level = LOG_HTTP_COMPRESSION_LEVEL,
        };
        if (!log_url_parse("http", "http-url", o->http.url, &url, error))
                return FALSE;
        log_url_default_path(&url, o->format == FORMAT_ELASTICSEARCH ? BULK_PATH : "/");
        if (!log_http_open(&self->http, config, "http", &url, &setup, error))
                return FALSE;
        g_autoptr(LogMetadata) metadata = log_metadata_new(config, &o->metadata, NULL, error);
        if (!metadata)
                return FALSE;
        self->format = (Format)o->format;
        self->behind = make_members(config->log, metadata, self->format);
        return TRUE;
}

static void
http_done(void *data)
{
        HttpDriver *self = data;
        g_free(self->behind);
}

/* ---- encoding ---- */

/* The text before the time, and between stream and text, with the names of each format. */
static const struct {
        const char *start, *text;
} names[] = {
        [FORMAT_NDJSON] = {"{\"time\":\"", "\",\"log\":\""},
        [FORMAT_ELASTICSEARCH] = {"{\"create\":{}}\n{\"@timestamp\":\"", "\",\"message\":\""},
        [FORMAT_ARRAY] = {",{\"@timestamp\":\"", "\",\"message\":\""},
};

static size_t
http_max_encoded_len(void *data, size_t len)
{
        const HttpDriver *self = data;
        return MEMBERS_MAX + JSON_ESCAPE_MAX * len + strlen(self->behind);
}

static char *
http_put(void *data, const LogRecord *r, char *at)
{
        const HttpDriver *self = data;
        at = g_stpcpy(at, names[self->format].start);
        at += clock_format_utc(r->time_ns, at);
        at = g_stpcpy(g_stpcpy(at, "\",\"stream\":\""), stream_name(r->stream));
        at = g_stpcpy(at, names[self->format].text);
        at = json_put_text(at, r->bytes, r->len);
        *at++ = '"';
        return g_stpcpy(log_record_put_partial(r, at), self->behind);
}

/* ---- an array ---- */

/* The first element has no comma. */
static void
add_element(void *data, const LogMessage *m, bool first)
{
        HttpDriver *self = data;
        log_http_add(&self->http, m->bytes + first, m->len - first);
}

static void
frame_array(void *data, size_t len, GString *before, GString *after)
{
        g_string_append_c(before, '[');
        g_string_append_c(after, ']');
}

/* ---- Elasticsearch ---- */

/* The results of records in the answer. */
typedef struct {
        LogHttpVerdict *verdict;
        size_t n; /* that have a result, from 1 */
        bool all; /* "errors" is false */
} Items;

/* {"errors":true,"items":[{"create":{"status":429,"error":{"reason":"..."}}},...]} */
static void
on_item(const JsonValue *value, void *data)
{
        Items *items = data;
        LogHttpVerdict *v = items->verdict;
        items->all |= value->depth == 1 && value->kind == JSON_FALSE && strcmp(value->path[0], "errors") == 0;
        if (value->depth < 2 || strcmp(value->path[0], "items") != 0)
                return;
        if (value->depth == 2)
                items->n++;
        if (items->n == 0 || items->n > v->n)
                return;
        if (value->depth == 4 && value->kind == JSON_NUMBER && strcmp(value->path[3], "status") == 0) {
                g_autofree char *text = g_strndup(value->text, value->len);
                guint64 status = g_ascii_strtoull(text, NULL, 10);
                bool again = status == 429 || status >= 500;
                v->fates[items->n - 1] = status < 300 ? LOG_FATE_DONE
                                         : again      ? LOG_FATE_AGAIN
                                                      : LOG_FATE_REFUSED;
        }
        if (value->depth == 5 && value->kind == JSON_STRING && strcmp(value->path[3], "error") == 0 &&
            strcmp(value->path[4], "reason") == 0 && !v->message)
                v->message = http_printable(value->text, value->len);
}

/* A success has the result of each record in its body. Records without a result are sent again. */
static void
judge_bulk(void *self, const HttpAnswer *a, LogHttpVerdict *v)
{
        Items items = {.verdict = v};
        /* The usual answer is parsed without a library. */
        if (v->outcome != LOG_HTTP_DELIVERED || (a->body && strstr(a->body->str, "\"errors\":false,")))
                return;
        v->fates = g_new(LogFate, v->n);
        for (size_t i = 0; i < v->n; i++)
                v->fates[i] = LOG_FATE_AGAIN;
        bool good = a->body && json_read(a->body->str, a->body->len, on_item, &items, NULL);
        if (good && items.all)
                return;
        v->outcome = LOG_HTTP_EACH;
        if (good && items.n > 0)
                return;
        g_free(v->message);
        v->message = g_strdup("not a valid response of _bulk");
}

static const LogHttpProtocol protocols[FORMAT_ARRAY + 1] = {
        [FORMAT_NDJSON] =
                {
                        .content_type = "application/x-ndjson",
                        .answer_max = LOG_HTTP_ANSWER_MAX,
                },
        [FORMAT_ELASTICSEARCH] =
                {
                        .content_type = "application/x-ndjson",
                        .answer_max = BULK_ANSWER_MAX,
                        .judge = judge_bulk,
                },
        [FORMAT_ARRAY] =
                {
                        .content_type = "application/json",
                        .answer_max = LOG_HTTP_ANSWER_MAX,
                        .add = add_element,
                        .frame = frame_array,
                },
};

/* ---- live upgrade ---- */

static void
http_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const HttpDriver *self = data;
        state_put_uint(w, "format", self->format);
        state_put_text(w, "behind", self->behind);
        log_http_save(&self->http, w);
}

static void
http_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        HttpDriver *self = data;
        const HttpDriverOptions *o = config->options;
        self->format = (Format)state_get_uint(r, "format", FORMAT_ARRAY);
        self->behind = state_get_text(r, "behind");
        if (!self->behind)
                state_fail(r, "'behind' is not set");
        log_http_restore(&self->http, config, &protocols[self->format], &o->http, queue, r);
}

const LogDriver log_driver_http = {
        .name = "http",
        .help = "an HTTP server that accepts JSON: NDJSON, Elasticsearch's _bulk, or arrays",
        .options = {options, sizeof(HttpDriverOptions), {log_http_check_url}},
        .flags = LOG_DRIVER_ANNOTATIONS | LOG_DRIVER_METADATA | LOG_DRIVER_REMOTE | LOG_DRIVER_WHOLE_LINES |
                 LOG_DRIVER_UTF8,
        .size = sizeof(HttpDriver),
        .format = {http_put, http_max_encoded_len},
        .transport = &log_http_transport,
        .check = http_check,
        .open = http_open,
        .done = http_done,
        .save = http_save,
        .restore = http_restore,
};
