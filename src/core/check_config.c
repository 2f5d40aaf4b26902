/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/check_config.h"

#include "base/user.h"
#include "config/policy.h"
#include "config/search.h"
#include "core/setup.h"
#include "log/file/log_file.h"
#include "log/plan.h"

#include <stdio.h>
#include <string.h>

/* What is missing now may exist when a container starts: only a warning. */
static void
warn_of_missing(const GPtrArray *plan)
{
        g_autoptr(GPtrArray) missing = log_plan_find_missing(plan);
        for (guint i = 0; i < missing->len; i++)
                g_printerr("conmon: warning: %s\n", (char *)missing->pdata[i]);
}

/* ---- settings ---- */

static char *
find_policy(const Options *o, const char *name)
{
        char *found = NULL;
        for (char **text = o->log_policies; text && *text; text++)
                if (g_str_has_prefix(*text, name) && (*text)[strlen(name)] == '=')
                        found = *text + strlen(name) + 1;
        return g_strdup(found);
}

static char *
find_number(int64_t number)
{
        return number > 0 ? g_strdup_printf("%" G_GINT64_FORMAT, number) : NULL;
}

/* The value of a key on the command line; NULL: there is none. */
static char *
find_given(const Options *o, const ConfigKey *key)
{
        const char *name = key->name;
        if (strcmp(key->section, "policy") == 0)
                return find_policy(o, name);
        if (strcmp(key->section, "attach") == 0)
                return g_strdup(strcmp(name, "queue-max") == 0 ? o->attach_queue_max
                                                               : o->attach_stall_timeout);
        if (strcmp(key->section, "limits") != 0)
                return NULL;
        if (strcmp(name, "size-max") == 0)
                return find_number(o->log_size_max);
        if (strcmp(name, "global-size-max") == 0)
                return find_number(o->log_global_size_max);
        if (!o->log_rotate)
                return NULL;
        return strcmp(name, "rotate") == 0 ? g_strdup("true") : find_number(o->log_max_files);
}

/* The name of that option. */
static char *
name_option(const ConfigKey *key)
{
        if (strcmp(key->section, "policy") == 0)
                return g_strdup("--log-policy");
        const char *prefix = strcmp(key->section, "limits") == 0 ? "log" : key->section;
        return g_strconcat("--", prefix, "-", key->name, NULL);
}

static char *
join_values(const ConfigEntry *entry)
{
        GString *text = g_string_new(NULL);
        for (char **value = entry->values; *value; value++) {
                g_autofree char *quoted = config_quote(*value, entry->key->list);
                g_string_append_printf(text, "%s%s", value == entry->values ? "" : ";", quoted);
        }
        return g_string_free(text, FALSE);
}

static void
print_entry(const ConfigSection *section, const ConfigEntry *entry)
{
        g_autofree char *values = join_values(entry);
        g_autofree char *text = g_strconcat(entry->name, " = ", values, NULL);
        printf("%-50s # %s:%u\n", text, section->file, entry->line);
}

static const char *
find_default(const ConfigKey *key)
{
        Policy policy;
        policy_init(&policy, user_is_ordinary());
        bool differs = strcmp(key->name, "annotations") == 0;
        const char *value = differs ? policy_annotations_name(&policy) : key->fallback;
        policy_done(&policy);
        return value;
}

/* Prints the key from the first of command line, file and default that has it. */
static void
print_key(const Options *o, const ConfigSection *section, const ConfigKey *key)
{
        g_autofree char *given = find_given(o, key), *option = name_option(key);
        const ConfigEntry *entry = config_entry(section, key->name);
        const char *value = given ? given : find_default(key);
        if (!given && entry) {
                print_entry(section, entry);
        } else if (*value) {
                g_autofree char *text = g_strdup_printf("%s = %s", key->name, value);
                printf("%-50s # %s\n", text, given ? option : "default");
        }
}

static void
print_section(const ConfigSection *section)
{
        g_autofree char *title = g_strdup_printf("[%s]", section->title);
        printf("\n%-50s # %s:%u\n", title, section->file, section->line);
        for (guint i = 0; i < section->entries->len; i++)
                print_entry(section, &g_array_index(section->entries, ConfigEntry, i));
}

/* Sections without a name. */
static void
print_settings(const Options *o, const Config *c, const char *kind)
{
        const ConfigSection *section = config_find(c, kind, "");
        g_autofree char *title = g_strdup_printf("[%s]", kind);
        if (section)
                printf("\n%-50s # %s:%u\n", title, section->file, section->line);
        else
                printf("\n%s\n", title);
        for (const ConfigKey *key = config_keys(); *key->name; key++)
                if (strcmp(key->section, kind) == 0)
                        print_key(o, section, key);
}

static void
print_config(const Options *o, const Config *c)
{
        static const char *const settings[] = {"policy", "attach", "limits", "health", NULL};
        printf("# conmon.conf(5) %s", c ? "in effect" : "does not exist; these are the defaults");
        printf(" for %s\n", user_is_ordinary() ? "a user" : "root");
        for (int i = 0; settings[i]; i++)
                print_settings(o, c, settings[i]);
        for (guint i = 0; c && i < c->sections->len; i++) {
                const ConfigSection *section = c->sections->pdata[i];
                if (!g_strv_contains(settings, section->kind))
                        print_section(section);
        }
}

/* Sections that are not referenced are checked as well; what they are missing is reported only here. */
static void
warn_of_sections(const Config *c)
{
        for (guint i = 0; c && i < c->sections->len; i++) {
                const ConfigSection *section = c->sections->pdata[i];
                g_autoptr(Selection) s = NULL;
                if (config_entry(section, "profile") || !selection_of_section(c, section, &s, NULL))
                        continue;
                g_autoptr(GPtrArray) plan = log_plan(&(LogConfig){.requests = s->requests, .cid = ""}, NULL);
                if (plan)
                        warn_of_missing(plan);
        }
}

/* ---- one container ---- */

typedef struct {
        const char *cid;  /* "": not known */
        LogConfig config; /* only numbers are valid: the rest was borrowed */
        GPtrArray *plan;
} Outcome;

static gboolean
make_plan(const LogConfig *config, void *data, GError **error)
{
        Outcome *outcome = data;
        outcome->config = *config;
        outcome->config.cid = outcome->cid;
        outcome->plan = log_plan(&outcome->config, error);
        return outcome->plan != NULL;
}

/* A limit of the file of -l, from the command line or the section [limits]. */
static void
print_limit(const Options *o, const Config *c, const char *name)
{
        const ConfigKey *key = config_key_find("limits", name);
        const ConfigSection *section = config_find(c, "limits", "");
        const ConfigEntry *entry = config_entry(section, name);
        g_autofree char *given = find_given(o, key), *option = name_option(key);
        g_autofree char *configured = entry ? join_values(entry) : g_strdup(key->fallback);
        g_autofree char *origin = entry ? config_origin(section, entry) : g_strdup("default");
        g_autofree char *text = g_strdup_printf("%s = %s", name, given ? given : configured);
        printf("#     %-44s # %s\n", text, given ? option : origin);
}

static bool
has_setting(const LogPlanned *p, const char *key)
{
        for (guint i = 0; i < p->settings->len; i++)
                if (strcmp(((const LogSetting *)p->settings->pdata[i])->key, key) == 0)
                        return true;
        return false;
}

static void
print_limits(const Options *o, const Config *c, const LogPlanned *p, const LogConfig *config)
{
        if (!p->from_log_path || p->driver->transport != &log_file_transport)
                return;
        if (config->size_max > 0 && !has_setting(p, "max-size"))
                print_limit(o, c, "size-max");
        if (config->rotate && !has_setting(p, "max-file"))
                print_limit(o, c, "max-files");
        if (config->global_max > 0)
                print_limit(o, c, "global-size-max");
}

static void
print_planned(const LogPlanned *p)
{
        g_autofree char *text = g_strconcat(p->driver->name, p->arg ? ":" : "", p->arg ? p->arg : "", NULL);
        const char *option = p->from_log_path ? "--log-path" : "--log-driver";
        printf("#   %-46s # %s\n", text, p->origin ? p->origin : option);
        for (guint i = 0; i < p->settings->len; i++) {
                const LogSetting *s = p->settings->pdata[i];
                g_autofree char *setting = g_strconcat(s->driver ? s->driver : "", s->driver ? "." : "",
                                                       s->key, " = ", s->value, NULL);
                printf("#     %-44s # %s\n", setting, s->origin ? s->origin : "--log-opt");
        }
}

/* As comments, so that the output is still a valid configuration. A log of -l that is only assumed is not
 * shown. */
static void
print_outcome(const Options *o, const Config *c, const Outcome *outcome, bool assumed)
{
        const GPtrArray *plan = outcome->plan;
        guint n = plan->len - (assumed ? 1 : 0);
        printf("\n# The container %s gets %s%s%s\n", o->name, n > 0 ? "these drivers" : "nothing",
               assumed ? " in addition to the log of -l" : "", n > 0 ? ":" : "");
        for (guint i = plan->len - n; i < plan->len; i++) {
                print_planned(plan->pdata[i]);
                print_limits(o, c, plan->pdata[i], &outcome->config);
        }
}

/* `who` starts anyway; NULL: nothing does. */
static int
fail(const char *who, const GError *error)
{
        (void)fflush(stdout);
        g_printerr("conmon: %s", error->message);
        if (who)
                g_printerr("; %s starts without what the configuration adds", who);
        g_printerr("\n");
        return 1;
}

/* Assumes what is usual for what the command line lacks: a log in the bundle, which the engine reads. */
static Options
assume(const Options *o, char **paths, char *dir)
{
        Options all = *o;
        all.log_paths = o->log_paths ? o->log_paths : paths;
        all.cid = o->cid ? o->cid : (char *)SELECTION_ANY_ID;
        all.name = o->name ? o->name : (char *)SELECTION_ANY_NAME;
        all.bundle = o->bundle || o->exec ? o->bundle : dir;
        return all;
}

/* What a container with this command line and environment would get. Returns the exit status. */
static int
check_container(const Options *given, const Config *c)
{
        char *paths[] = {(char *)"k8s-file:{BUNDLE}/ctr.log", NULL};
        g_autofree char *dir = g_get_current_dir();
        Options o = assume(given, paths, dir);
        g_autoptr(ConfigJson) json = o.bundle ? config_json_new(o.bundle) : NULL;
        SelectionConfig asked = setup_describe_choice(&o, json);
        g_autoptr(Selection) s = NULL;
        g_autoptr(GError) refused = NULL, error = NULL;
        Outcome outcome = {.cid = given->cid ? given->cid : ""};
        if (!setup_choose_log(&o, &asked, make_plan, &outcome, &s, &refused, &error))
                return fail(NULL, error);
        g_autoptr(GPtrArray) plan = outcome.plan;
        const char *who = refused ? setup_starts_anyway(&o, s->warn) : NULL;
        if (refused && !who)
                return fail(NULL, refused);
        print_outcome(&o, c, &outcome, !given->log_paths);
        warn_of_missing(plan);
        return refused ? fail(who, refused) : 0;
}

static bool
asks_for_container(const Options *o)
{
        return o->name || o->cid || o->bundle || o->log_profile || o->log_requests || o->log_paths || o->exec;
}

/* Checks the values of --log-policy. */
static gboolean
check_policies(const Options *o, GError **error)
{
        Policy policy;
        gboolean valid = TRUE;
        policy_init(&policy, user_is_ordinary());
        for (char **text = o->log_policies; text && *text && valid; text++)
                valid = policy_set(&policy, *text, error);
        policy_done(&policy);
        return valid;
}

int
check_config_run(const Options *o)
{
        g_autoptr(Config) c = NULL;
        g_autoptr(GError) error = NULL;
        int status = 0;
        gboolean valid = check_policies(o, &error) &&
                         config_read_all(o->files, user_is_ordinary(), &c, &error) &&
                         setup_check_sections(c, &error);
        if (valid)
                print_config(o, c);
        if (asks_for_container(o))
                status = check_container(o, c);
        else if (valid)
                warn_of_sections(c);
        if (!valid && status == 0)
                status = fail(NULL, error);
        return fflush(stdout) == 0 && !ferror(stdout) ? status : 1;
}
