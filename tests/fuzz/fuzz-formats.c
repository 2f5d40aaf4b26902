/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json.h"
#include "log/drivers/registry.h"
#include "log/drivers/fluentd/msgpack.h"
#include "base/protobuf.h"
#include "log/api/queue.h"
#include "log/sink/sink.h"
#include "log/split.h"

#include "fuzz.h"

#include <string.h>

/* Every driver encodes all output into complete messages that are not longer than max_encoded_len. */

typedef struct {
        const char *driver, *arg, *option;
        void (*check)(const char *message, size_t len, const LogRecord *r);
} Format;

static void
check_k8s(const char *message, size_t len, const LogRecord *r)
{
        static const char *const streams[] = {"stdout", "stderr"};
        g_autofree char *middle =
                g_strdup_printf(" %s %c ", streams[r->stream], r->flags & LOG_RECORD_PARTIAL ? 'P' : 'F');
        g_assert_cmpuint(len, ==, 35 + strlen(middle) + r->len + 1);
        g_assert_cmpmem(message + 35, strlen(middle), middle, strlen(middle));
        g_assert_cmpmem(message + len - 1 - r->len, r->len, r->bytes, r->len);
        g_assert_cmpint(message[len - 1], ==, '\n');
}

static void
count_value(const JsonValue *value, void *data)
{
        ++*(size_t *)data;
}

static void
check_json(const char *message, size_t len, const LogRecord *r)
{
        g_autoptr(GError) error = NULL;
        size_t n = 0;
        /* A line or a chunk of a datagram or a record with a NUL at its end. */
        while (len > 0 && (message[len - 1] == '\n' || message[len - 1] == '\0'))
                len--;
        g_assert_true(g_utf8_validate(message, (gssize)len, NULL));
        g_assert_null(memchr(message, '\n', len));
        g_assert_true(json_read(message, len, count_value, &n, &error));
        g_assert_cmpuint(n, >, 1);
}

static void
check_msgpack(const char *message, size_t len, const LogRecord *r)
{
        MsgpackReader reader = {message, message + len};
        g_assert_cmpint(msgpack_skip(&reader), ==, 0);
        g_assert_true(reader.at == reader.end);
        if (r->len > 0 && g_utf8_validate_len(r->bytes, r->len, NULL))
                g_assert_nonnull(memmem(message, len, r->bytes, r->len));
        for (reader.at = message; reader.at < reader.end;) {
                MsgpackValue v;
                g_assert_cmpint(msgpack_read(&reader, &v), ==, 0);
                for (size_t at = 0; v.type == MSGPACK_STR && at < v.len;) {
                        size_t part = strnlen(v.text + at, v.len - at);
                        g_assert_true(g_utf8_validate(v.text + at, (gssize)part, NULL));
                        at += part + 1;
                }
        }
}

/* RFC 6587 counts the bytes that follow. */
static void
check_syslog(const char *message, size_t len, const LogRecord *r)
{
        g_assert_cmpuint(len, >, 8);
        if (r->len > 0 && !memchr(r->bytes, '\0', r->len) && g_utf8_validate(r->bytes, r->len, NULL))
                g_assert_nonnull(memmem(message, len, r->bytes, r->len));
}

static void
check_any(const char *message, size_t len, const LogRecord *r)
{
        g_assert_cmpuint(len, >, 0);
}

/* One field, whose message has the unchanged text. */
static void
check_otlp(const char *message, size_t len, const LogRecord *r)
{
        ProtobufReader reader = {message, message + len};
        ProtobufField record, field;
        g_assert_cmpint(protobuf_next(&reader, &record), ==, 1);
        g_assert_true(reader.at == reader.end && record.bytes);
        reader = (ProtobufReader){record.bytes, record.bytes + record.len};
        int e, n = 0;
        for (; (e = protobuf_next(&reader, &field)) > 0; n++) {
                if (field.number != 5)
                        continue;
                ProtobufReader body = {field.bytes, field.bytes + field.len};
                g_assert_cmpint(protobuf_next(&body, &field), ==, 1);
                g_assert_cmpmem(field.bytes, field.len, r->bytes, r->len);
                bool text = g_utf8_validate_len(r->bytes, r->len, NULL);
                g_assert_true(!text || field.number == 1);
        }
        g_assert_cmpint(e, ==, 0);
        g_assert_cmpint(n, ==, r->ordinal > 0 ? 9 : 6);
}

/* An element of an array, with a comma before it. */
static void
check_element(const char *message, size_t len, const LogRecord *r)
{
        g_assert_cmpint(*message, ==, ',');
        check_json(message + 1, len - 1, r);
}

/* Docker's LogEntry with its length before it, with unchanged bytes. */
static void
check_plugin(const char *message, size_t len, const LogRecord *r)
{
        uint32_t size;
        memcpy(&size, message, sizeof size);
        g_assert_cmpuint(GUINT32_FROM_BE(size) + sizeof size, ==, len);
        ProtobufReader reader = {message + sizeof size, message + len};
        ProtobufField field;
        int e, n = 0;
        for (; (e = protobuf_next(&reader, &field)) > 0; n++)
                if (field.number == 3)
                        g_assert_cmpmem(field.bytes, field.len, r->bytes, r->len);
        g_assert_cmpint(e, ==, 0);
        g_assert_cmpint(n, ==, r->ordinal > 0 ? 5 : 3);
}

static const Format formats[] = {
        {"k8s-file", "/dev/null", NULL, check_k8s},
        {"json-file", "/dev/null", NULL, check_json},
        {"gelf", NULL, "gelf-address=tcp://127.0.0.1:9", check_json},
        {"gelf", NULL, "gelf-address=udp://127.0.0.1:9", check_any},
        {"fluentd", NULL, "fluentd-address=unix:///nowhere", check_msgpack},
        {"syslog", NULL, "syslog-address=unix:///nowhere", check_syslog},
        {"syslog", NULL, "syslog-address=tcp://127.0.0.1:9", check_syslog},
        {"journald", NULL, NULL, check_any},
        {"http", NULL, "http-url=http://127.0.0.1:9", check_json},
        {"loki", NULL, "loki-url=http://127.0.0.1:9", check_element},
        {"splunk", NULL, "splunk-url=http://127.0.0.1:9", check_json},
        {"otlp", NULL, "otlp-endpoint=http://127.0.0.1:9", check_otlp},
        {"plugin", "name", NULL, check_plugin},
};

typedef struct {
        const Format *format;
        const LogDriver *driver;
        LogOptions *options;
        void *self;
} Target;

static const LogConfig config = {.cid = "0123456789abcdef0123", .name = "name", .max_files = 1};

/* Created once: opening is not tested here. */
static const Target *
targets(void)
{
        static Target list[G_N_ELEMENTS(formats)];
        for (size_t i = 0; i < G_N_ELEMENTS(formats) && !list[i].driver; i++) {
                Target *t = &list[i];
                t->format = &formats[i];
                t->driver = log_driver_find(t->format->driver);
                t->options = log_sink_options(t->driver);
                const char *equals = t->format->option ? strchr(t->format->option, '=') : NULL;
                g_autofree char *key =
                        equals ? g_strndup(t->format->option, (size_t)(equals - t->format->option)) : NULL;
                if (key)
                        g_assert_true(log_options_set(t->options, key, equals + 1, NULL));
                LogDriverConfig c = {.options = log_options_values(t->options, LOG_OPTIONS_OF_DRIVER),
                                     .arg = t->format->arg,
                                     .log = &config,
                                     .from_log_path = !t->format->option};
                g_autoptr(GError) error = NULL;
                t->self = log_driver_open(t->driver, &c, &error);
                g_assert_no_error(error);
        }
        return list;
}

static void
encode(const Target *t, const LogRecord *records, size_t n)
{
        LogQueue q = {0};
        for (size_t done = 0; done < n;) {
                size_t need = t->driver->format.max_encoded_len(t->self, records[done].len);
                LogBlock *b = log_queue_block(&q, need);
                uint32_t first = b->count;
                size_t at = b->end;
                size_t k = log_driver_encode(t->driver, t->self, records + done, n - done, b);
                g_assert_true(k > 0 && k <= n - done);
                g_assert_cmpuint(b->count - first, ==, k);
                for (size_t i = 0; i < k; i++) {
                        const LogRecord *r = &records[done + i];
                        uint32_t len = log_block_entry(b, first + (uint32_t)i)->len;
                        g_assert_cmpuint(len, <=, t->driver->format.max_encoded_len(t->self, r->len));
                        t->format->check(b->bytes + at, len, r);
                        at += len;
                }
                g_assert_cmpuint(at, ==, b->end);
                done += k;
        }
        LogCount none = {0};
        log_queue_clear(&q, &none);
        log_queue_release(&q);
}

/* The first byte selects the stream and whether more data follows. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        LogSplitter s;
        LogRecord records[64];
        const char *text = (const char *)data + 1;
        fuzz_be_quiet();
        log_splitter_init(&s, data[0] & 1 ? STREAM_STDERR : STREAM_STDOUT, 7);
        s.now_ns = INT64_C(1700000000123456789) + data[0];
        s.more = false;
        for (size_t at = 0, used; at < size - 1; at += used) {
                size_t n =
                        log_splitter_cut(&s, text + at, size - 1 - at, records, G_N_ELEMENTS(records), &used);
                for (size_t i = 0; i < G_N_ELEMENTS(formats); i++)
                        encode(&targets()[i], records, n);
        }
        return 0;
}
