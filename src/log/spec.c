/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/registry.h"
#include "log/log.h"
#include "log/spec.h"

#include "base/errands.h"
#include "base/error.h"
#include "log/file/log_file.h"
#include "log/permission.h"
#include "log/sink/options.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* Names that differ in more letters are different names. */
#define SIMILAR_LETTERS 3

/* The words that -l knows. json-file is not among them: it has always been a file name, or an error. */
static const char *const log_path_words[] = {"k8s-file", "journald",    "none", "off",
                                             "null",     "passthrough", NULL};

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

/* "PATH", ":PATH", "WORD", "WORD:ARG". */
static LogSpec *
parse_log_path(const char *value, GError **error)
{
        g_autofree char *word = g_strndup(value, strcspn(value, ":"));
        const char *rest = value + strlen(word), *arg = rest + strspn(rest, ":");
        bool known = g_strv_contains(log_path_words, word);
        if (!*word || (!*rest && !known)) {
                const char *path = *word ? value : arg;
                if (*path)
                        return spec_new(log_driver_find("k8s-file"), path, true);
                error_set(error, CONMON_ERROR_USAGE, "log-path must not be empty");
                return NULL;
        }
        const LogDriver *driver = known ? log_driver_find(word) : NULL;
        if (!driver) {
                error_set(error, CONMON_ERROR_USAGE, "No such log driver %s", word);
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

/* Docker's names for other drivers. */
static gboolean
fail_unknown_driver(const char *name, GError **error)
{
        static const struct {
                const char *name, *instead;
        } known[] = {
                {"local", "json-file with max-size, max-file and compress does what Docker's does"},
                {"awslogs", "an external logger can do it, as binary:///PROGRAM"},
                {"gcplogs", "an external logger can do it, as binary:///PROGRAM"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
                if (strcmp(name, known[i].name) == 0)
                        return error_set(error, CONMON_ERROR_USAGE, "No such log driver %s; %s", name,
                                         known[i].instead);
        g_autofree char *names = driver_names();
        return error_set(error, CONMON_ERROR_USAGE, "No such log driver %s; there are: %s", name, names);
}

static LogSpec *
find_driver(const LogRequest *request, char **sockets, GError **error)
{
        if (!log_permit_driver(request, sockets, error))
                return NULL;
        const LogDriver *driver = log_driver_find(request->driver);
        if (!driver) {
                (void)fail_unknown_driver(request->driver, error);
                return NULL;
        }
        if (request->arg && !driver->arg) {
                error_set(error, CONMON_ERROR_USAGE,
                          "Log driver %s takes no argument (given as %s:%s)", driver->name, request->driver,
                          request->arg);
                return NULL;
        }
        LogSpec *spec = spec_new(driver, request->arg, false);
        spec->origin = g_strdup(request->origin);
        spec->request = request;
        return spec;
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

static void
look(void *data)
{
        struct stat st;
        (void)stat(data, &st);
}

/* During a reload no disk or server may block. One that has answered is not expected to stall right after. */
static gboolean
check_answer(const LogSpec *spec, Errands *errands, GError **error)
{
        if (!errands || spec->driver->transport != &log_file_transport || !spec->arg)
                return TRUE;
        char *path = g_strdup(spec->arg);
        if (!errands_do(errands, look, path, g_free, path))
                return error_set_errno(error, -ETIMEDOUT, "Log driver %s: %s", spec->driver->name, spec->arg);
        g_free(path);
        return TRUE;
}

/* NULL for drivers that don't write to their own file, and for anything but a regular file, such as a
 * FIFO. */
static const char *
file_of(const LogSpec *spec)
{
        struct stat st;
        if (spec->driver->transport != &log_file_transport || !spec->arg || !*spec->arg)
                return NULL;
        return stat(spec->arg, &st) == 0 && !S_ISREG(st.st_mode) ? NULL : spec->arg;
}

static bool
is_same_inode(const char *a, const char *b)
{
        struct stat one, other;
        return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_ino == other.st_ino &&
               one.st_dev == other.st_dev;
}

/* Only the kernel resolves names. Those of new files are compared in their directories. */
static bool
is_same_file(const char *a, const char *b)
{
        if (strcmp(a, b) == 0 || is_same_inode(a, b))
                return true;
        g_autofree char *one = g_path_get_basename(a), *other = g_path_get_basename(b);
        g_autofree char *dir = g_path_get_dirname(a), *other_dir = g_path_get_dirname(b);
        return strcmp(one, other) == 0 && is_same_inode(dir, other_dir);
}

/* Two logs in one file would rotate each other's file. */
static gboolean
check_file(const GPtrArray *specs, const LogSpec *spec, GError **error)
{
        const char *file = file_of(spec);
        for (guint i = 0; file && i < specs->len; i++) {
                const LogSpec *other = specs->pdata[i];
                const char *used = file_of(other);
                if (used && is_same_file(file, used))
                        return error_set(error, CONMON_ERROR_USAGE,
                                         "Log driver %s: %s is the file of %s already; each log needs a file "
                                         "of its own",
                                         spec->driver->name, spec->arg, other->driver->name);
        }
        if (!file || !spec->request || !spec->request->shared)
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log driver %s: %s would be one file for many containers; {{.ID}}, {{.FullID}} or "
                         "{{.Name}} in the path gives each its own",
                         spec->driver->name, spec->arg);
}

static guint
count_requests(const LogConfig *config)
{
        return config->requests ? config->requests->list->len : 0;
}

GPtrArray *
log_specs_parse(const LogConfig *config, GError **error)
{
        g_autoptr(GPtrArray) specs = g_ptr_array_new_with_free_func(spec_free);
        if (!(config->paths && *config->paths) && count_requests(config) == 0) {
                error_set(error, CONMON_ERROR_USAGE, "Log driver not provided. Use --log-path");
                return NULL;
        }
        for (char **path = config->paths; path && *path; path++) {
                LogSpec *spec = parse_log_path(*path, error);
                if (!spec)
                        return NULL;
                replace_log_path(specs, spec);
                if (!check_answer(spec, config->errands, error))
                        return NULL;
        }
        for (guint i = 0; i < count_requests(config); i++) {
                const LogRequest *request = config->requests->list->pdata[i];
                LogSpec *spec = find_driver(request, config->annotation_sockets, error);
                if (!spec || !check_answer(spec, config->errands, error) || !check_file(specs, spec, error)) {
                        if (spec)
                                spec_free(spec);
                        (void)fail_at(request->origin, error);
                        return NULL;
                }
                g_ptr_array_add(specs, spec);
        }
        return g_steal_pointer(&specs);
}

/* True if the options have this one, or it is the name of a secret without its suffix. */
static bool
is_known(const LogOptions *options, const char *key)
{
        return log_options_find(options, key) || log_options_hides(options, key);
}

/* True if the --log-driver before the setting has such an option: then it applies to that one alone. */
static bool
is_taken_by(const LogRequest *request, const char *key)
{
        const LogDriver *driver = log_driver_find(request->driver);
        if (!driver || driver->flags & LOG_DRIVER_NO_SINK)
                return false;
        g_autoptr(LogOptions) options = log_sink_options(driver);
        return is_known(options, key);
}

/* True if the setting is for this sink, even if the sink rejects it. */
static bool
is_for(const LogSpec *spec, const LogOptions *options, const LogSetting *s)
{
        if (spec->driver->flags & LOG_DRIVER_NO_SINK)
                return false;
        if (s->driver)
                return log_driver_find(s->driver) == spec->driver;
        if (spec->from_log_path || !is_known(options, s->key))
                return false;
        return !s->after || s->after == spec->request || !is_taken_by(s->after, s->key);
}

/* The settings that may apply to a sink. Only the command line has options for the logs of -l. */
static const GPtrArray *
settings_of(const LogSpec *spec, const LogConfig *config)
{
        if (spec->request)
                return spec->request->settings;
        return config->requests ? config->requests->settings : NULL;
}

static gboolean
apply(LogOptions *options, const LogSetting *s, const LogSetting *before, const GPtrArray *settings,
      const LogConfig *config, GError **error)
{
        const LogOption *option = log_options_find(options, s->key);
        bool again = before && s->origin && g_strcmp0(s->origin, before->origin) == 0;
        if (!log_permit_setting(options, s, settings, config->annotation_sockets, error))
                return FALSE;
        if (again && option && !option->repeats)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "it takes one value; a semicolon in it must be written \\;");
        return log_options_set(options, s->key, s->value, error);
}

GPtrArray *
log_spec_settings(const LogSpec *spec, const LogOptions *options, const LogConfig *config)
{
        const GPtrArray *settings = settings_of(spec, config);
        GPtrArray *found = g_ptr_array_new();
        for (guint i = 0; settings && i < settings->len; i++) {
                LogSetting *s = settings->pdata[i];
                bool foreign = spec->from_log_path && s->source != LOG_SOURCE_COMMAND_LINE;
                if (!foreign && is_for(spec, options, s))
                        g_ptr_array_add(found, s);
        }
        return found;
}

LogOptions *
log_spec_options(const LogSpec *spec, const LogConfig *config, GError **error)
{
        g_autoptr(LogOptions) options = log_sink_options(spec->driver);
        g_autoptr(GPtrArray) found = log_spec_settings(spec, options, config);
        const GPtrArray *settings = settings_of(spec, config);
        const LogSetting *before = NULL;
        for (guint i = 0; i < found->len; i++) {
                const LogSetting *s = found->pdata[i];
                if (!apply(options, s, before, settings, config, error)) {
                        (void)fail_at(s->origin, error);
                        return NULL;
                }
                before = s;
        }
        return g_steal_pointer(&options);
}

static bool
has_setting(const LogSpec *spec, const LogSetting *s)
{
        if (spec->from_log_path)
                return s->source == LOG_SOURCE_COMMAND_LINE && s->driver;
        return g_ptr_array_find(spec->request->settings, s, NULL);
}

static void
find_similar(const GPtrArray *specs, const LogSetting *s, unsigned letters, GPtrArray *names)
{
        for (guint i = 0; i < specs->len; i++) {
                const LogSpec *spec = specs->pdata[i];
                g_autoptr(LogOptions) options = log_sink_options(spec->driver);
                if (has_setting(spec, s) && !(spec->driver->flags & LOG_DRIVER_NO_SINK))
                        log_options_find_similar(options, s->key, letters, names);
        }
}

/* Similar options of the drivers in use: "; did you mean A or B?". */
static char *
suggest_options(const GPtrArray *specs, const LogSetting *s)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new();
        for (unsigned letters = 1; letters <= SIMILAR_LETTERS && names->len == 0; letters++)
                find_similar(specs, s, letters, names);
        GString *text = g_string_new(NULL);
        for (guint i = 0; i < names->len; i++)
                g_string_append_printf(text, "%s%s", i ? " or " : "; did you mean ", (char *)names->pdata[i]);
        return g_string_free(names->len ? g_string_append_c(text, '?') : text, FALSE);
}

/* The message for a setting that no sink accepts; `idle` has no options at all, NULL if there is no such
 * driver. */
static gboolean
fail_setting(const GPtrArray *specs, const LogSetting *s, bool any, const LogDriver *idle, GError **error)
{
        g_autofree char *text =
                g_strconcat(s->driver ? s->driver : "", s->driver ? "." : "", s->key, "=", s->value, NULL);
        g_autofree char *what = s->origin ? g_strdup(s->origin) : g_strconcat("--log-opt ", text, NULL);
        if (s->driver && !log_driver_find(s->driver))
                return error_set(error, CONMON_ERROR_USAGE, "%s: no such log driver %s", what, s->driver);
        if (s->driver)
                return error_set(error, CONMON_ERROR_USAGE, "%s: log driver %s is not in use", what,
                                 s->driver);
        if (!any && idle)
                return error_set(error, CONMON_ERROR_USAGE, "%s: log driver %s has no options", what,
                                 idle->name);
        if (!any && !s->origin) {
                const LogSpec *first = specs->len ? g_ptr_array_index(specs, 0) : NULL;
                return error_set(error, CONMON_ERROR_USAGE,
                                 "%s: without --log-driver it must name its driver, as in %s.%s", what,
                                 first ? first->driver->name : "k8s-file", text);
        }
        g_autofree char *similar = suggest_options(specs, s);
        return error_set(error, CONMON_ERROR_USAGE, "%s: no log driver in use has an option %s%s", what,
                         s->key, similar);
}

/* Settings that were overridden are in no list. */
static gboolean
check_setting(const GPtrArray *specs, const LogSetting *s, GError **error)
{
        bool any = false, listed = s->source == LOG_SOURCE_COMMAND_LINE;
        const LogDriver *idle = NULL;
        if (!log_permit_name(s, error))
                return fail_at(s->origin, error);
        for (guint i = 0; i < specs->len; i++) {
                const LogSpec *spec = g_ptr_array_index(specs, i);
                if (!has_setting(spec, s))
                        continue;
                listed = true;
                if (spec->driver->flags & LOG_DRIVER_NO_SINK)
                        idle = spec->driver;
                else
                        any = true;
                g_autoptr(LogOptions) options = log_sink_options(spec->driver);
                if (is_for(spec, options, s))
                        return TRUE;
        }
        return !listed || fail_setting(specs, s, any, idle, error);
}

gboolean
log_specs_check_options(const GPtrArray *specs, const LogConfig *config, GError **error)
{
        for (guint i = 0; config->requests && i < config->requests->settings->len; i++)
                if (!check_setting(specs, config->requests->settings->pdata[i], error))
                        return FALSE;
        return TRUE;
}

/* True if, according to the command line, -l passthrough bypasses the monitor. */
static bool
gives_output_away(const LogSpec *spec, const LogConfig *config)
{
        g_autoptr(LogOptions) options = spec->driver->has_sink ? log_spec_options(spec, config, NULL) : NULL;
        return options && !spec->driver->has_sink(log_options_values(options, LOG_OPTIONS_OF_DRIVER));
}

LogPaths
log_describe_paths(const LogConfig *config)
{
        LogPaths found = {.none = config->paths && *config->paths};
        for (char **path = config->paths; path && *path; path++) {
                g_autoptr(GError) ignored = NULL;
                LogSpec *spec = parse_log_path(*path, &ignored);
                found.any = true;
                found.own_file |= g_str_has_prefix(*path, "k8s-file:");
                found.none &= spec && spec->driver->flags & LOG_DRIVER_NO_SINK;
                found.passthrough |= spec && gives_output_away(spec, config);
                if (spec)
                        spec_free(spec);
        }
        return found;
}
