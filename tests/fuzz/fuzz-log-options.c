/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/option.h"
#include "log/sink/sink.h"
#include "log/spec.h"

#include "fuzz.h"

/* Lines: "l VALUE" is --log-path, "d VALUE" --log-driver, "o VALUE" --log-opt. */
static void
take_line(const char *line, GPtrArray *paths, LogRequests *requests)
{
        if (line[0] == '\0' || line[1] != ' ')
                return;
        if (line[0] == 'l')
                g_ptr_array_add(paths, (gpointer)(line + 2));
        else if (line[0] == 'd')
                (void)log_requests_add(requests, line + 2, LOG_SOURCE_COMMAND_LINE, NULL);
        else if (line[0] == 'o')
                (void)log_requests_add_option(requests, line + 2, NULL);
}

/* Parsed values are within the limits of their options. */
static void
look_at_option(const char *values, const LogOption *option)
{
        const ValueType *type = &option->type;
        const void *field = values + option->offset;
        if (option->no_effect)
                return;
        if (type->kind >= VALUE_INT) {
                int64_t number = *(const int64_t *)field;
                g_assert_true(number == 0 || number >= type->min);
                g_assert_true(type->max == 0 || number <= type->max);
        } else if (type->kind == VALUE_CHOICE) {
                g_assert_cmpint(*(const int *)field, <, 10);
        } else if (type->kind == VALUE_TEXT && !option->repeats) {
                const char *text = *(const char *const *)field;
                g_assert_true(text || !log_option_fallback(option));
        }
}

static void
look_at_spec(const LogSpec *spec, const LogConfig *config)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(LogOptions) o = log_spec_options(spec, config, &error);
        g_assert_cmpint(o != NULL, ==, error == NULL);
        const LogOption *option = spec->driver->options.options;
        for (; o && option && *option->name; option++)
                look_at_option(log_options_values(o, LOG_OPTIONS_OF_DRIVER), option);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        g_autoptr(GPtrArray) paths = g_ptr_array_new();
        g_autoptr(LogRequests) given = log_requests_new(), requests = log_requests_new();
        for (char **line = lines; *line; line++)
                take_line(*line, paths, given);
        g_ptr_array_add(paths, NULL);
        log_requests_add_command_line(requests, given);
        LogConfig config = {
                .paths = (char **)paths->pdata,
                .requests = requests,
                .cid = "0123456789abcdef",
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) specs = log_specs_parse(&config, &error);
        g_assert_cmpint(specs != NULL, ==, error == NULL);
        for (guint i = 0; specs && i < specs->len; i++)
                look_at_spec(g_ptr_array_index(specs, i), &config);
        return 0;
}
