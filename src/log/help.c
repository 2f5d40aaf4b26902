#include "log/log.h"

#include "log/sink.h"

#include <string.h>

static const char help_word[] = "help";

static void
append_driver(GString *text, const LogDriver *driver)
{
        g_autofree char *name = g_strconcat(driver->name, driver->arg ? ":" : NULL, driver->arg, NULL);
        g_string_append_printf(text, "  %-20s %s\n", name, driver->help);
}

static char *
list_drivers(void)
{
        GString *text = g_string_new("Log drivers; --log-driver NAME:help shows the options of one:\n");
        for (const LogDriver *const *d = log_drivers(); *d; d++)
                append_driver(text, *d);
        return g_string_free(text, FALSE);
}

static const char *
value_name(const LogOption *option)
{
        switch (option->type) {
        case LOG_OPTION_BOOL:
                return "true|false";
        case LOG_OPTION_INT:
                return "N";
        case LOG_OPTION_SIZE:
        case LOG_OPTION_BINARY_SIZE:
                return "SIZE";
        case LOG_OPTION_DURATION:
                return "TIME";
        case LOG_OPTION_ENUM:
                return option->choices;
        case LOG_OPTION_LIST:
                return "A,B,...";
        default:
                return "TEXT";
        }
}

static void
append_option(GString *text, const LogOption *option)
{
        g_string_append_printf(text, "  %s=%s\n        %s", option->name, value_name(option), option->help);
        if (option->fallback)
                g_string_append_printf(text, " (default %s)", option->fallback);
        if (option->repeats)
                g_string_append(text, " (repeatable)");
        g_string_append_c(text, '\n');
}

static char *
describe_driver(const LogDriver *driver)
{
        GString *text = g_string_new(NULL);
        append_driver(text, driver);
        if (driver->flags & LOG_DRIVER_NO_SINK && !driver->options)
                return g_string_free(text, FALSE);
        g_string_append_printf(text, "Options, as --log-opt KEY=VALUE or --log-opt %s.KEY=VALUE:\n",
                               driver->name);
        g_autoptr(LogOptions) options = log_sink_options(driver);
        const LogOption *option;
        for (size_t i = 0; (option = log_options_table(options, i)); i++)
                append_option(text, option);
        return g_string_free(text, FALSE);
}

char *
log_help(const char *value)
{
        if (strcmp(value, help_word) == 0)
                return list_drivers();
        const char *colon = strchr(value, ':');
        if (!colon || strcmp(colon + 1, help_word) != 0)
                return NULL;
        const LogDriver *driver = log_driver_find(value, (size_t)(colon - value));
        return driver ? describe_driver(driver) : NULL;
}
