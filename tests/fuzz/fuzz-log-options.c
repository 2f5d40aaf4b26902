#include "log/option.h"
#include "log/spec.h"

#include "fuzz.h"

/* Lines: "l VALUE" is --log-path, "d VALUE" --log-driver, "o VALUE" --log-opt. */
static void
take_line(const char *line, GPtrArray *paths, GPtrArray *drivers, GPtrArray *options)
{
        if (line[0] == '\0' || line[1] != ' ')
                return;
        GPtrArray *list = line[0] == 'l' ? paths : line[0] == 'd' ? drivers : line[0] == 'o' ? options : NULL;
        if (list)
                g_ptr_array_add(list, (gpointer)(line + 2));
}

/* A value that was taken is within what its option allows. */
static void
look_at_option(const LogOptions *o, const LogOption *option)
{
        const char *text = log_options_string(o, option->name);
        int64_t number = log_options_number(o, option->name);
        if (!log_options_has(o, option->name)) {
                g_assert_cmpstr(text, ==, option->fallback);
                return;
        }
        g_assert_nonnull(text);
        g_assert_nonnull(log_options_all(o, option->name)[0]);
        if (option->type == LOG_OPTION_BOOL)
                g_assert_true(number == 0 || number == 1);
        if (option->type == LOG_OPTION_INT || option->type == LOG_OPTION_SIZE ||
            option->type == LOG_OPTION_BINARY_SIZE || option->type == LOG_OPTION_DURATION) {
                g_assert_cmpint(number, >=, option->min);
                g_assert_true(option->max == 0 || number <= option->max);
        }
}

static void
look_at_spec(const LogSpec *spec, const LogConfig *config)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(LogOptions) o = log_spec_options(spec, config, &error);
        g_assert_cmpint(o != NULL, ==, error == NULL);
        for (const LogOption *option = spec->driver->options; o && option && option->name; option++)
                look_at_option(o, option);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        g_autoptr(GPtrArray) paths = g_ptr_array_new(), drivers = g_ptr_array_new(),
                             options = g_ptr_array_new();
        for (char **line = lines; *line; line++)
                take_line(*line, paths, drivers, options);
        g_ptr_array_add(paths, NULL);
        g_ptr_array_add(drivers, NULL);
        g_ptr_array_add(options, NULL);
        LogConfig config = {
                .paths = (char **)paths->pdata,
                .drivers = (char **)drivers->pdata,
                .options = (char **)options->pdata,
                .cid = "0123456789abcdef",
        };
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) specs = log_specs_parse(&config, &error);
        g_assert_cmpint(specs != NULL, ==, error == NULL);
        for (guint i = 0; specs && i < specs->len; i++)
                look_at_spec(g_ptr_array_index(specs, i), &config);
        return 0;
}
