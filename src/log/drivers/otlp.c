/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* OTLP/HTTP 1.5 with protobuf (https://opentelemetry.io/docs/specs/otlp/): a batch is one
 * ExportLogsServiceRequest with one ResourceLogs for the container and one ScopeLogs with all records.
 * Messages in the queue are its fields log_records, so that a body is a header followed by messages. */

#include "base/error.h"
#include "base/gstring.h"
#include "log/api/metadata.h"
#include "log/api/severity.h"
#include "base/protobuf.h"
#include "log/net/http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_ENDPOINT "http://localhost:4318"
#define PATH             "/v1/logs"

/* The attributes of a partial line. */
#define PARTIAL_MAX 128

/* Numbers of fields, by the message that they are in. */
enum {
        REQUEST_RESOURCE_LOGS = 1,
        RESOURCE_LOGS_RESOURCE = 1,
        RESOURCE_LOGS_SCOPE_LOGS = 2,
        RESOURCE_ATTRIBUTES = 1,
        SCOPE_LOGS_SCOPE = 1,
        SCOPE_LOGS_RECORDS = 2,
        SCOPE_NAME = 1,
        RECORD_TIME = 1,
        RECORD_SEVERITY_NUMBER = 2,
        RECORD_SEVERITY_TEXT = 3,
        RECORD_BODY = 5,
        RECORD_ATTRIBUTES = 6,
        RECORD_OBSERVED_TIME = 11,
        KEY_VALUE_KEY = 1,
        KEY_VALUE_VALUE = 2,
        ANY_STRING = 1,
        ANY_BOOL = 2,
        ANY_INT = 3,
        ANY_ARRAY = 5,
        ANY_BYTES = 7,
        ARRAY_VALUES = 1,
        RESPONSE_PARTIAL_SUCCESS = 1,
        PARTIAL_REJECTED = 1,
        PARTIAL_MESSAGE = 2,
        STATUS_MESSAGE = 2,
};

/* The data model's numbers for syslog's severities. */
static const struct {
        uint8_t number;
        const char *text;
} severities[] = {
        {21, "FATAL"}, {19, "ERROR3"}, {18, "ERROR2"}, {17, "ERROR"},
        {13, "WARN"},  {10, "INFO2"},  {9, "INFO"},    {5, "DEBUG"},
};

#define SEVERITY_TEXT_MAX 6

typedef struct {
        LogHttp http;
        LogSeverity severity;
        GString *resource;              /* the field of ResourceLogs */
        GString *scope;                 /* the field of ScopeLogs */
        GString *attributes[N_STREAMS]; /* fields of a record */
} Otlp;

typedef struct {
        int compression; /* -1: not set */
        const char *service_name;
        LogHttpOptions http;
        LogSeverityOptions severity;
        LogMetadataOptions metadata;
} OtlpOptions;

#define AT(member) offsetof(OtlpOptions, member)

static gboolean
check_endpoint(const char *driver, const char *text, GError **error)
{
        return log_url_parse(driver, "otlp-endpoint", text, NULL, error);
}

static const LogOption options[] = {
        {"otlp-endpoint",
         {VALUE_TEXT},
         AT(http.url),
         "",
         "http:// or https://HOST[:PORT][/PATH], to which /v1/logs is appended; not set: "
         "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT, "
         "OTEL_EXPORTER_OTLP_ENDPOINT or http://localhost:4318",
         .check = LOG_CHECK_FIRST,
         .annotations = LOG_ANNOTATIONS_ADDRESS},
        {"otlp-compression",
         {VALUE_CHOICE, "none|gzip"},
         AT(compression),
         "",
         "compression of requests; not set: OTEL_EXPORTER_OTLP_[LOGS_]COMPRESSION or none",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"otlp-service-name",
         {VALUE_TEXT},
         AT(service_name),
         "",
         "value of the attribute service.name; not set: the container's name",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        LOG_HTTP_OPTIONS("otlp", OtlpOptions, http),
        LOG_HTTP_PASSWORD_OPTIONS("otlp", OtlpOptions, http),
        LOG_TLS_OPTIONS("otlp", OtlpOptions, http.tls),
        LOG_SEVERITY_OPTIONS(OtlpOptions, severity, "false"),
        LOG_METADATA_OPTIONS(OtlpOptions, metadata),
        {""},
};

/* ---- the part common to all records ---- */

static void
append_string_value(GString *out, unsigned field, const char *text)
{
        size_t len = strlen(text);
        protobuf_append_head(out, field, protobuf_bytes_len(len));
        protobuf_append_bytes(out, ANY_STRING, text, len);
}

/* A KeyValue with a string, which must be UTF-8. */
static void
append_attribute(GString *out, unsigned field, const char *key, const char *value)
{
        if (!value)
                return;
        g_autofree char *valid_key = g_utf8_make_valid(key, -1), *valid = g_utf8_make_valid(value, -1);
        size_t key_len = strlen(valid_key), any = protobuf_bytes_len(strlen(valid));
        protobuf_append_head(out, field, protobuf_bytes_len(key_len) + protobuf_bytes_len(any));
        protobuf_append_bytes(out, KEY_VALUE_KEY, valid_key, key_len);
        append_string_value(out, KEY_VALUE_VALUE, valid);
}

/* container.image.tags is an array, of one tag here. */
static void
append_tags(GString *out, const char *tag)
{
        static const char key[] = "container.image.tags";
        g_autofree char *valid = g_utf8_make_valid(tag, -1);
        size_t element = protobuf_bytes_len(protobuf_bytes_len(strlen(valid)));
        size_t any = protobuf_bytes_len(element);
        protobuf_append_head(out, RESOURCE_ATTRIBUTES,
                             protobuf_bytes_len(sizeof key - 1) + protobuf_bytes_len(any));
        protobuf_append_bytes(out, KEY_VALUE_KEY, key, sizeof key - 1);
        protobuf_append_head(out, KEY_VALUE_VALUE, any);
        protobuf_append_head(out, ANY_ARRAY, element);
        append_string_value(out, ARRAY_VALUES, valid);
}

/* "registry:5000/name:tag@digest": the name has no tag and no digest. */
static void
append_image(GString *out, const char *image)
{
        if (!image || !*image)
                return;
        size_t end = strcspn(image, "@");
        const char *slash = memrchr(image, '/', end), *from = slash ? slash : image;
        const char *colon = memchr(from, ':', end - (size_t)(from - image));
        g_autofree char *name = g_strndup(image, colon ? (size_t)(colon - image) : end);
        append_attribute(out, RESOURCE_ATTRIBUTES, "container.image.name", name);
        if (!colon)
                return;
        g_autofree char *tag = g_strndup(colon + 1, (size_t)(image + end - colon) - 1);
        append_tags(out, tag);
}

/* Annotations of orchestrators. */
static void
append_annotations(GString *out, const LogDriverConfig *config)
{
        enum { IMAGE, CRIO_IMAGE, FIRST_K8S, N_WANTED = FIRST_K8S + 4 };
        static const char *const wanted[N_WANTED] = {
                "org.opencontainers.image.ref.name",
                "io.kubernetes.cri-o.ImageName",
                "io.kubernetes.pod.namespace",
                "io.kubernetes.pod.name",
                "io.kubernetes.pod.uid",
                "io.kubernetes.container.name",
        };
        static const char *const names[] = {"k8s.namespace.name", "k8s.pod.name", "k8s.pod.uid",
                                            "k8s.container.name"};
        char *found[N_WANTED] = {0};
        log_metadata_find_annotations(config, wanted, found, N_WANTED);
        append_image(out, found[CRIO_IMAGE] ? found[CRIO_IMAGE] : found[IMAGE]);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                append_attribute(out, RESOURCE_ATTRIBUTES, names[i], found[FIRST_K8S + i]);
        for (size_t i = 0; i < N_WANTED; i++)
                g_free(found[i]);
}

static GString *
make_resource(const LogDriverConfig *config, const OtlpOptions *o, const LogMetadata *m)
{
        const char *name = config->log->name;
        const char *service = o->service_name ? o->service_name : name ? name : m->short_id;
        g_autoptr(GString) all = g_string_new(NULL);
        append_attribute(all, RESOURCE_ATTRIBUTES, "service.name", service);
        append_attribute(all, RESOURCE_ATTRIBUTES, "container.id", config->log->cid);
        append_attribute(all, RESOURCE_ATTRIBUTES, "container.name", name);
        append_attribute(all, RESOURCE_ATTRIBUTES, "host.name", m->host);
        append_annotations(all, config);
        append_attribute(all, RESOURCE_ATTRIBUTES, "conmon.tag", m->tag);
        for (size_t i = 0; i < m->n_attributes; i++) {
                g_autofree char *key = g_strconcat("container.label.", m->attributes[i].key, NULL);
                append_attribute(all, RESOURCE_ATTRIBUTES, key, m->attributes[i].value);
        }
        GString *field = g_string_new(NULL);
        protobuf_append_bytes(field, RESOURCE_LOGS_RESOURCE, all->str, all->len);
        return field;
}

static GString *
make_scope(void)
{
        GString *field = g_string_new(NULL);
        protobuf_append_head(field, SCOPE_LOGS_SCOPE, protobuf_bytes_len(strlen("conmon")));
        protobuf_append_bytes(field, SCOPE_NAME, "conmon", strlen("conmon"));
        return field;
}

/* ---- opening ---- */

/* The value of OTEL_EXPORTER_OTLP_LOGS_NAME, else of OTEL_EXPORTER_OTLP_NAME; an empty one is ignored. */
static const char *
from_environment(const char *name, bool *ret_for_logs)
{
        static const char *const prefixes[] = {"OTEL_EXPORTER_OTLP_LOGS_", "OTEL_EXPORTER_OTLP_"};
        for (size_t i = 0; i < G_N_ELEMENTS(prefixes); i++) {
                g_autofree char *whole = g_strconcat(prefixes[i], name, NULL);
                const char *value = g_getenv(whole);
                *ret_for_logs = i == 0;
                if (value && *value)
                        return value;
        }
        return NULL;
}

/* The path of logs is appended to an endpoint for all signals; one for logs is used unchanged. */
static gboolean
read_endpoint(const OtlpOptions *o, LogUrl *ret, GError **error)
{
        bool for_logs = false;
        const char *text = o->http.url;
        const char *name = text ? "otlp-endpoint" : "OTEL_EXPORTER_OTLP_[LOGS_]ENDPOINT";
        if (!text)
                text = from_environment("ENDPOINT", &for_logs);
        if (!log_url_parse("otlp", name, text ? text : DEFAULT_ENDPOINT, ret, error))
                return FALSE;
        bool ends = g_str_has_suffix(ret->path, "/");
        if (!for_logs && !g_str_has_suffix(ret->path, PATH) && !strchr(ret->path, '?')) {
                char *path = g_strconcat(ret->path, ends ? &PATH[1] : PATH, NULL);
                g_free(ret->path);
                ret->path = path;
        }
        log_url_default_path(ret, "/");
        return TRUE;
}

/* "name=value,name=value" with percent signs, as W3C's baggage is written. They contain tokens, which must
 * only be sent to the endpoint of the environment. */
static gboolean
add_environment_headers(const OtlpOptions *o, GString *out, GError **error)
{
        bool for_logs;
        const char *text = from_environment("HEADERS", &for_logs);
        if (o->http.url || !text)
                return TRUE;
        secret_protect();
        g_auto(GStrv) pairs = g_strsplit(text, ",", -1);
        gboolean ok = TRUE;
        for (char **pair = pairs; ok && *pair; pair++) {
                char *equals = strchr(*pair, '=');
                g_autofree char *value = equals ? g_uri_unescape_string(equals + 1, NULL) : NULL;
                if (equals)
                        *equals = '\0';
                /* An invalid header becomes a line that is rejected. */
                char *line =
                        g_strdup_printf("%s%s%s", g_strstrip(*pair), value ? ": " : "", value ? value : "");
                ok = log_http_read_fields("otlp", "OTEL_EXPORTER_OTLP_[LOGS_]HEADERS", line, out, error);
                secret_free(line);
        }
        return ok;
}

static gboolean
read_compression(const OtlpOptions *o, bool *ret, GError **error)
{
        bool for_logs;
        const char *text = o->compression < 0 ? from_environment("COMPRESSION", &for_logs) : NULL;
        *ret = text ? strcmp(text, "gzip") == 0 : o->compression == 1;
        return !text || *ret || strcmp(text, "none") == 0 ||
               error_set(error, CONMON_ERROR_USAGE,
                         "Log driver otlp: OTEL_EXPORTER_OTLP_[LOGS_]COMPRESSION can't be '%s'; allowed: "
                         "gzip or none",
                         text);
}

/* In milliseconds. */
static gboolean
read_timeout(LogHttpOptions *http, GError **error)
{
        bool for_logs;
        guint64 ms;
        const char *text = http->timeout_given ? NULL : from_environment("TIMEOUT", &for_logs);
        if (!text)
                return TRUE;
        if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT32, &ms, NULL))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver otlp: OTEL_EXPORTER_OTLP_[LOGS_]TIMEOUT can't be '%s'; "
                                 "allowed: a number of milliseconds",
                                 text);
        http->timeout = (int64_t)ms * 1000;
        return TRUE;
}

/* The options of the server, completed from the environment, whose files only apply to its own endpoint. */
static LogHttpOptions
complete_options(const OtlpOptions *o)
{
        LogHttpOptions http = o->http;
        bool for_logs;
        if (http.url)
                return http;
        http.url = from_environment("ENDPOINT", &for_logs);
        if (!http.url)
                http.url = DEFAULT_ENDPOINT;
        if (!g_str_has_prefix(http.url, "https://"))
                return http;
        if (!http.tls.ca_cert)
                http.tls.ca_cert = from_environment("CERTIFICATE", &for_logs);
        if (!http.tls.cert && !http.tls.key) {
                http.tls.cert = from_environment("CLIENT_CERTIFICATE", &for_logs);
                http.tls.key = from_environment("CLIENT_KEY", &for_logs);
        }
        return http;
}

static const LogHttpProtocol protocol;

static gboolean
open_client(Otlp *self, const LogDriverConfig *config, GError **error)
{
        const OtlpOptions *o = config->options;
        LogHttpOptions http = complete_options(o);
        LogUrl url = {0};
        g_autoptr(GString) fields = g_string_new(NULL);
        LogHttpSetup setup = {
                .protocol = &protocol,
                .token_scheme = "Bearer",
                .options = &http,
                .level = LOG_HTTP_COMPRESSION_LEVEL,
        };
        gboolean ok = read_compression(o, &setup.compress, error) && read_timeout(&http, error) &&
                      add_environment_headers(o, fields, error) && read_endpoint(o, &url, error);
        setup.more_fields = fields->str;
        ok = ok && log_http_open(&self->http, config, "otlp", &url, &setup, error);
        explicit_bzero(fields->str, fields->len);
        return ok;
}

static gboolean
otlp_open(void *data, const LogDriverConfig *config, GError **error)
{
        Otlp *self = data;
        const OtlpOptions *o = config->options;
        if (!open_client(self, config, error))
                return FALSE;
        g_autoptr(LogMetadata) metadata = log_metadata_new(config, &o->metadata, NULL, error);
        if (!metadata)
                return FALSE;
        log_severity_init(&self->severity, &o->severity);
        self->resource = make_resource(config, o, metadata);
        self->scope = make_scope();
        for (StreamId i = 0; i < N_STREAMS; i++) {
                self->attributes[i] = g_string_new(NULL);
                append_attribute(self->attributes[i], RECORD_ATTRIBUTES, "log.iostream", stream_name(i));
        }
        return TRUE;
}

static gboolean
otlp_check(const LogDriverConfig *config, GError **error)
{
        LogHttpOptions http = complete_options(config->options);
        return log_http_check_options("otlp", &http, error);
}

static void
otlp_done(void *data)
{
        Otlp *self = data;
        gstring_free(self->resource);
        gstring_free(self->scope);
        for (StreamId i = 0; i < N_STREAMS; i++)
                gstring_free(self->attributes[i]);
}

/* ---- encoding ---- */

/* The fields of a record except its body, including their headers. */
#define RECORD_MAX \
        (PROTOBUF_HEAD_MAX + 9 + 2 + 2 + SEVERITY_TEXT_MAX + 2 * PROTOBUF_HEAD_MAX + PARTIAL_MAX + 9)

static size_t
otlp_max_encoded_len(void *data, size_t len)
{
        const Otlp *self = data;
        return RECORD_MAX + len + self->attributes[STREAM_STDERR]->len;
}

/* A text may contain NULs. */
static bool
is_utf8(const char *text, size_t len)
{
        const char *end = text + len;
        while (text < end) {
                const char *bad;
                if (g_utf8_validate_len(text, (gsize)(end - text), &bad))
                        return true;
                if (*bad != '\0')
                        return false;
                text = bad + 1;
        }
        return true;
}

static char *
put_partial_attribute(char *at, const char *key, unsigned kind, uint64_t n)
{
        size_t key_len = strlen(key), any = 1 + protobuf_varint_len(n);
        at = protobuf_put_head(at, RECORD_ATTRIBUTES, protobuf_bytes_len(key_len) + protobuf_bytes_len(any));
        at = protobuf_put_bytes(at, KEY_VALUE_KEY, key, key_len);
        at = protobuf_put_head(at, KEY_VALUE_VALUE, any);
        return protobuf_put_number(at, kind, n);
}

/* The attributes of a partial line. Returns their length, 0 for a whole line. */
static size_t
put_partial(const LogRecord *r, char *out)
{
        if (r->ordinal == 0)
                return 0;
        char *at = put_partial_attribute(out, "conmon.partial.id", ANY_INT, r->partial_id);
        at = put_partial_attribute(at, "conmon.partial.ordinal", ANY_INT, r->ordinal);
        at = put_partial_attribute(at, "conmon.partial.last", ANY_BOOL, log_record_is_last(r));
        return (size_t)(at - out);
}

static char *
otlp_put(void *data, const LogRecord *record, char *at)
{
        Otlp *self = data;
        int severity;
        LogRecord copy;
        const LogRecord *r = log_severity_take(&self->severity, record, &copy, &severity);
        const char *severity_text = severities[severity].text;
        const GString *attributes = self->attributes[r->stream];
        char partial[PARTIAL_MAX];
        size_t partial_len = put_partial(r, partial), text_len = strlen(severity_text);
        size_t any = protobuf_bytes_len(r->len);
        size_t len = 9 + 2 + protobuf_bytes_len(text_len) + protobuf_bytes_len(any) + attributes->len +
                     partial_len + 9;
        at = protobuf_put_head(at, SCOPE_LOGS_RECORDS, len);
        at = protobuf_put_fixed64(at, RECORD_TIME, (uint64_t)r->time_ns);
        at = protobuf_put_number(at, RECORD_SEVERITY_NUMBER, severities[severity].number);
        at = protobuf_put_bytes(at, RECORD_SEVERITY_TEXT, severity_text, text_len);
        at = protobuf_put_head(at, RECORD_BODY, any);
        at = protobuf_put_bytes(at, is_utf8(r->bytes, r->len) ? ANY_STRING : ANY_BYTES, r->bytes, r->len);
        at = mempcpy(at, attributes->str, attributes->len);
        at = mempcpy(at, partial, partial_len);
        return protobuf_put_fixed64(at, RECORD_OBSERVED_TIME, (uint64_t)r->time_ns);
}

/* ---- requests and answers ---- */

static void
frame(void *data, size_t len, GString *before, GString *after)
{
        const Otlp *self = data;
        size_t scope_logs = self->scope->len + len;
        protobuf_append_head(before, REQUEST_RESOURCE_LOGS,
                             self->resource->len + protobuf_bytes_len(scope_logs));
        g_string_append_len(before, self->resource->str, (gssize)self->resource->len);
        protobuf_append_head(before, RESOURCE_LOGS_SCOPE_LOGS, scope_logs);
        g_string_append_len(before, self->scope->str, (gssize)self->scope->len);
}

/* The field of this number, if the bytes are a message and have it. */
static bool
find_field(const char *bytes, size_t len, uint64_t number, ProtobufField *ret)
{
        ProtobufReader r = {bytes, bytes + len};
        ProtobufField f;
        bool found = false;
        int e;
        while ((e = protobuf_next(&r, &f)) > 0) {
                if (f.number == number) {
                        *ret = f;
                        found = true;
                }
        }
        return found && e == 0;
}

/* The server has rejected some records of the request without saying which: the last ones are counted
 * instead. */
static void
judge_success(const GString *body, LogHttpVerdict *v)
{
        ProtobufField partial = {0}, rejected = {0}, message = {0};
        if (!find_field(body->str, body->len, RESPONSE_PARTIAL_SUCCESS, &partial) || !partial.bytes ||
            !find_field(partial.bytes, partial.len, PARTIAL_REJECTED, &rejected) || rejected.value == 0)
                return;
        size_t n = (size_t)MIN(rejected.value, (uint64_t)v->n);
        v->outcome = LOG_HTTP_EACH;
        v->fates = g_new(LogFate, v->n);
        for (size_t i = 0; i < v->n; i++)
                v->fates[i] = i < v->n - n ? LOG_FATE_DONE : LOG_FATE_REFUSED;
        if (find_field(partial.bytes, partial.len, PARTIAL_MESSAGE, &message) && message.bytes)
                v->message = http_printable(message.bytes, message.len);
}

static void
judge(void *self, const HttpAnswer *a, LogHttpVerdict *v)
{
        ProtobufField message = {0};
        if (v->outcome == LOG_HTTP_DELIVERED) {
                if (a->body)
                        judge_success(a->body, v);
                return;
        }
        bool again = a->status == 429 || a->status == 502 || a->status == 503 || a->status == 504;
        v->outcome = again ? LOG_HTTP_AGAIN : LOG_HTTP_REFUSED;
        if (!v->message && a->body && find_field(a->body->str, a->body->len, STATUS_MESSAGE, &message) &&
            message.bytes)
                v->message = http_printable(message.bytes, message.len);
}

static const LogHttpProtocol protocol = {
        .content_type = "application/x-protobuf",
        .answer_max = LOG_HTTP_ANSWER_MAX,
        .frame = frame,
        .judge = judge,
};

/* ---- live upgrade ---- */

static void
otlp_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const Otlp *self = data;
        log_severity_save(&self->severity, w);
        state_put_string(w, "resource", self->resource);
        state_put_string(w, "scope", self->scope);
        for (StreamId i = 0; i < N_STREAMS; i++)
                state_put_string(w, "attributes", self->attributes[i]);
        log_http_save(&self->http, w);
}

/* The environment has not changed. */
static void
otlp_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        Otlp *self = data;
        LogHttpOptions http = complete_options(config->options);
        log_severity_restore(&self->severity, r);
        self->resource = state_get_string(r, "resource");
        self->scope = state_get_string(r, "scope");
        for (StreamId i = 0; i < N_STREAMS; i++)
                self->attributes[i] = state_get_string(r, "attributes");
        log_http_restore(&self->http, config, &protocol, &http, queue, r);
}

const LogDriver log_driver_otlp = {
        .name = "otlp",
        .help = "an OpenTelemetry collector, or another server for OTLP over HTTP",
        .options = {options, sizeof(OtlpOptions), {check_endpoint}},
        .flags = LOG_DRIVER_ANNOTATIONS | LOG_DRIVER_METADATA | LOG_DRIVER_REMOTE | LOG_DRIVER_WHOLE_LINES |
                 LOG_DRIVER_UTF8,
        .size = sizeof(Otlp),
        .format = {otlp_put, otlp_max_encoded_len},
        .transport = &log_http_transport,
        .check = otlp_check,
        .open = otlp_open,
        .done = otlp_done,
        .save = otlp_save,
        .restore = otlp_restore,
};
