#include "log/metadata.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHORT_ID_LEN 12

/* No config.json is longer, annotations of a mebibyte included. */
#define CONFIG_MAX ((size_t)16 * 1024 * 1024)

static const char *const fields[] = {
        ".ID", ".FullID", ".Name", ".Hostname", ".ImageName", ".ImageID", ".ImageFullID", NULL,
};

/* The first {{field}} without the braces and the blanks in them; NULL: there is none, or no end of it. Its
 * place is from *ret_open to before *ret_end. */
static char *
next_field(const char *template, const char **ret_open, const char **ret_end)
{
        const char *close = NULL;
        *ret_open = strstr(template, "{{");
        if (*ret_open)
                close = strstr(*ret_open, "}}");
        if (!close)
                return NULL;
        *ret_end = close + 2;
        return g_strstrip(g_strndup(*ret_open + 2, (size_t)(close - *ret_open) - 2));
}

static gboolean
check_template(const char *driver, const char *template, GError **error)
{
        const char *open, *at = template;
        for (;;) {
                g_autofree char *field = next_field(at, &open, &at);
                if (!open)
                        return TRUE;
                if (!field || !g_strv_contains(fields, field))
                        break;
        }
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log option tag=%s: known are {{.ID}}, {{.FullID}}, {{.Name}}, {{.Hostname}}, "
                         "{{.ImageName}}, {{.ImageID}} and {{.ImageFullID}}",
                         template);
}

const LogOption *
log_metadata_options(void)
{
        static const LogOption options[] = {
                {"tag", LOG_OPTION_STRING, NULL,
                 "template of the tag: {{.ID}} {{.FullID}} {{.Name}} {{.Hostname}} {{.ImageName}} "
                 "{{.ImageID}} {{.ImageFullID}}",
                 .check = check_template},
                {"labels", LOG_OPTION_LIST, NULL, "names of annotations to add to each record"},
                {"env", LOG_OPTION_LIST, NULL,
                 "names of the container's environment variables to add to each record"},
                {NULL},
        };
        return options;
}

/* The value of the best annotation that was found. */
typedef struct {
        char *text;
        int rank; /* its number in the list, from 1 */
} Best;

/* What is wanted of config.json, and what was found. */
typedef struct {
        char **labels;
        char **env;
        GPtrArray *found; /* of LogAttribute */
        Best image_name;
        Best image_id;
} Search;

static void
attribute_free(void *data)
{
        LogAttribute *a = data;
        g_free(a->key);
        g_free(a->value);
        g_free(a);
}

/* A key that is there already gets the new value. */
static void
add_attribute(GPtrArray *attributes, const char *key, size_t key_len, const char *value, size_t value_len)
{
        LogAttribute *a = g_new0(LogAttribute, 1);
        a->key = g_strndup(key, key_len);
        a->value = g_strndup(value, value_len);
        for (guint i = 0; i < attributes->len; i++) {
                if (strcmp(((LogAttribute *)g_ptr_array_index(attributes, i))->key, a->key) == 0) {
                        g_ptr_array_remove_index(attributes, i);
                        break;
                }
        }
        g_ptr_array_add(attributes, a);
}

/* Annotations that tell the image's name and id, the better ones last. */
static const char *const image_names[] = {"org.opencontainers.image.ref.name",
                                          "io.kubernetes.cri-o.ImageName", NULL};
static const char *const image_ids[] = {"io.kubernetes.cri-o.Image", "io.kubernetes.cri-o.ImageRef", NULL};

static void
take_better(Best *best, const char *const *names, const char *key, const JsonValue *value)
{
        for (int i = 0; names[i]; i++) {
                if (strcmp(names[i], key) != 0 || i + 1 < best->rank)
                        continue;
                g_free(best->text);
                *best = (Best){.text = g_strndup(value->text, value->len), .rank = i + 1};
        }
}

static void
take_annotation(Search *search, const char *key, const JsonValue *value)
{
        take_better(&search->image_name, image_names, key, value);
        take_better(&search->image_id, image_ids, key, value);
        if (search->labels && g_strv_contains((const char *const *)search->labels, key))
                add_attribute(search->found, key, strlen(key), value->text, value->len);
}

static void
take_variable(Search *search, const JsonValue *value)
{
        const char *equal = memchr(value->text, '=', value->len);
        if (!equal || !search->env)
                return;
        size_t key_len = (size_t)(equal - value->text);
        g_autofree char *key = g_strndup(value->text, key_len);
        if (g_strv_contains((const char *const *)search->env, key))
                add_attribute(search->found, key, key_len, equal + 1, value->len - key_len - 1);
}

/* True if the value is a string in the object or array that the names lead to. */
static bool
is_string_in(const JsonValue *value, const char *const *names)
{
        size_t i = 0;
        for (; names[i]; i++)
                if (i >= value->depth || strcmp(value->path[i], names[i]) != 0)
                        return false;
        return value->depth == i + 1 && value->text;
}

static void
on_value(const JsonValue *value, void *data)
{
        static const char *const annotations[] = {"annotations", NULL}, *const env[] = {"process", "env",
                                                                                        NULL};
        if (is_string_in(value, annotations))
                take_annotation(data, value->path[1], value);
        else if (is_string_in(value, env))
                take_variable(data, value);
}

static gboolean
search_bundle(Search *search, const LogDriverConfig *config, GError **error)
{
        if (!config->log->bundle)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log options for labels, env and the image need the container's "
                                 "config.json; use --bundle");
        g_autofree char *path = g_build_filename(config->log->bundle, "config.json", NULL);
        g_autofree char *text = NULL;
        size_t len;
        int r = fd_read_file(path, CONFIG_MAX, &text, &len);
        if (r < 0)
                return error_set_errno(error, r, "Failed to read %s", path);
        if (json_read(text, len, on_value, search, error))
                return TRUE;
        g_prefix_error(error, "Failed to read %s: ", path);
        return FALSE;
}

/* --log-label, for all drivers that have a place for it. */
static gboolean
add_labels(GPtrArray *attributes, const LogConfig *log, GError **error)
{
        for (char **label = log->labels; label && *label; label++) {
                const char *equal = strchr(*label, '=');
                if (!equal || equal == *label)
                        return error_set(error, CONMON_ERROR_USAGE,
                                         "Container labels must be in format LABEL=VALUE (it is '%s')",
                                         *label);
                add_attribute(attributes, *label, (size_t)(equal - *label), equal + 1, strlen(equal + 1));
        }
        return TRUE;
}

/* The value of one of the fields. */
static char *
field_value(const char *field, const LogMetadata *m, const LogConfig *log, const Search *search)
{
        char host[256] = "";
        const char *image_id = search->image_id.text ? search->image_id.text : "";
        if (strcmp(field, ".ID") == 0)
                return g_strdup(m->short_id);
        if (strcmp(field, ".FullID") == 0)
                return g_strdup(log->cid);
        if (strcmp(field, ".Name") == 0)
                return g_strdup(log->name ? log->name : m->short_id);
        if (strcmp(field, ".ImageName") == 0)
                return g_strdup(search->image_name.text ? search->image_name.text : "");
        if (strcmp(field, ".ImageFullID") == 0)
                return g_strdup(image_id);
        if (strcmp(field, ".ImageID") == 0)
                return g_strndup(image_id, SHORT_ID_LEN);
        (void)gethostname(host, sizeof host - 1);
        return g_strdup(host);
}

/* Replaces each {{field}} of a template that was checked. */
static char *
expand(const char *template, const LogMetadata *m, const LogConfig *log, const Search *search)
{
        GString *out = g_string_new(NULL);
        const char *open, *end;
        for (char *field; (field = next_field(template, &open, &end)); template = end) {
                g_autofree char *value = field_value(field, m, log, search);
                g_string_append_len(out, template, open - template);
                g_string_append(out, value);
                g_free(field);
        }
        g_string_append(out, template);
        return g_string_free(out, FALSE);
}

static void
make_tag(LogMetadata *m, const LogDriverConfig *config, const char *default_tag, const Search *search)
{
        const char *template = log_options_string(config->options, "tag");
        if (!template && config->log->tag)
                m->tag = g_strdup(config->log->tag);
        else if (template || default_tag)
                m->tag = expand(template ? template : default_tag, m, config->log, search);
}

static int
compare_keys(const void *a, const void *b)
{
        return strcmp(((const LogAttribute *)a)->key, ((const LogAttribute *)b)->key);
}

/* Moves the attributes from the list into the sorted array. */
static void
take_attributes(LogMetadata *m, GPtrArray *found)
{
        m->n_attributes = found->len;
        m->attributes = g_new0(LogAttribute, found->len);
        for (guint i = 0; i < found->len; i++) {
                LogAttribute *a = g_ptr_array_index(found, i);
                m->attributes[i] = *a;
                *a = (LogAttribute){0};
        }
        if (m->n_attributes > 0)
                qsort(m->attributes, m->n_attributes, sizeof *m->attributes, compare_keys);
}

static char **
split_list(const LogOptions *options, const char *key)
{
        const char *text = log_options_string(options, key);
        return text ? g_strsplit(text, ",", -1) : NULL;
}

LogMetadata *
log_metadata_new(const LogDriverConfig *config, const char *default_tag, GError **error)
{
        g_autoptr(LogMetadata) m = g_new0(LogMetadata, 1);
        g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(attribute_free);
        g_auto(GStrv) labels = split_list(config->options, "labels"),
                      env = split_list(config->options, "env");
        const char *tag = log_options_string(config->options, "tag");
        Search search = {.labels = labels, .env = env, .found = found};
        m->short_id = g_strndup(config->log->cid, SHORT_ID_LEN);
        bool ok = add_labels(found, config->log, error);
        if (ok && (labels || env || (tag && strstr(tag, ".Image"))))
                ok = search_bundle(&search, config, error);
        if (ok)
                make_tag(m, config, default_tag, &search);
        g_free(search.image_name.text);
        g_free(search.image_id.text);
        if (!ok)
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
