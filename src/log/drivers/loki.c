/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Grafana Loki's push API (https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs), in
 * JSON: records with the same labels are grouped, so that a body has one object per run of records of one
 * stream. Options have the names of Docker's Loki driver. */

#include "base/error.h"
#include "base/json.h"
#include "log/api/metadata.h"
#include "log/net/http.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define PATH "/loki/api/v1/push"

/* Punctuation of a record, its time, and the metadata of a partial line. */
#define MEMBERS_MAX 192

/* The end of a run of records. */
#define RUN_END "]},"

/* What Loki takes unless it is configured: the number of labels of a stream, and the bytes of a name and of a
 * value. It refuses all records of a stream that has more. */
#define LABELS_MAX 15
#define LABEL_NAME_MAX 1024
#define LABEL_VALUE_MAX 2048

typedef struct {
        LogHttp http;
        int64_t last_ns[N_STREAMS]; /* the time of the last record */
        char *runs[N_STREAMS]; /* the end of another run, and the start of one of this stream */
        char *metadata;        /* of each record, without the closing brace */
        StreamId stream;       /* of the current run */
} Loki;

typedef struct {
        const char *tenant_id;
        const char *const *external_labels;
        int compression;
        int64_t min_backoff, max_backoff;
        LogHttpOptions http;
        LogMetadataOptions metadata;
} LokiOptions;

#define AT(member) offsetof(LokiOptions, member)

static gboolean
check_labels(const char *driver, const char *text, GError **error)
{
        g_auto(GStrv) pairs = value_split_list(text);
        for (char **pair = pairs; *pair; pair++) {
                const char *equals = strchr(*pair, '=');
                if (!equals || equals == *pair)
                        return error_set(
                                error, CONMON_ERROR_USAGE,
                                "Log driver %s: option loki-external-labels must be NAME=VALUE,... (it "
                                "is '%s')",
                                driver, text);
                if (!log_metadata_check_template(driver, equals + 1, error))
                        return FALSE;
        }
        return TRUE;
}

static const LogOption options[] = {
        {"loki-url",
         {VALUE_TEXT},
         AT(http.url),
         "",
         "http:// or https://HOST[:PORT][/PATH]; must be set; default path: " PATH,
         .check = LOG_CHECK_FIRST,
         .annotations = LOG_ANNOTATIONS_ADDRESS},
        {"loki-tenant-id", {VALUE_TEXT}, AT(tenant_id), "", "tenant ID (header X-Scope-OrgID)"},
        {"loki-external-labels",
         {VALUE_LIST},
         AT(external_labels),
         "",
         "additional labels, NAME=VALUE,...; values are templates, see tag",
         .check = LOG_CHECK_SECOND,
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"loki-compression",
         {VALUE_CHOICE, "none|gzip"},
         AT(compression),
         "none",
         "compression of requests",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"loki-min-backoff",
         {VALUE_DURATION, .min = 1000},
         AT(min_backoff),
         "500ms",
         "first delay before a batch is sent again",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"loki-max-backoff",
         {VALUE_DURATION, .min = 1000},
         AT(max_backoff),
         "30s",
         "maximum delay before a batch is sent again",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        LOG_HTTP_OPTIONS("loki", LokiOptions, http),
        LOG_HTTP_PASSWORD_OPTIONS("loki", LokiOptions, http),
        {"loki-batch-wait", {VALUE_DURATION}, .same_as = "batch-wait",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"loki-batch-size", {VALUE_BINARY_SIZE}, .same_as = "batch-size",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {"loki-tls-ca-file",
         {VALUE_FILE},
         AT(http.tls.ca_cert),
         "",
         "TLS: file with the certificates of trusted CAs; not set: those of the system"},
        {"loki-tls-cert-file",
         {VALUE_FILE},
         AT(http.tls.cert),
         "",
         "TLS: file with the client's certificate"},
        {"loki-tls-key-file",
         {VALUE_FILE},
         AT(http.tls.key),
         "",
         "TLS: file with the client's private key"},
        {"loki-tls-insecure-skip-verify",
         {VALUE_BOOL},
         AT(http.tls.skip_verify),
         "false",
         "TLS: whether to accept any server, without verifying its certificate"},
        LOG_METADATA_OPTIONS(LokiOptions, metadata),
        {"loki-retries", .no_effect = true, .help = "sending a batch is retried indefinitely",
         .annotations = LOG_ANNOTATIONS_ALLOWED},
        {""},
};

/* ---- opening ---- */

static gboolean
loki_check(const LogDriverConfig *config, GError **error)
{
        const LokiOptions *o = config->options;
        return log_http_check_options("loki", &o->http, error);
}

/* A label's name: letters, digits and '_', not starting with a digit. */
static char *
clean_name(const char *key)
{
        char *name = g_strdup_printf("%s%s", g_ascii_isdigit(*key) || !*key ? "_" : "", key);
        return g_strcanon(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_", '_');
}

/* The name of the label in "NAME=VALUE". */
static char *
label_name(const char *pair)
{
        g_autofree char *key = g_strndup(pair, strcspn(pair, "="));
        return clean_name(key);
}

/* True if one of these labels of the option, which may be NULL, has this name. */
static bool
has_label(const char *const *pairs, const char *name)
{
        bool found = false;
        for (; pairs && *pairs && !found; pairs++) {
                g_autofree char *other = label_name(*pairs);
                found = strcmp(other, name) == 0;
        }
        return found;
}

/* "NAME=VALUE" of an option that was checked; the value is a template as a tag is. Of several with one name
 * the last is used. */
static gboolean
add_external_label(GString *json, const char *const *pair, const LogDriverConfig *config, GError **error)
{
        g_autofree char *name = label_name(*pair);
        if (has_label(pair + 1, name))
                return TRUE;
        g_autoptr(LogMetadata) m = log_metadata_new(
                config, &(LogMetadataOptions){.tag = strchr(*pair, '=') + 1}, NULL, error);
        if (m)
                json_append_member(json, name, m->tag);
        return m != NULL;
}

/* The user's label takes precedence over the driver's own. Returns how many were added. */
static size_t
add_own_label(GString *json, const LokiOptions *o, const char *name, const char *value)
{
        if (!value || has_label(o->external_labels, name))
                return 0;
        json_append_member(json, name, value);
        return 1;
}

/* The bytes of a value in a label: each that is not UTF-8 becomes a character of three. */
static size_t
label_len(const char *value)
{
        g_autofree char *valid = g_utf8_make_valid(value, -1);
        return strlen(valid);
}

/* Attributes are labels while there is space for them, else metadata of each record. `n` is the number of
 * other labels. */
static void
add_attributes(GString *labels, GString *metadata, const LokiOptions *o, const LogMetadata *m, size_t n)
{
        for (size_t i = 0; i < m->n_attributes; i++) {
                const char *key = m->attributes[i].key, *value = m->attributes[i].value;
                bool fits = n < LABELS_MAX && strlen(key) <= LABEL_NAME_MAX &&
                            label_len(value) <= LABEL_VALUE_MAX;
                if (fits)
                        n += add_own_label(labels, o, key, value);
                else
                        (void)add_own_label(metadata, o, key, value);
        }
}

static gboolean
make_labels(const LogDriverConfig *config, LogMetadata *m, GString *json, GString *metadata, GError **error)
{
        static const char *const own[] = {"container_name", "host",       "source",          "tag",
                                          "container_id",   "partial_id", "partial_ordinal", "partial_last",
                                          NULL};
        const LokiOptions *o = config->options;
        size_t n = !has_label(o->external_labels, "source");
        n += add_own_label(json, o, "container_name", config->log->name);
        n += add_own_label(json, o, "host", m->host);
        n += add_own_label(json, o, "tag", m->tag);
        for (const char *const *pair = o->external_labels; pair && *pair; pair++)
                n++;
        log_metadata_name_attributes(m, &(LogNameRule){.own = own, .max_len = INT_MAX, .clean = clean_name});
        add_attributes(json, metadata, o, m, n);
        for (const char *const *pair = o->external_labels; pair && *pair; pair++)
                if (!add_external_label(json, pair, config, error))
                        return FALSE;
        return TRUE;
}

static gboolean
make_texts(Loki *self, const LogDriverConfig *config, GError **error)
{
        const LokiOptions *o = config->options;
        g_autoptr(GString) labels = g_string_new("{"), metadata = g_string_new("{");
        g_autoptr(LogMetadata) m = log_metadata_new(config, &o->metadata, NULL, error);
        if (!m || !make_labels(config, m, labels, metadata, error))
                return FALSE;
        for (StreamId i = 0; i < N_STREAMS; i++) {
                g_autoptr(GString) run = g_string_new(labels->str);
                (void)add_own_label(run, o, "source", stream_name(i));
                self->runs[i] = g_strdup_printf(RUN_END "{\"stream\":%s},\"values\":[", run->str);
        }
        json_append_member(metadata, "container_id", config->log->cid);
        self->metadata = g_strdup(metadata->str);
        return TRUE;
}

static const LogHttpProtocol protocol;

static gboolean
loki_open(void *data, const LogDriverConfig *config, GError **error)
{
        Loki *self = data;
        const LokiOptions *o = config->options;
        LogUrl url = {0};
        g_autoptr(GString) tenant = g_string_new(NULL);
        g_autofree char *field = g_strdup_printf("X-Scope-OrgID: %s", o->tenant_id);
        if (o->tenant_id && !log_http_read_fields("loki", "option loki-tenant-id", field, tenant, error))
                return FALSE;
        LogHttpSetup setup = {
                .protocol = &protocol,
                .token_scheme = "Bearer",
                .more_fields = tenant->str,
                .options = &o->http,
                .compress = o->compression == 1,
                .level = LOG_HTTP_COMPRESSION_LEVEL,
        };
        if (!log_url_parse("loki", "loki-url", o->http.url, &url, error))
                return FALSE;
        log_url_default_path(&url, PATH);
        if (!log_http_open(&self->http, config, "loki", &url, &setup, error))
                return FALSE;
        self->http.backoff_first = o->min_backoff;
        self->http.backoff_max = MAX(o->max_backoff, o->min_backoff);
        return make_texts(self, config, error);
}

static void
loki_done(void *data)
{
        Loki *self = data;
        for (StreamId i = 0; i < N_STREAMS; i++)
                g_free(self->runs[i]);
        g_free(self->metadata);
}

/* ---- encoding: `,["1700000000123456789","line",{"container_id":"..."}]` ---- */

static size_t
loki_max_encoded_len(void *data, size_t len)
{
        const Loki *self = data;
        return MEMBERS_MAX + JSON_ESCAPE_MAX * len + strlen(self->metadata);
}

/* Loki takes a line of the same stream, time and text for one that was sent again, and drops it. What was
 * read at once has one time: each record gets its own nanosecond. A clock that was set back is followed. */
static int64_t
own_time(Loki *self, const LogRecord *r)
{
        int64_t *last = &self->last_ns[r->stream];
        bool near = r->time_ns <= *last && *last - r->time_ns < INT64_C(1000000000);
        return *last = near ? *last + 1 : r->time_ns;
}

static char *
loki_put(void *data, const LogRecord *r, char *at)
{
        Loki *self = data;
        at += sprintf(at, ",[\"%" G_GINT64_FORMAT "\",\"", own_time(self, r));
        at = json_put_text(at, r->bytes, r->len);
        at = g_stpcpy(g_stpcpy(at, "\","), self->metadata);
        if (r->ordinal > 0)
                at += sprintf(at,
                              ",\"partial_id\":\"%016" G_GINT64_MODIFIER
                              "x\",\"partial_ordinal\":\"%u\",\"partial_last\":\"%s\"",
                              r->partial_id, r->ordinal, log_record_is_last(r) ? "true" : "false");
        return g_stpcpy(at, "}]");
}

/* ---- requests ---- */

/* The first record of a run has no comma, and the first run does not end a previous one. */
static void
add_record(void *data, const LogMessage *m, bool first)
{
        Loki *self = data;
        bool starts = first || m->stream != self->stream;
        if (starts) {
                const char *run = self->runs[m->stream] + (first ? strlen(RUN_END) : 0);
                log_http_add(&self->http, run, strlen(run));
                self->stream = m->stream;
        }
        log_http_add(&self->http, m->bytes + starts, m->len - starts);
}

static void
frame(void *data, size_t len, GString *before, GString *after)
{
        g_string_append(before, "{\"streams\":[");
        g_string_append(after, "]}]}");
}

static const LogHttpProtocol protocol = {
        .content_type = "application/json",
        .answer_max = LOG_HTTP_ANSWER_MAX,
        .add = add_record,
        .frame = frame,
};

/* ---- live upgrade ---- */

static void
loki_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const Loki *self = data;
        for (StreamId i = 0; i < N_STREAMS; i++)
                state_put_text(w, "run", self->runs[i]);
        state_put_text(w, "metadata", self->metadata);
        log_http_save(&self->http, w);
}

static void
loki_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        Loki *self = data;
        const LokiOptions *o = config->options;
        for (StreamId i = 0; i < N_STREAMS; i++)
                self->runs[i] = state_get_text(r, "run");
        self->metadata = state_get_text(r, "metadata");
        if (!self->runs[STREAM_STDOUT] || !self->runs[STREAM_STDERR] || !self->metadata)
                state_fail(r, "The texts of records for Loki are not complete");
        log_http_restore(&self->http, config, &protocol, &o->http, queue, r);
}

const LogDriver log_driver_loki = {
        .name = "loki",
        .help = "Grafana Loki, or another server with its push API",
        .options = {options, sizeof(LokiOptions), {log_http_check_url, check_labels}},
        .flags = LOG_DRIVER_ANNOTATIONS | LOG_DRIVER_METADATA | LOG_DRIVER_REMOTE | LOG_DRIVER_WHOLE_LINES |
                 LOG_DRIVER_UTF8,
        .size = sizeof(Loki),
        .format = {loki_put, loki_max_encoded_len},
        .transport = &log_http_transport,
        .check = loki_check,
        .open = loki_open,
        .done = loki_done,
        .save = loki_save,
        .restore = loki_restore,
};
