/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/help.h"

#include "log/drivers/registry.h"
#include "log/sink/options.h"

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

/* As text; NULL: there is none, or the help of the option describes it. */
static char *
describe_default(const LogDriver *driver, const LogOption *option)
{
        if (log_option_fallback(option) && *log_option_fallback(option))
                return g_strdup(log_option_fallback(option));
        if (strcmp(option->name, "max-record") == 0)
                return g_strdup_printf("%zu", driver->max_record > 0 ? driver->max_record : LOG_RECORD_MAX);
        return NULL;
}

/* In parentheses: the range, the default, and whether the option can be repeated; nothing if none applies. */
static void
append_notes(GString *text, const LogDriver *driver, const LogOption *option)
{
        g_autofree char *range = value_describe_range(&option->type);
        g_autofree char *fallback = describe_default(driver, option);
        g_autoptr(GString) notes = g_string_new(range);
        if (fallback)
                g_string_append_printf(notes, "%sdefault %s", notes->len > 0 ? "; " : "", fallback);
        if (option->repeats)
                g_string_append_printf(notes, "%srepeatable", notes->len > 0 ? "; " : "");
        if (notes->len > 0)
                g_string_append_printf(text, " (%s)", notes->str);
}

static void
append_option(GString *text, const LogDriver *driver, const LogOption *option)
{
        g_string_append_printf(text, "  %s=%s\n        ", option->name, value_placeholder(&option->type));
        if (*option->same_as) {
                g_string_append_printf(text, "another name of %s", option->same_as);
        } else {
                g_string_append(text, option->help);
                append_notes(text, driver, option);
        }
        g_string_append_c(text, '\n');
}

/* Options without effect are listed in one line at the end. */
static char *
describe_driver(const LogDriver *driver)
{
        GString *text = g_string_new(NULL);
        append_driver(text, driver);
        if (driver->flags & LOG_DRIVER_NO_SINK && !driver->options.options)
                return g_string_free(text, FALSE);
        g_string_append_printf(text, "Options, as --log-opt KEY=VALUE or --log-opt %s.KEY=VALUE:\n",
                               driver->name);
        g_autoptr(LogOptions) options = log_sink_options(driver);
        g_autoptr(GString) unused = g_string_new(NULL);
        const LogOption *option;
        for (size_t i = 0; (option = log_options_at(options, i)); i++) {
                if (option->no_effect)
                        g_string_append_printf(unused, "%s%s", unused->len ? ", " : "", option->name);
                else
                        append_option(text, driver, option);
        }
        if (unused->len > 0)
                g_string_append_printf(text, "Accepted without effect: %s\n", unused->str);
        return g_string_free(text, FALSE);
}

char *
log_help(const char *name, const char *arg)
{
        if (strcmp(name, help_word) == 0 && !arg)
                return list_drivers();
        if (g_strcmp0(arg, help_word) != 0)
                return NULL;
        const LogDriver *driver = log_driver_find(name);
        return driver ? describe_driver(driver) : NULL;
}
