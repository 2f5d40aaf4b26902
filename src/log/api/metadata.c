/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/metadata.h"

#include "base/error.h"
#include "base/json.h"
#include "log/api/template.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHORT_ID_LEN 12

/* ---- the tag ---- */

/* The sources of template fields. */
typedef struct {
        const LogConfig *log;
        const char *short_id;
        const char *host;
        const LogBundle *bundle;
} Fields;

static char *
id_field(const Fields *f)
{
        return g_strdup(f->short_id);
}

static char *
full_id_field(const Fields *f)
{
        return g_strdup(f->log->cid);
}

static char *
name_field(const Fields *f)
{
        return g_strdup(f->log->name ? f->log->name : f->short_id);
}

static char *
hostname_field(const Fields *f)
{
        return g_strdup(f->host);
}

static char *
daemon_field(const Fields *f)
{
        return g_strdup(log_bundle_engine(f->bundle));
}

static char *
command_field(const Fields *f)
{
        return log_bundle_command(f->bundle);
}

static char *
image_name_field(const Fields *f)
{
        return g_strdup(log_bundle_image_name(f->bundle));
}

static char *
image_id_field(const Fields *f)
{
        return g_strndup(log_bundle_image_id(f->bundle), SHORT_ID_LEN);
}

static char *
image_full_id_field(const Fields *f)
{
        return g_strdup(log_bundle_image_id(f->bundle));
}

static const struct {
        const char *name;
        char *(*get)(const Fields *f); /* NULL if unknown */
        bool from_bundle;
} fields[] = {
        {".ID", id_field},
        {".FullID", full_id_field},
        {".Name", name_field},
        {".Hostname", hostname_field},
        {".DaemonName", daemon_field, true},
        {".Command", command_field, true},
        {".ImageName", image_name_field, true},
        {".ImageID", image_id_field, true},
        {".ImageFullID", image_full_id_field, true},
};

static char *
get_field(const char *name, const void *data)
{
        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
                if (strcmp(fields[i].name, name) != 0)
                        continue;
                char *value = fields[i].get(data);
                return value ? value : g_strdup("");
        }
        return NULL;
}

static LogTemplateFields
template_fields(const Fields *f)
{
        return (LogTemplateFields){
                .get = get_field,
                .data = f,
                .names = ".ID, .FullID, .Name, .Hostname, .DaemonName, .Command, .ImageName, .ImageID and "
                         ".ImageFullID",
        };
}

static gboolean
fail_template(const char *template, GError **error)
{
        g_prefix_error(error, "Log option tag=%s: ", template);
        return FALSE;
}

gboolean
log_metadata_check_template(const char *driver, const char *template, GError **error)
{
        const LogConfig log = {.cid = ""};
        g_autoptr(LogBundle) nothing = log_bundle_read(&log, false, NULL);
        const Fields any = {.log = &log, .short_id = "", .host = "", .bundle = nothing};
        const LogTemplateFields f = template_fields(&any);
        return log_template_check(template, &f, error) || fail_template(template, error);
}

/* True if the template may have a field that the bundle knows. */
static bool
needs_bundle(const char *template)
{
        for (size_t i = 0; template && i < G_N_ELEMENTS(fields); i++)
                if (fields[i].from_bundle && strstr(template, fields[i].name))
                        return true;
        return false;
}

static gboolean
make_tag(LogMetadata *m, const LogConfig *log, const char *template, const char *default_tag,
         const LogBundle *bundle, GError **error)
{
        const Fields values = {.log = log, .short_id = m->short_id, .host = m->host, .bundle = bundle};
        const LogTemplateFields f = template_fields(&values);
        if (!template && log->tag)
                m->tag = g_strdup(log->tag);
        if (m->tag || (!template && !default_tag))
                return TRUE;
        m->tag = log_template_expand(template ? template : default_tag, &f, error);
        return m->tag || fail_template(template ? template : default_tag, error);
}

/* ---- attributes ---- */

gboolean
log_metadata_check_regex(const char *driver, const char *pattern, GError **error)
{
        g_autoptr(GError) why = NULL;
        g_autoptr(GRegex) regex = g_regex_new(pattern, G_REGEX_RAW, 0, &why);
        if (regex)
                return TRUE;
        /* The part before the last colon repeats the pattern. */
        const char *detail = g_strrstr(why->message, ": ");
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log driver %s: option labels-regex or env-regex can't be '%s', which is no regular "
                         "expression%s",
                         driver, pattern, detail ? detail : "");
}

/* Replaces the value of an existing key. */
static void
add_attribute(GPtrArray *list, const char *key, const char *value)
{
        LogAttribute *a = NULL;
        for (guint i = 0; i < list->len && !a; i++)
                if (strcmp(((LogAttribute *)list->pdata[i])->key, key) == 0)
                        a = list->pdata[i];
        if (!a) {
                a = g_new0(LogAttribute, 1);
                a->key = g_strdup(key);
                g_ptr_array_add(list, a);
        }
        g_free(a->value);
        a->value = g_strdup(value);
}

gboolean
log_metadata_check_labels(char **labels, GError **error)
{
        for (char **label = labels; label && *label; label++)
                if (strcspn(*label, "=") == 0 || !strchr(*label, '='))
                        return error_set(error, CONMON_ERROR_USAGE,
                                         "Container labels must be in format LABEL=VALUE (it is '%s')",
                                         *label);
        return TRUE;
}

/* --log-label, for all drivers that support it. */
static void
add_labels(GPtrArray *list, const LogConfig *log)
{
        for (char **label = log->labels; label && *label; label++) {
                const char *equal = strchr(*label, '=');
                g_autofree char *key = g_strndup(*label, (size_t)(equal - *label));
                add_attribute(list, key, equal + 1);
        }
}

/* Adds those that are listed or match the pattern, which may be NULL. It is an error if matching a name
 * exceeds PCRE's limits. */
static gboolean
add_chosen(GPtrArray *list, const GPtrArray *from, const char *const *names, const char *pattern,
           GError **error)
{
        g_autoptr(GRegex) regex = pattern ? g_regex_new(pattern, G_REGEX_RAW, 0, NULL) : NULL;
        for (guint i = 0; i < from->len; i++) {
                const LogAttribute *a = from->pdata[i];
                g_autoptr(GError) failure = NULL;
                bool chosen = names && g_strv_contains(names, a->key);
                if (chosen || (regex && g_regex_match_full(regex, a->key, -1, 0, 0, NULL, &failure)))
                        add_attribute(list, a->key, a->value);
                if (failure)
                        return error_set(error, CONMON_ERROR_USAGE,
                                         "Log option for names that fit %s: can't tell about %s: %s", pattern,
                                         a->key, failure->message);
        }
        return TRUE;
}

/* Of one key the last value is used: that of a variable, else of an annotation, else of the command line. */
static gboolean
find_attributes(GPtrArray *list, const LogConfig *log, const LogMetadataOptions *o, const LogBundle *bundle,
                GError **error)
{
        add_labels(list, log);
        return add_chosen(list, bundle->annotations, o->labels, o->labels_regex, error) &&
               add_chosen(list, bundle->env, o->env, o->env_regex, error);
}

static int
compare_keys(const void *a, const void *b)
{
        return strcmp(((const LogAttribute *)a)->key, ((const LogAttribute *)b)->key);
}

static void
sort_attributes(LogMetadata *m)
{
        if (m->n_attributes > 0)
                qsort(m->attributes, m->n_attributes, sizeof *m->attributes, compare_keys);
}

/* Moves the attributes from the list into the sorted array. */
static void
take_attributes(LogMetadata *m, GPtrArray *found)
{
        m->n_attributes = found->len;
        m->attributes = g_new0(LogAttribute, found->len);
        for (guint i = 0; i < found->len; i++) {
                LogAttribute *a = found->pdata[i];
                m->attributes[i] = *a;
                *a = (LogAttribute){0};
        }
        sort_attributes(m);
}

/* The name, truncated so that it and the suffix are not too long. */
static char *
join_name(const char *name, const char *suffix, size_t max_len)
{
        size_t keep = MIN(strlen(name), max_len - strlen(suffix));
        return g_strdup_printf("%.*s%s", (int)keep, name, suffix);
}

/* Takes ownership of `name`. Returns a unique name, which is added to those in use, and owned by them. */
static const char *
make_unique(GHashTable *in_use, char *name, size_t max_len)
{
        char *unique = join_name(name, "", max_len);
        for (unsigned n = 1; g_hash_table_contains(in_use, unique); n++) {
                char suffix[24] = "_";
                if (n > 1)
                        (void)snprintf(suffix, sizeof suffix, "_%u", n);
                g_free(unique);
                unique = join_name(name, suffix, max_len);
        }
        g_hash_table_add(in_use, unique);
        g_free(name);
        return unique;
}

char *
log_metadata_clean_text(const char *key)
{
        return g_utf8_make_valid(key, -1);
}

void
log_metadata_name_attributes(LogMetadata *m, const LogNameRule *rule)
{
        if (m->n_attributes == 0)
                return;
        g_autoptr(GHashTable) in_use = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (const char *const *own = rule->own; *own; own++)
                g_hash_table_add(in_use, g_strdup(*own));
        for (size_t i = 0; i < m->n_attributes; i++) {
                LogAttribute *a = &m->attributes[i];
                const char *name = make_unique(in_use, rule->clean(a->key), rule->max_len);
                g_free(a->key);
                a->key = g_strdup(name);
        }
        sort_attributes(m);
}

void
log_metadata_append_attrs(LogMetadata *m, char *(*clean)(const char *key), GString *json)
{
        static const char *const own[] = {NULL};
        if (m->n_attributes == 0)
                return;
        log_metadata_name_attributes(m, &(LogNameRule){.own = own, .max_len = INT_MAX, .clean = clean});
        g_string_append(json, ",\"attrs\":{");
        for (size_t i = 0; i < m->n_attributes; i++)
                json_append_member(json, m->attributes[i].key, m->attributes[i].value);
        g_string_append_c(json, '}');
}

LogMetadata *
log_metadata_new(const LogDriverConfig *config, const LogMetadataOptions *o, const char *default_tag,
                 GError **error)
{
        g_autoptr(LogMetadata) m = g_new0(LogMetadata, 1);
        g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(log_attribute_free);
        const LogConfig *log = config->log, nothing = {0};
        bool chooses = o->labels || o->labels_regex || o->env || o->env_regex;
        bool reads = chooses || needs_bundle(o->tag);
        g_autoptr(LogBundle) bundle = log_bundle_read(reads ? log : &nothing, reads, error);
        m->short_id = g_strndup(log->cid, SHORT_ID_LEN);
        (void)gethostname(m->host, sizeof m->host - 1);
        if (!bundle || !find_attributes(found, log, o, bundle, error) ||
            !make_tag(m, log, o->tag, default_tag, bundle, error))
                return NULL;
        take_attributes(m, found);
        return g_steal_pointer(&m);
}

void
log_metadata_free(LogMetadata *m)
{
        if (!m)
                return;
        for (size_t i = 0; i < m->n_attributes; i++) {
                g_free(m->attributes[i].key);
                g_free(m->attributes[i].value);
        }
        g_free(m->attributes);
        g_free(m->short_id);
        g_free(m->tag);
        g_free(m);
}

void
log_metadata_find_annotations(const LogDriverConfig *config, const char *const *names, char **found, size_t n)
{
        g_autoptr(LogBundle) bundle = log_bundle_read(config->log, false, NULL);
        for (guint i = 0; bundle && i < bundle->annotations->len; i++) {
                const LogAttribute *a = bundle->annotations->pdata[i];
                for (size_t k = 0; k < n; k++) {
                        if (strcmp(names[k], a->key) != 0)
                                continue;
                        g_free(found[k]);
                        found[k] = g_strdup(a->value);
                }
        }
}
