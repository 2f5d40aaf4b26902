/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/json.h"
#include "log/drivers/registry.h"
#include "log/sink/sink.h"

#include "fuzz.h"

/* The text for JSON: invalid UTF-8 is replaced byte by byte. */
static GString *
as_unicode(const char *text, size_t len)
{
        GString *out = g_string_new(NULL);
        for (const char *end = text + len; text < end; text++) {
                size_t part = strnlen(text, (size_t)(end - text));
                g_autofree char *valid = g_utf8_make_valid(text, (gssize)part);
                g_string_append(out, valid);
                text += part;
                if (text < end)
                        g_string_append_c(out, '\0');
        }
        return out;
}

typedef struct {
        const char *name;
        GString *text;
} Member;

static void
take_member(const JsonValue *value, void *data)
{
        Member *m = data;
        if (value->depth == 1 && strcmp(value->path[0], m->name) == 0)
                g_string_append_len(m->text, value->text, (gssize)value->len);
}

/* A JSON parser returns the original line. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const LogConfig config = {.cid = "0123456789abcdef"};
        g_autoptr(GError) error = NULL;
        const LogDriver *driver = log_driver_find("json-file");
        g_autoptr(LogOptions) options = log_sink_options(driver);
        LogDriverConfig driver_config = {
                .arg = "/dev/null",
                .options = log_options_values(options, LOG_OPTIONS_OF_DRIVER),
                .log = &config,
        };
        void *self = log_driver_open(driver, &driver_config, &error);
        g_assert_no_error(error);

        LogRecord r = {.bytes = (const char *)data, .len = (uint32_t)size, .time_ns = 1};
        LogQueue q = {0};
        LogBlock *b = log_queue_block(&q, driver->format.max_encoded_len(self, size));
        g_assert_cmpuint(log_driver_encode(driver, self, &r, 1, b), ==, 1);
        g_assert_cmpuint(b->end, <=, driver->format.max_encoded_len(self, size));

        Member log = {"log", g_string_new(NULL)};
        gboolean ok = json_read(b->bytes, b->end, take_member, &log, &error);
        g_assert_no_error(error);
        g_assert_true(ok);
        GString *expected = as_unicode((const char *)data, size);
        g_string_append_c(expected, '\n');
        g_assert_cmpmem(log.text->str, log.text->len, expected->str, expected->len);
        g_string_free(expected, TRUE);
        g_string_free(log.text, TRUE);
        LogCount none = {0};
        log_queue_clear(&q, &none);
        log_driver_close(driver, self);
        return 0;
}
