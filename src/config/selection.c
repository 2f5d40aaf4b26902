/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/selection.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/user.h"
#include "config/annotations.h"
#include "config/policy.h"
#include "config/search.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
        const SelectionConfig *asked;
        const char *profile;  /* of the environment; NULL: none */
        const Config *config; /* NULL: there is no file */
        Policy policy;
        Annotations *annotations; /* NULL: there are none, or they are ignored */
        Selection *result;
} Builder;

static Selection *
selection_empty(void)
{
        Selection *s = g_new(Selection, 1);
        *s = (Selection){
                .requests = log_requests_new(),
                .attach_queue_max = -1,
                .attach_stall_usec = -1,
                .size_max = -1,
                .global_size_max = -1,
                .max_files = -1,
        };
        return s;
}

void
selection_free(Selection *s)
{
        if (!s)
                return;
        log_requests_free(s->requests);
        g_strfreev(s->sockets);
        config_free(s->config);
        g_free(s);
}

/* Adds a setting to one request; NULL: to all existing ones. */
static void
add_setting(Selection *s, LogRequest *request, const char *key, const char *value, LogSource source,
            const char *origin)
{
        LogSetting *setting = log_requests_add_setting(s->requests, key, value, source, origin);
        for (guint i = 0; i < s->requests->list->len; i++)
                if (!request || request == s->requests->list->pdata[i])
                        log_request_set(s->requests->list->pdata[i], setting);
}

/* ---- drivers and their options ---- */

static char *
list_profiles(const Config *c)
{
        GString *names = g_string_new(NULL);
        for (guint i = 0; c && i < c->sections->len; i++) {
                const ConfigSection *s = c->sections->pdata[i];
                if (strcmp(s->kind, "profile") == 0)
                        g_string_append_printf(names, "%s%s", names->len ? ", " : "; there are: ", s->name);
        }
        return g_string_free(names, FALSE);
}

/* The value of a field in a path; NULL if there is no such field. */
static const char *
find_field(const SelectionConfig *asked, const char *field, size_t *ret_len)
{
        static const char *const names[] = {"{{.ID}}", "{{.FullID}}", "{{.Name}}"};
        const char *const values[] = {asked->cid, asked->cid, asked->name ? asked->name : asked->cid};
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                if (!g_str_has_prefix(field, names[i]))
                        continue;
                *ret_len = strlen(names[i]);
                return values[i];
        }
        return NULL;
}

/* A name without a wildcard. */
static bool
is_for_one(const ConfigSection *section)
{
        return strcmp(section->kind, "match") == 0 && !strpbrk(section->name, "*?[");
}

/* The path of a driver from a file may have fields of Docker's templates, so that each container has its
 * own. */
static LogRequest *
add_driver(Builder *b, const ConfigSection *section, const char *driver, const char *origin, GError **error)
{
        g_autoptr(GString) text = g_string_new(NULL);
        bool shared = !strstr(driver, "{{") && !is_for_one(section);
        size_t len;
        for (const char *open; (open = strstr(driver, "{{")); driver = open + len) {
                const char *value = find_field(b->asked, open, &len);
                if (!value) {
                        error_set(error, CONMON_ERROR_USAGE,
                                  "%s: in a path, known are {{.ID}}, {{.FullID}} and {{.Name}}", origin);
                        return NULL;
                }
                if (strchr(value, '/') || *value == '.') {
                        error_set(error, CONMON_ERROR_USAGE, "%s: %s can't be part of a path", origin, value);
                        return NULL;
                }
                g_string_append_len(text, driver, open - driver);
                g_string_append_printf(text, "%.*s", g_str_has_prefix(open, "{{.ID}}") ? 12 : INT_MAX, value);
        }
        g_string_append(text, driver);
        LogRequest *request = log_requests_add(b->result->requests, text->str, LOG_SOURCE_FILE, origin);
        request->shared = shared;
        return request;
}

static gboolean
add_drivers(Builder *b, const ConfigSection *section, GError **error)
{
        const ConfigEntry *entry = config_entry(section, "driver");
        g_autofree char *origin = entry ? config_origin(section, entry) : NULL;
        for (char **value = entry ? entry->values : NULL; value && *value; value++)
                if (!add_driver(b, section, *value, origin, error))
                        return FALSE;
        return TRUE;
}

static bool
is_option(const ConfigEntry *entry)
{
        return g_str_has_prefix(entry->name, CONFIG_OPTION_PREFIX);
}

/* The settings of [sink NAME] are for its one request; they take precedence over those of the sections that
 * list it. */
static gboolean
add_sink(Builder *b, const char *name, const char *origin, GError **error)
{
        const ConfigSection *section = config_find(b->config, "sink", name);
        const ConfigEntry *driver = config_entry(section, "driver");
        if (!driver)
                return error_set(error, CONMON_ERROR_USAGE, "%s: no configuration file has a [sink %s]",
                                 origin, name);
        g_autofree char *where = config_origin(section, driver);
        LogRequest *request = add_driver(b, section, *driver->values, where, error);
        if (request)
                request->sink = g_strdup(name);
        return request != NULL;
}

static gboolean
add_sinks(Builder *b, const ConfigSection *section, GError **error)
{
        const ConfigEntry *entry = config_entry(section, "sinks");
        g_autofree char *origin = entry ? config_origin(section, entry) : NULL;
        for (char **value = entry ? entry->values : NULL; value && *value; value++)
                if (!add_sink(b, *value, origin, error))
                        return FALSE;
        return TRUE;
}

/* The options of a section; `request` as for add_setting. */
static void
add_options(Builder *b, const ConfigSection *section, LogRequest *request)
{
        for (guint i = 0; section && i < section->entries->len; i++) {
                const ConfigEntry *entry = &g_array_index(section->entries, ConfigEntry, i);
                g_autofree char *origin = config_origin(section, entry);
                for (char **value = entry->values; is_option(entry) && *value; value++)
                        add_setting(b->result, request, entry->name + strlen(CONFIG_OPTION_PREFIX), *value,
                                    LOG_SOURCE_FILE, origin);
        }
}

/* The options of each sink's own section, after those that it shares with others. */
static void
add_sink_options(Builder *b)
{
        LogRequests *r = b->result->requests;
        for (guint i = 0; i < r->list->len; i++) {
                LogRequest *request = r->list->pdata[i];
                if (request->sink)
                        add_options(b, config_find(b->config, "sink", request->sink), request);
        }
}

static gboolean use_profile(Builder *b, const char *name, const char *origin, GError **error);

/* The options of a profile come before those that the section has itself. */
static gboolean
use_section(Builder *b, const ConfigSection *section, GError **error)
{
        const ConfigEntry *profile = config_entry(section, "profile");
        g_autofree char *origin = profile ? config_origin(section, profile) : NULL;
        if (profile && !use_profile(b, *profile->values, origin, error))
                return FALSE;
        if (!add_drivers(b, section, error) || !add_sinks(b, section, error))
                return FALSE;
        add_options(b, section, NULL);
        return TRUE;
}

gboolean
selection_of_section(const Config *config, const ConfigSection *section, Selection **ret_selection,
                     GError **error)
{
        SelectionConfig asked = {.cid = SELECTION_ANY_ID, .name = SELECTION_ANY_NAME};
        Builder b = {.asked = &asked, .config = config, .result = selection_empty()};
        bool is_sink = strcmp(section->kind, "sink") == 0;
        g_autofree char *origin = config_origin(section, NULL);
        if (is_sink ? add_sink(&b, section->name, origin, error) : use_section(&b, section, error)) {
                add_sink_options(&b);
                *ret_selection = b.result;
                return TRUE;
        }
        selection_free(b.result);
        return FALSE;
}

static gboolean
use_profile(Builder *b, const char *name, const char *origin, GError **error)
{
        const ConfigSection *section = config_find(b->config, "profile", name);
        if (section)
                return use_section(b, section, error);
        g_autofree char *names = list_profiles(b->config);
        return error_set(error, CONMON_ERROR_USAGE, "%s: no configuration file has a profile %s%s", origin,
                         name, names);
}

static gboolean
use_annotations(Builder *b, GError **error)
{
        const Annotations *a = b->annotations;
        if (a->profile) {
                const char *origin = "Annotation " ANNOTATION_PREFIX "profile";
                if (policy_allow_profile(&b->policy, a->profile, error))
                        return use_profile(b, a->profile, origin, error);
                g_prefix_error(error, "%s: ", origin);
                return FALSE;
        }
        const char *origin = "Annotation " ANNOTATION_PREFIX "driver";
        if (policy_allow_choice(&b->policy, error)) {
                (void)log_requests_add(b->result->requests, a->driver, LOG_SOURCE_ANNOTATION, origin);
                return TRUE;
        }
        g_prefix_error(error, "%s: ", origin);
        return FALSE;
}

static gboolean
use_annotated_option(Builder *b, const AnnotationOption *option, GError **error)
{
        g_autofree char *origin = g_strconcat("Annotation " ANNOTATION_PREFIX "opt.", option->key, NULL);
        if (!policy_allow_choice(&b->policy, error)) {
                g_prefix_error(error, "%s: ", origin);
                return FALSE;
        }
        if (b->result->requests->list->len == 0)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "%s: no log driver is chosen that it could be for", origin);
        add_setting(b->result, NULL, option->key, option->value, LOG_SOURCE_ANNOTATION, origin);
        return TRUE;
}

static gboolean
use_annotated_options(Builder *b, GError **error)
{
        if (!b->annotations)
                return TRUE;
        for (guint i = 0; i < b->annotations->options->len; i++)
                if (!use_annotated_option(b, &g_array_index(b->annotations->options, AnnotationOption, i),
                                          error))
                        return FALSE;
        return TRUE;
}

/* The first source that names a driver or a profile. */
static gboolean
choose(Builder *b, GError **error)
{
        const SelectionConfig *asked = b->asked;
        const char *container = asked->name ? asked->name : "";
        if (asked->profile)
                return use_profile(b, asked->profile, "--log-profile", error);
        if (b->annotations && (b->annotations->profile || b->annotations->driver))
                return use_annotations(b, error);
        if (b->profile)
                return use_profile(b, b->profile, "Environment variable " SELECTION_PROFILE_VARIABLE, error);
        const ConfigSection *section = config_match(b->config, container);
        return use_section(b, section ? section : config_find(b->config, "defaults", ""), error);
}

/* ---- the sources ---- */

/* Why no driver may be added to those of -l; NULL: drivers may be added. A container without a log keeps
 * none, unless the policy says otherwise. */
static const char *
find_obstacle(const Builder *b)
{
        if (b->asked->exec)
                return b->policy.add_to_exec ? NULL : "it is an exec run";
        if (!b->asked->has_path)
                return "there is no -l";
        if (b->asked->passthrough)
                return "with -l passthrough the output does not come to the monitor";
        return b->asked->no_log && !b->policy.add_to_none
                       ? "with -l none, only add-to-none = true in the policy adds a log"
                       : NULL;
}

/* Annotations that can't apply are only read in order to warn about them. */
static gboolean
read_annotations(Builder *b, const char *obstacle, GError **error)
{
        g_autoptr(GError) unread = NULL;
        if (b->asked->exec || !b->asked->config_json)
                return TRUE;
        if (b->policy.annotations == POLICY_ANNOTATIONS_NONE)
                obstacle = "the policy is annotations = none";
        if (!obstacle)
                return annotations_read(b->asked->config_json, &b->annotations, error);
        if (!annotations_read(b->asked->config_json, &b->annotations, &unread) || b->annotations)
                diag_warn("The annotations " ANNOTATION_PREFIX "… are not followed: %s", obstacle);
        g_clear_pointer(&b->annotations, annotations_free);
        return TRUE;
}

static gboolean
read_policies(Builder *b, GError **error)
{
        gboolean done = TRUE;
        policy_read(&b->policy, config_find(b->config, "policy", ""));
        for (char **text = b->asked->policies; text && *text && done; text++)
                done = policy_set(&b->policy, *text, error);
        return done;
}

/* The policy is known, as far as possible, also after an error. */
static gboolean
read_files(Builder *b, Config **ret_config, GError **error)
{
        bool user = user_is_ordinary();
        policy_init(&b->policy, user);
        gboolean done = config_read_all(b->asked->files, user, ret_config, error);
        b->config = *ret_config;
        return read_policies(b, done ? error : NULL) && done;
}

static int64_t
read_number(const Builder *b, const char *kind, const char *name, int64_t otherwise)
{
        const ConfigEntry *entry = config_entry(config_find(b->config, kind, ""), name);
        return entry ? config_key_number(entry->key, *entry->values) : otherwise;
}

static void
read_settings(Builder *b)
{
        Selection *s = b->result;
        s->attach_queue_max = read_number(b, "attach", "queue-max", -1);
        s->attach_stall_usec = read_number(b, "attach", "stall-timeout", -1);
        s->health_checks = (HealthChecks)read_number(b, "health", "checks", HEALTH_CHECKS_AUTO);
        if (b->asked->exec || !b->asked->own_file)
                return;
        s->size_max = read_number(b, "limits", "size-max", -1);
        s->global_size_max = read_number(b, "limits", "global-size-max", -1);
        if (read_number(b, "limits", "rotate", 0))
                s->max_files = (int)read_number(b, "limits", "max-files", 1);
}

static gboolean
build(Builder *b, Config **ret_config, GError **error)
{
        const SelectionConfig *asked = b->asked;
        const char *variable = getenv(SELECTION_PROFILE_VARIABLE);
        if (!read_files(b, ret_config, error))
                return FALSE;
        const char *obstacle = find_obstacle(b);
        bool decided = asked->profile || (asked->requests && asked->requests->list->len > 0);
        bool open = !decided && !obstacle;
        if (!decided && !read_annotations(b, obstacle, error))
                return FALSE;
        if (open && variable && *variable)
                b->profile = variable;
        if (!asked->profile && !b->config && !b->annotations && !b->profile)
                return TRUE;
        b->result = selection_empty();
        read_settings(b);
        if (!open && !asked->profile)
                return TRUE;
        if (!choose(b, error))
                return FALSE;
        add_sink_options(b);
        return use_annotated_options(b, error);
}

gboolean
selection_new(const SelectionConfig *config, Selection **ret_selection, GError **error)
{
        Builder b = {.asked = config};
        Config *files = NULL;
        gboolean built = build(&b, &files, error);
        if (!built) {
                selection_free(b.result);
                b.result = selection_empty();
        }
        if (b.result) {
                b.result->warn = b.policy.warn;
                b.result->config = files;
                b.result->sockets = g_strdupv(b.policy.sockets);
                if (config->requests)
                        log_requests_add_command_line(b.result->requests, config->requests);
        }
        policy_done(&b.policy);
        annotations_free(b.annotations);
        *ret_selection = b.result;
        return built;
}
