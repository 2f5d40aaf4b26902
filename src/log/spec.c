#include "log/spec.h"

#include "base/error.h"
#include "log/sink.h"

#include <string.h>

/* The words that -l knows; json-file is not among them: that was always a file name, or an error. */
static const char *const log_path_words[] = {"k8s-file", "journald", "none", "off", "null", "passthrough"};

static void
spec_free(void *data)
{
        LogSpec *spec = data;
        g_free(spec->arg);
        g_free(spec->origin);
        g_free(spec);
}

static LogSpec *
spec_new(const LogDriver *driver, const char *arg, bool from_log_path)
{
        LogSpec *spec = g_new0(LogSpec, 1);
        spec->driver = driver;
        spec->arg = g_strdup(arg);
        spec->from_log_path = from_log_path;
        return spec;
}

static bool
is_log_path_word(const char *text, size_t len)
{
        for (size_t i = 0; i < G_N_ELEMENTS(log_path_words); i++)
                if (strlen(log_path_words[i]) == len && memcmp(log_path_words[i], text, len) == 0)
                        return true;
        return false;
}

/* "PATH", ":PATH", "WORD", "WORD:ARG". */
static LogSpec *
parse_log_path(const char *value, GError **error)
{
        size_t word = strcspn(value, ":");
        const char *arg = value + word + strspn(value + word, ":");
        if (value[word] == '\0' && !is_log_path_word(value, word)) {
                word = 0;
                arg = value;
        }
        if (word == 0) {
                if (*arg)
                        return spec_new(log_driver_find("k8s-file", 8), arg, true);
                error_set(error, CONMON_ERROR_USAGE, "log-path must not be empty");
                return NULL;
        }
        const LogDriver *driver = is_log_path_word(value, word) ? log_driver_find(value, word) : NULL;
        if (!driver) {
                error_set(error, CONMON_ERROR_USAGE, "No such log driver %.*s", (int)word, value);
                return NULL;
        }
        if (strcmp(driver->name, "k8s-file") == 0 && *arg == '\0') {
                error_set(error, CONMON_ERROR_USAGE, "k8s-file requires a filename");
                return NULL;
        }
        return spec_new(driver, *arg ? arg : NULL, true);
}

static char *
driver_names(void)
{
        GString *names = g_string_new(NULL);
        for (const LogDriver *const *d = log_drivers(); *d; d++)
                g_string_append_printf(names, "%s%s", names->len ? ", " : "", (*d)->name);
        return g_string_free(names, FALSE);
}

/* "NAME", "NAME:ARG". */
static LogSpec *
parse_log_driver(const char *value, GError **error)
{
        size_t word = strcspn(value, ":");
        const LogDriver *driver = log_driver_find(value, word);
        if (!driver) {
                g_autofree char *names = driver_names();
                error_set(error, CONMON_ERROR_USAGE, "No such log driver %.*s; there are: %s", (int)word,
                          value, names);
                return NULL;
        }
        const char *arg = value[word] ? value + word + 1 : NULL;
        if (arg && !driver->arg) {
                error_set(error, CONMON_ERROR_USAGE,
                          "Log driver %s takes nothing behind its name (given as %s)", driver->name, value);
                return NULL;
        }
        return spec_new(driver, arg, false);
}

/* Two files in -l: the last wins. The same driver twice without a file is one sink. */
static void
replace_log_path(GPtrArray *specs, LogSpec *spec)
{
        for (guint i = 0; i < specs->len; i++) {
                const LogSpec *old = g_ptr_array_index(specs, i);
                if (old->driver == spec->driver) {
                        g_ptr_array_remove_index(specs, i);
                        break;
                }
        }
        g_ptr_array_add(specs, spec);
}

/* NULL for the command line. */
static const char *
find_origin(char **origins, char **texts, char **text)
{
        const char *origin = origins ? origins[text - texts] : "";
        return *origin ? origin : NULL;
}

static gboolean
fail_at(const char *origin, GError **error)
{
        if (origin)
                g_prefix_error(error, "%s: ", origin);
        return FALSE;
}

gboolean
log_spec_fail(const LogSpec *spec, GError **error)
{
        return fail_at(spec->origin, error);
}

static gboolean
add_log_driver(GPtrArray *specs, const char *value, const char *origin, GError **error)
{
        LogSpec *spec = parse_log_driver(value, error);
        if (!spec)
                return fail_at(origin, error);
        spec->origin = g_strdup(origin);
        g_ptr_array_add(specs, spec);
        return TRUE;
}

GPtrArray *
log_specs_parse(const LogConfig *config, GError **error)
{
        g_autoptr(GPtrArray) specs = g_ptr_array_new_with_free_func(spec_free);
        if (!(config->paths && *config->paths) && !(config->drivers && *config->drivers)) {
                error_set(error, CONMON_ERROR_USAGE, "Log driver not provided. Use --log-path");
                return NULL;
        }
        for (char **path = config->paths; path && *path; path++) {
                LogSpec *spec = parse_log_path(*path, error);
                if (!spec)
                        return NULL;
                replace_log_path(specs, spec);
        }
        for (char **driver = config->drivers; driver && *driver; driver++) {
                const char *origin = find_origin(config->driver_origins, config->drivers, driver);
                if (!add_log_driver(specs, *driver, origin, error))
                        return NULL;
        }
        return g_steal_pointer(&specs);
}

/* Takes "[DRIVER.]KEY=VALUE" apart. Keys have no dot. */
static gboolean
parse_option(const char *text, char **ret_driver, char **ret_key, const char **ret_value, GError **error)
{
        const char *equal = strchr(text, '=');
        if (!equal || equal == text)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "--log-opt %s is not of the form [DRIVER.]KEY=VALUE", text);
        const char *dot = memchr(text, '.', (size_t)(equal - text));
        *ret_driver = dot ? g_strndup(text, (size_t)(dot - text)) : NULL;
        const char *key = dot ? dot + 1 : text;
        *ret_key = g_strndup(key, (size_t)(equal - key));
        *ret_value = equal + 1;
        return TRUE;
}

/* True if the option names the spec's driver, or names none and the spec is one of --log-driver. What -l
 * names is the caller's, and only the command line has options for it. */
static bool
is_meant(const LogSpec *spec, const char *driver, const char *origin)
{
        if (spec->driver->flags & LOG_DRIVER_NO_SINK || (spec->from_log_path && origin))
                return false;
        return driver ? log_driver_find(driver, strlen(driver)) == spec->driver : !spec->from_log_path;
}

/* True if the option can be of no other driver, be it that this one refuses it. */
static bool
is_named(const LogOptions *options, const char *key)
{
        return log_options_knows(options, key) || log_options_hides(options, key);
}

/* Takes one option if it is for this sink. `again`: the one before has the same origin,
 * so it is of the same list. */
static gboolean
set_option(LogOptions *options, const LogSpec *spec, const char *text, const char *origin, bool again,
           GError **error)
{
        g_autofree char *driver = NULL, *key = NULL;
        const char *value = NULL;
        if (!parse_option(text, &driver, &key, &value, error))
                return FALSE;
        if (!is_meant(spec, driver, origin) || (!driver && !is_named(options, key)))
                return TRUE;
        if (again && log_options_knows(options, key) && !log_options_repeats(options, key))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "it takes one value; a semicolon in it must be written \\;");
        return log_options_set(options, key, value, error);
}

LogOptions *
log_spec_options(const LogSpec *spec, const LogConfig *config, GError **error)
{
        g_autoptr(LogOptions) options = log_sink_options(spec->driver);
        const char *before = NULL;
        for (char **text = config->options; text && *text; text++) {
                const char *origin = find_origin(config->option_origins, config->options, text);
                bool again = origin && before && strcmp(origin, before) == 0;
                if (!set_option(options, spec, *text, origin, again, error)) {
                        (void)fail_at(origin, error);
                        return NULL;
                }
                before = origin;
        }
        return g_steal_pointer(&options);
}

/* What to say about an option that nobody takes. */
static gboolean
fail_option(const char *text, const char *driver, const char *key, bool any, const char *origin,
            GError **error)
{
        g_autofree char *what = origin ? g_strdup(origin) : g_strconcat("--log-opt ", text, NULL);
        if (driver && !log_driver_find(driver, strlen(driver)))
                return error_set(error, CONMON_ERROR_USAGE, "%s: no such log driver %s", what, driver);
        if (driver)
                return error_set(error, CONMON_ERROR_USAGE, "%s: log driver %s is not in use", what, driver);
        if (!any && !origin)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "%s: without --log-driver it must name its driver, as in k8s-file.%s", what,
                                 text);
        return error_set(error, CONMON_ERROR_USAGE, "%s: no log driver in use has an option %s", what, key);
}

static gboolean
check_option(const GPtrArray *specs, const char *text, const char *origin, GError **error)
{
        g_autofree char *driver = NULL, *key = NULL;
        const char *value;
        if (!parse_option(text, &driver, &key, &value, error))
                return FALSE;
        bool any = false;
        for (guint i = 0; i < specs->len; i++) {
                const LogSpec *spec = g_ptr_array_index(specs, i);
                if (!is_meant(spec, driver, origin))
                        continue;
                any = true;
                g_autoptr(LogOptions) options = log_sink_options(spec->driver);
                if (driver || is_named(options, key))
                        return TRUE;
        }
        return fail_option(text, driver, key, any, origin, error);
}

gboolean
log_specs_check_options(const GPtrArray *specs, const LogConfig *config, GError **error)
{
        for (char **text = config->options; text && *text; text++)
                if (!check_option(specs, *text, find_origin(config->option_origins, config->options, text),
                                  error))
                        return FALSE;
        return TRUE;
}
