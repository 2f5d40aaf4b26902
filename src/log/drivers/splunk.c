/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Splunk's HTTP Event Collector
 * (https://docs.splunk.com/Documentation/Splunk/latest/Data/FormateventsforHTTPEventCollector): a body is
 * a sequence of JSON objects. Events and options are those of Docker's driver. */

#include "base/error.h"
#include "base/json.h"
#include "base/json_check.h"
#include "log/api/metadata.h"
#include "log/net/http.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define PATH     "/services/collector/event/1.0"
#define ACK_PATH "/services/collector/ack?channel="

/* The time limit for the server to index a batch. */
#define ACK_USEC (60 * G_USEC_PER_SEC)

/* Names and punctuation of an event, its time, and the members of a partial line. */
#define MEMBERS_MAX 256

typedef enum {
        FORMAT_INLINE,
        FORMAT_JSON,
        FORMAT_RAW,
} Format;

/* "0f3d5e10-…" and its NUL */
#define GUID_SIZE 37

typedef struct {
        LogHttp http;
        Format format;
        bool acknowledgment;
        char channel[GUID_SIZE];
        uint64_t ack_id;   /* of the batch that was sent */
        gint64 asked_usec; /* since when an acknowledgement is expected; 0: none is */
        char *before;      /* the text before the line, within its string */
        char *inside;      /* the members of the event after the stream */
        char *behind;      /* the text after the time */
} Splunk;

typedef struct {
        const char *source, *source_type, *index;
        int format; /* Format */
        bool gzip;
        int64_t gzip_level;
        bool acknowledgment;
        LogHttpOptions http;
        LogMetadataOptions metadata;
} SplunkOptions;

#define AT(member) offsetof(SplunkOptions, member)

static const LogOption options[] = {
        {"splunk-url",
         {VALUE_TEXT},
         AT(http.url),
         "",
         "http:// or https://HOST[:PORT][/PATH]; must be set; default path: " PATH,
         .check = LOG_CHECK_FIRST,
         .annotations = LOG_ANNOTATIONS_ADDRESS},
        {"splunk-source",
         {VALUE_TEXT},
         AT(source),
         "",
         "source of the events",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"splunk-sourcetype",
         {VALUE_TEXT},
         AT(source_type),
         "",
         "source type of the events",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"splunk-index",
         {VALUE_TEXT},
         AT(index),
         "",
         "index for the events",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"splunk-format",
         {VALUE_CHOICE, "inline|json|raw"},
         AT(format),
         "inline",
         "format of events: an object with the line as text, an object with the line as JSON, or text",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"splunk-gzip",
         {VALUE_BOOL},
         AT(gzip),
         "false",
         "whether to compress requests",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"splunk-gzip-level",
         {VALUE_INT, .min = -1, .max = 9},
         AT(gzip_level),
         "-1",
         "compression level: 0 none, 9 best, -1 zlib's default",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"splunk-index-acknowledgment",
         {VALUE_BOOL},
         AT(acknowledgment),
         "false",
         "whether to keep records until they are indexed",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        LOG_HTTP_OPTIONS("splunk", SplunkOptions, http),
        {"splunk-capath",
         {VALUE_FILE},
         AT(http.tls.ca_cert),
         "",
         "TLS: file with the certificates of trusted CAs; not set: those of the system"},
        {"splunk-insecureskipverify",
         {VALUE_BOOL},
         AT(http.tls.skip_verify),
         "false",
         "TLS: whether to accept any server, without verifying its certificate"},
        LOG_METADATA_OPTIONS(SplunkOptions, metadata),
        {"splunk-caname", .no_effect = true,
         .help = "the server's certificate must have the host name of the URL"},
        {"splunk-verify-connection", .no_effect = true,
         .help = "a container starts without waiting for the server",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {""},
};

/* ---- opening ---- */

static gboolean
splunk_check(const LogDriverConfig *config, GError **error)
{
        const SplunkOptions *o = config->options;
        if (!log_http_check_options("splunk", &o->http, error))
                return FALSE;
        if (!secret_is_given(&o->http.token))
                return error_set(
                        error, CONMON_ERROR_USAGE,
                        "Log driver splunk: option splunk-token-file or splunk-token-env must be set");
        return TRUE;
}

static void
append_if(GString *json, const char *name, const char *value)
{
        if (value)
                json_append_member(json, name, value);
}

/* The prefix of a raw event: the tag and attributes as words. */
static char *
make_prefix(const LogMetadata *m)
{
        GString *words = g_string_new(NULL);
        if (*m->tag)
                g_string_append_printf(words, "%s ", m->tag);
        for (size_t i = 0; i < m->n_attributes; i++)
                g_string_append_printf(words, "%s=%s ", m->attributes[i].key, m->attributes[i].value);
        GString *json = g_string_new(NULL);
        json_append_string(json, words->str, words->len);
        g_string_free(words, TRUE);
        /* Within a string of its own. */
        char *inner = g_strndup(json->str + 1, json->len - 2);
        g_string_free(json, TRUE);
        return inner;
}

/* In an event that is an object. */
static char *
make_inside(LogMetadata *m)
{
        GString *json = g_string_new(NULL);
        if (*m->tag)
                json_append_member(json, "tag", m->tag);
        log_metadata_append_attrs(m, log_metadata_clean_text, json);
        return g_string_free(json, FALSE);
}

static gboolean
make_texts(Splunk *self, const LogDriverConfig *config, GError **error)
{
        const SplunkOptions *o = config->options;
        g_autoptr(LogMetadata) m = log_metadata_new(config, &o->metadata, "{{.ID}}", error);
        if (!m)
                return FALSE;
        self->before = make_prefix(m);
        self->inside = make_inside(m);
        GString *json = g_string_new(NULL);
        json_append_member(json, "host", m->host);
        append_if(json, "source", o->source);
        append_if(json, "sourcetype", o->source_type);
        append_if(json, "index", o->index);
        g_string_append_c(json, '}');
        self->behind = g_string_free(json, FALSE);
        return TRUE;
}

/* A random name (RFC 9562, version 4) for the channel in which the server counts batches. */
static gboolean
make_channel(Splunk *self, GError **error)
{
        uint8_t b[16];
        if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
                return error_set_errno(error, errno, "Log driver splunk: no random number");
        b[6] = (b[6] & 0x0f) | 0x40;
        b[8] = (b[8] & 0x3f) | 0x80;
        char *at = self->channel;
        for (size_t i = 0; i < sizeof b; i++)
                at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
        return TRUE;
}

static const LogHttpProtocol protocol;

static gboolean
splunk_open(void *data, const LogDriverConfig *config, GError **error)
{
        Splunk *self = data;
        const SplunkOptions *o = config->options;
        LogUrl url = {0};
        if (!make_channel(self, error) || !log_url_parse("splunk", "splunk-url", o->http.url, &url, error))
                return FALSE;
        g_autofree char *channel = g_strdup_printf("X-Splunk-Request-Channel: %s\r\n", self->channel);
        LogHttpSetup setup = {
                .protocol = &protocol,
                .token_scheme = "Splunk",
                .more_fields = o->acknowledgment ? channel : NULL,
                .options = &o->http,
                .compress = o->gzip,
                .level = (int)o->gzip_level,
        };
        self->format = (Format)o->format;
        self->acknowledgment = o->acknowledgment;
        log_url_default_path(&url, PATH);
        return log_http_open(&self->http, config, "splunk", &url, &setup, error) &&
               make_texts(self, config, error);
}

static void
splunk_done(void *data)
{
        Splunk *self = data;
        g_free(self->before);
        g_free(self->inside);
        g_free(self->behind);
}

/* ---- encoding ---- */

static size_t
splunk_max_encoded_len(void *data, size_t len)
{
        const Splunk *self = data;
        return MEMBERS_MAX + strlen(self->before) + JSON_ESCAPE_MAX * len + strlen(self->inside) +
               strlen(self->behind);
}

static char *
put_string(const char *before, const LogRecord *r, char *at)
{
        *at++ = '"';
        at = json_put_text(g_stpcpy(at, before), r->bytes, r->len);
        *at++ = '"';
        return at;
}

static char *
put_object(const Splunk *self, const LogRecord *r, char *at)
{
        at = g_stpcpy(at, "{\"line\":");
        if (self->format == FORMAT_JSON && r->ordinal == 0 && json_is_value(r->bytes, r->len))
                at = mempcpy(at, r->bytes, r->len);
        else
                at = put_string("", r, at);
        at = g_stpcpy(g_stpcpy(g_stpcpy(at, ",\"source\":\""), stream_name(r->stream)), "\"");
        at = g_stpcpy(at, self->inside);
        at = log_record_put_partial(r, at);
        *at++ = '}';
        return at;
}

static char *
splunk_put(void *data, const LogRecord *r, char *at)
{
        const Splunk *self = data;
        at = g_stpcpy(at, "{\"event\":");
        at = self->format == FORMAT_RAW ? put_string(self->before, r, at) : put_object(self, r, at);
        at += sprintf(at, ",\"time\":\"%" G_GINT64_FORMAT ".%06d\"", r->time_ns / 1000000000,
                      (int)(r->time_ns % 1000000000 / 1000));
        return g_stpcpy(at, self->behind);
}

/* ---- answers ---- */

/* {"text":"...","code":6,"invalid-event-number":2,"ackId":5,"acks":{"5":true}} */
typedef struct {
        uint64_t ack_id;                         /* that was asked for */
        int64_t code, invalid_event, new_ack_id; /* -1: missing */
        bool acknowledged;
        char *text;
} Reply;

static void
on_member(const JsonValue *value, void *data)
{
        Reply *r = data;
        const char *name = value->path[0];
        g_autofree char *text = value->text ? g_strndup(value->text, value->len) : NULL;
        if (value->depth == 2 && value->kind == JSON_TRUE && strcmp(name, "acks") == 0)
                r->acknowledged |= g_ascii_strtoull(value->path[1], NULL, 10) == r->ack_id;
        if (value->depth == 1 && value->kind == JSON_STRING && strcmp(name, "text") == 0) {
                g_free(r->text);
                r->text = http_printable(value->text, value->len);
        }
        if (value->depth != 1 || value->kind != JSON_NUMBER)
                return;
        int64_t n = g_ascii_strtoll(text, NULL, 10);
        if (strcmp(name, "code") == 0)
                r->code = n;
        else if (strcmp(name, "invalid-event-number") == 0)
                r->invalid_event = n;
        else if (strcmp(name, "ackId") == 0)
                r->new_ack_id = n;
}

static void
set_verdict(LogHttpVerdict *v, LogHttpOutcome outcome, const char *message)
{
        v->outcome = outcome;
        if (!v->message)
                v->message = g_strdup(message);
}

/* The answer to the query whether a batch is indexed. */
static void
judge_acks(Splunk *self, const Reply *r, LogHttpVerdict *v)
{
        if (v->outcome != LOG_HTTP_DELIVERED)
                v->outcome = LOG_HTTP_AGAIN;
        else if (r->acknowledged)
                return;
        else if (g_get_monotonic_time() - self->asked_usec > ACK_USEC)
                set_verdict(v, LOG_HTTP_AGAIN, "the batch was not acknowledged in time");
        else
                v->outcome = LOG_HTTP_LATER;
}

/* Codes 8 and 9 are temporary; 6, 12 and 13 are about one event, and the others can be sent again. A server
 * without acknowledgements reports a success without an ID. */
static void
judge_events(Splunk *self, const Reply *r, LogHttpVerdict *v)
{
        bool one = r->code == 6 || r->code == 12 || r->code == 13;
        if (r->code == 0 && self->acknowledgment && r->new_ack_id >= 0) {
                v->outcome = LOG_HTTP_LATER;
                self->ack_id = (uint64_t)r->new_ack_id;
                self->asked_usec = g_get_monotonic_time();
        } else if (r->code == 8 || r->code == 9) {
                v->outcome = LOG_HTTP_AGAIN;
        } else if (one && r->invalid_event >= 0 && (uint64_t)r->invalid_event < v->n) {
                v->outcome = LOG_HTTP_EACH;
                v->at_once = true;
                v->fates = g_new(LogFate, v->n);
                for (size_t i = 0; i < v->n; i++)
                        v->fates[i] = i == (size_t)r->invalid_event ? LOG_FATE_REFUSED : LOG_FATE_AGAIN;
        } else if (r->code > 0 && v->outcome == LOG_HTTP_DELIVERED) {
                v->outcome = LOG_HTTP_REFUSED;
        } else if (v->outcome == LOG_HTTP_DELIVERED && r->code < 0) {
                set_verdict(v, LOG_HTTP_AGAIN, "not a valid response of Splunk");
        }
}

static void
judge(void *data, const HttpAnswer *a, LogHttpVerdict *v)
{
        Splunk *self = data;
        Reply r = {.ack_id = self->ack_id, .code = -1, .invalid_event = -1, .new_ack_id = -1};
        /* The usual answer is parsed without a library. */
        if (a->body && !self->acknowledgment && strstr(a->body->str, "\"code\":0}"))
                r.code = 0;
        else if (a->body && !json_read(a->body->str, a->body->len, on_member, &r, NULL))
                r.code = -1;
        if (!v->message)
                v->message = g_steal_pointer(&r.text);
        g_free(r.text);
        if (v->is_query)
                judge_acks(self, &r, v);
        else
                judge_events(self, &r, v);
}

static void
query(void *data, GString *path, GString *body)
{
        const Splunk *self = data;
        g_string_append_printf(path, ACK_PATH "%s", self->channel);
        g_string_append_printf(body, "{\"acks\":[%" G_GUINT64_FORMAT "]}", self->ack_id);
}

static const LogHttpProtocol protocol = {
        .content_type = "application/json",
        .answer_max = LOG_HTTP_ANSWER_MAX,
        .judge = judge,
        .query = query,
};

/* ---- live upgrade ---- */

static void
splunk_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const Splunk *self = data;
        state_put_uint(w, "format", self->format);
        state_put_uint(w, "acknowledgment", self->acknowledgment);
        state_put_text(w, "channel", self->channel);
        state_put_uint(w, "acknowledgment-id", self->ack_id);
        state_put_int(w, "asked", self->asked_usec);
        state_put_text(w, "before", self->before);
        state_put_text(w, "inside", self->inside);
        state_put_text(w, "behind", self->behind);
        log_http_save(&self->http, w);
}

static void
splunk_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        Splunk *self = data;
        const SplunkOptions *o = config->options;
        self->format = (Format)state_get_uint(r, "format", FORMAT_RAW);
        self->acknowledgment = state_get_bool(r, "acknowledgment");
        g_autofree char *channel = state_get_text(r, "channel");
        if (channel)
                (void)g_strlcpy(self->channel, channel, sizeof self->channel);
        self->ack_id = state_get_uint(r, "acknowledgment-id", UINT64_MAX);
        self->asked_usec = state_get_int(r, "asked", 0, INT64_MAX);
        self->before = state_get_text(r, "before");
        self->inside = state_get_text(r, "inside");
        self->behind = state_get_text(r, "behind");
        if (!self->before || !self->inside || !self->behind)
                state_fail(r, "The texts of records for Splunk are not complete");
        log_http_restore(&self->http, config, &protocol, &o->http, queue, r);
}

const LogDriver log_driver_splunk = {
        .name = "splunk",
        .help = "Splunk's HTTP Event Collector, or a compatible server",
        .options = {options, sizeof(SplunkOptions), {log_http_check_url}},
        .flags = LOG_DRIVER_ANNOTATIONS | LOG_DRIVER_METADATA | LOG_DRIVER_REMOTE | LOG_DRIVER_WHOLE_LINES |
                 LOG_DRIVER_UTF8,
        .size = sizeof(Splunk),
        .format = {splunk_put, splunk_max_encoded_len},
        .transport = &log_http_transport,
        .check = splunk_check,
        .open = splunk_open,
        .done = splunk_done,
        .save = splunk_save,
        .restore = splunk_restore,
};
