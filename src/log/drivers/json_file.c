/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Docker's json-file: {"log":"text\n","stream":"stdout","attrs":{...},"time":"..."} and a newline for each
 * record. A record without a newline at the end of "log" continues in the next one of its stream. */

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "log/api/driver.h"
#include "log/file/log_file.h"
#include "log/api/metadata.h"

#include <limits.h>
#include <string.h>

static const char head[] = "{\"log\":\"";
#define HEAD_LEN (sizeof head - 1)

/* After the text of a record; the same for all records of a chunk. */
typedef struct {
        int64_t time_ns; /* of the first record of the current or last line */
        /* `\n","stream":…}` and a newline; a partial record omits the first two bytes */
        GString *text;
        int64_t text_ns; /* the time in it */
} Tail;

typedef struct {
        LogFile file;
        char *attrs; /* `"attrs":{…},` or nothing */
        Tail tails[N_STREAMS];
} JsonFile;

typedef struct {
        LogFileOptions file;
        LogMetadataOptions metadata;
} JsonFileOptions;

static void
append_attribute(GString *json, const char *key, const char *value)
{
        g_string_append(json, json->len == 0 ? "\"attrs\":{" : ",");
        json_append_string(json, key, strlen(key));
        g_string_append_c(json, ':');
        json_append_string(json, value, strlen(value));
}

/* The tag is inserted among the sorted keys. */
static char *
make_attrs(LogMetadata *m)
{
        static const char *const own[] = {"tag", NULL};
        const char *tag = m->tag && *m->tag ? m->tag : NULL;
        log_metadata_name_attributes(m, &(LogNameRule){.own = tag ? own : &own[1],
                                                       .max_len = INT_MAX,
                                                       .clean = log_metadata_clean_text});
        GString *json = g_string_new(NULL);
        for (size_t i = 0; i < m->n_attributes; i++) {
                if (tag && strcmp("tag", m->attributes[i].key) < 0) {
                        append_attribute(json, "tag", tag);
                        tag = NULL;
                }
                append_attribute(json, m->attributes[i].key, m->attributes[i].value);
        }
        if (tag)
                append_attribute(json, "tag", tag);
        if (json->len > 0)
                g_string_append(json, "},");
        return g_string_free(json, FALSE);
}

static void
json_file_done(void *data)
{
        JsonFile *self = data;
        for (StreamId i = 0; i < N_STREAMS; i++)
                g_string_free(self->tails[i].text, TRUE);
        g_free(self->attrs);
}

static gboolean
json_file_check(const LogDriverConfig *config, GError **error)
{
        const JsonFileOptions *o = config->options;
        LogFileLimits limits = {0};
        if (!config->arg || !*config->arg)
                return error_set(error, CONMON_ERROR_USAGE, "json-file requires a filename");
        return log_file_read_limits(config, &o->file, &limits, error);
}

static gboolean
json_file_open(void *data, const LogDriverConfig *config, GError **error)
{
        JsonFile *self = data;
        const JsonFileOptions *o = config->options;
        for (StreamId i = 0; i < N_STREAMS; i++)
                self->tails[i].text = g_string_new(NULL);
        LogFileLimits limits = {0};
        g_autoptr(LogMetadata) metadata = log_metadata_new(config, &o->metadata, NULL, error);
        if (!metadata || !log_file_read_limits(config, &o->file, &limits, error))
                return FALSE;
        self->attrs = make_attrs(metadata);
        int r = log_file_open(&self->file, config->arg, &limits, config);
        return r == 0 || error_set_errno(error, r, "Failed to open log file %s", config->arg);
}

static void
json_file_adopt(void *data, const LogDriverConfig *config)
{
        JsonFile *self = data;
        const JsonFileOptions *o = config->options;
        LogFileLimits limits = {0};
        if (log_file_read_limits(config, &o->file, &limits, NULL))
                log_file_set_limits(&self->file, &limits);
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

static size_t
json_file_max_encoded_len(void *data, size_t len)
{
        const JsonFile *self = data;
        return HEAD_LEN + len * JSON_ESCAPE_MAX + sizeof "\\n\",\"stream\":\"stderr\",\"time\":\"\"}" +
               CLOCK_UTC_SIZE + strlen(self->attrs);
}

static size_t
json_file_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        JsonFile *self = data;
        size_t frame = json_file_max_encoded_len(self, 0);
        for (size_t i = 0; i < n; i++) {
                const LogRecord *r = &records[i];
                char *start = log_block_room(block, frame + (size_t)r->len * JSON_ESCAPE_MAX);
                if (!start)
                        return i;
                make_tail(self, r);
                const GString *tail = self->tails[r->stream].text;
                size_t skip = r->flags & LOG_RECORD_PARTIAL ? 2 : 0;
                char *at = mempcpy(start, head, HEAD_LEN);
                at = json_put_text(at, r->bytes, r->len);
                at = mempcpy(at, tail->str + skip, tail->len - skip);
                log_block_add(block, (size_t)(at - start), r);
        }
        return n;
}

static void
json_file_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const JsonFile *self = data;
        log_file_save(&self->file, w);
        state_put_text(w, "attributes", self->attrs);
        for (StreamId i = 0; i < N_STREAMS; i++)
                state_put_int(w, "time", self->tails[i].time_ns);
}

static void
json_file_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        JsonFile *self = data;
        log_file_restore(&self->file, config->sink, r);
        self->attrs = state_get_text(r, "attributes");
        if (!self->attrs)
                state_fail(r, "'attributes' is not set");
        for (StreamId i = 0; i < N_STREAMS; i++) {
                self->tails[i].text = g_string_new(NULL);
                self->tails[i].time_ns = state_get_int(r, "time", INT64_MIN, INT64_MAX);
        }
}

static const LogOption options[] = {
        LOG_FILE_OPTIONS(JsonFileOptions, file),
        LOG_METADATA_OPTIONS(JsonFileOptions, metadata),
        {""},
};

const LogDriver log_driver_json_file = {
        .name = "json-file",
        .arg = "PATH",
        .help = "a file in Docker's format, one JSON object per line",
        .flags = LOG_DRIVER_METADATA | LOG_DRIVER_UTF8,
        .options = {options, sizeof(JsonFileOptions)},
        .size = sizeof(JsonFile),
        .format = {.encode = json_file_encode, .max_encoded_len = json_file_max_encoded_len},
        .transport = &log_file_transport,
        .check = json_file_check,
        .open = json_file_open,
        .adopt = json_file_adopt,
        .done = json_file_done,
        .save = json_file_save,
        .restore = json_file_restore,
};
