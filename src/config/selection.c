#include "config/selection.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/quantity.h"
#include "config/annotations.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
        const SelectionConfig *asked;
        const char *profile; /* of the environment; NULL: none */
        const Config *config; /* NULL: there is no file */
        Policy policy;
        Annotations *annotations; /* NULL: there are none, or they do not count */
        Selection *result;
} Builder;

static Selection *
selection_empty(void)
{
        Selection *s = g_new(Selection, 1);
        *s = (Selection){
                .drivers = g_ptr_array_new_with_free_func(g_free),
                .driver_origins = g_ptr_array_new_with_free_func(g_free),
                .options = g_ptr_array_new_with_free_func(g_free),
                .option_origins = g_ptr_array_new_with_free_func(g_free),
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
        g_ptr_array_unref(s->drivers);
        g_ptr_array_unref(s->driver_origins);
        g_ptr_array_unref(s->options);
        g_ptr_array_unref(s->option_origins);
        config_free(s->config);
        g_free(s);
}

static void
add_driver(Selection *s, const char *driver, const char *origin)
{
        g_ptr_array_add(s->drivers, g_strdup(driver));
        g_ptr_array_add(s->driver_origins, g_strdup(origin));
}

static void
add_option(Selection *s, const char *key, const char *value, const char *origin)
{
        g_ptr_array_add(s->options, g_strconcat(key, "=", value, NULL));
        g_ptr_array_add(s->option_origins, g_strdup(origin));
}

/* Removes what was said about an option before. `key` may be a whole KEY=VALUE. */
static void
forget_option(Selection *s, const char *key)
{
        size_t len = strcspn(key, "=");
        for (guint i = s->options->len; i-- > 0;) {
                const char *old = s->options->pdata[i];
                if (strncmp(old, key, len) != 0 || old[len] != '=')
                        continue;
                g_ptr_array_remove_index(s->options, i);
                g_ptr_array_remove_index(s->option_origins, i);
        }
}

/* The command line's own share counts most. */
static void
finish(Selection *s, const SelectionConfig *asked)
{
        for (char **driver = asked->drivers; driver && *driver; driver++)
                add_driver(s, *driver, "");
        for (char **option = asked->options; option && *option; option++)
                forget_option(s, *option);
        for (char **option = asked->options; option && *option; option++) {
                g_ptr_array_add(s->options, g_strdup(*option));
                g_ptr_array_add(s->option_origins, g_strdup(""));
        }
        GPtrArray *arrays[] = {s->drivers, s->driver_origins, s->options, s->option_origins};
        for (size_t i = 0; i < G_N_ELEMENTS(arrays); i++)
                g_ptr_array_add(arrays[i], NULL);
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

/* What a field of a path stands for; NULL if there is no such field. */
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

/* A driver that files name may have fields of Docker's templates in its path, so that
 * each container has its own. */
static gboolean
add_driver_for(Builder *b, const char *driver, const char *origin, GError **error)
{
        g_autoptr(GString) text = g_string_new(NULL);
        size_t len;
        for (const char *open; (open = strstr(driver, "{{")); driver = open + len) {
                const char *value = find_field(b->asked, open, &len);
                if (!value)
                        return error_set(error, CONMON_ERROR_USAGE,
                                         "%s: in a path, known are {{.ID}}, {{.FullID}} and {{.Name}}",
                                         origin);
                if (strchr(value, '/') || *value == '.')
                        return error_set(error, CONMON_ERROR_USAGE, "%s: %s can't be part of a path", origin,
                                         value);
                g_string_append_len(text, driver, open - driver);
                g_string_append_printf(text, "%.*s", g_str_has_prefix(open, "{{.ID}}") ? 12 : INT_MAX, value);
        }
        g_string_append(text, driver);
        add_driver(b->result, text->str, origin);
        return TRUE;
}

static gboolean use_profile(Builder *b, const char *name, const char *origin, GError **error);

static gboolean
use_entry(Builder *b, const ConfigSection *section, const ConfigEntry *entry, GError **error)
{
        g_autofree char *origin = config_origin(section, entry);
        if (strcmp(entry->name, "profile") == 0)
                return use_profile(b, *entry->values, origin, error);
        bool is_driver = strcmp(entry->name, "driver") == 0;
        const char *key = entry->name + strlen(CONFIG_OPTION_PREFIX);
        if (!is_driver)
                forget_option(b->result, key);
        for (char **value = entry->values; *value; value++) {
                if (!is_driver)
                        add_option(b->result, key, *value, origin);
                else if (!add_driver_for(b, *value, origin, error))
                        return FALSE;
        }
        return TRUE;
}

/* The options of a profile come before those that the section has itself. */
static gboolean
use_section(Builder *b, const ConfigSection *section, GError **error)
{
        const ConfigEntry *profile = config_entry(section, "profile");
        if (profile && !use_entry(b, section, profile, error))
                return FALSE;
        for (guint i = 0; section && i < section->entries->len; i++) {
                const ConfigEntry *entry = &g_array_index(section->entries, ConfigEntry, i);
                if (entry != profile && !use_entry(b, section, entry, error))
                        return FALSE;
        }
        return TRUE;
}

gboolean
selection_of_section(const Config *config, const ConfigSection *section, Selection **ret_selection,
                     GError **error)
{
        SelectionConfig asked = {.cid = "0123456789abcdef", .name = "name"};
        Builder b = {.asked = &asked, .config = config, .result = selection_empty()};
        if (use_section(&b, section, error)) {
                finish(b.result, &asked);
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

/* Whether an annotation sets the driver's own option for an address. */
static bool
has_address(const Annotations *a)
{
        g_autofree char *key = g_strconcat(a->driver, "-address", NULL);
        for (guint i = 0; i < a->options->len; i++)
                if (strcmp(g_array_index(a->options, AnnotationOption, i).key, key) == 0)
                        return true;
        return false;
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
        if (policy_allow_driver(&b->policy, a->driver, has_address(a), error)) {
                add_driver(b->result, a->driver, origin);
                return TRUE;
        }
        g_prefix_error(error, "%s: ", origin);
        return FALSE;
}

static gboolean
use_annotated_option(Builder *b, const AnnotationOption *option, GError **error)
{
        g_autofree char *origin = g_strconcat("Annotation " ANNOTATION_PREFIX "opt.", option->key, NULL);
        if (!policy_allow_option(&b->policy, option->key, option->value, error)) {
                g_prefix_error(error, "%s: ", origin);
                return FALSE;
        }
        if (b->result->drivers->len == 0)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "%s: no log driver is chosen that it could be for", origin);
        forget_option(b->result, option->key);
        add_option(b->result, option->key, option->value, origin);
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

/* The first source that names something. */
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

/* ---- what there is to choose from ---- */

static bool
is_word(const char *path, const char *word)
{
        return g_str_has_prefix(path, word) && (path[strlen(word)] == '\0' || path[strlen(word)] == ':');
}

/* passthrough.tee lets output go through the monitor. Like -l, it is a matter of the command line. */
static bool
has_tee(const SelectionConfig *asked)
{
        static const char key[] = "passthrough.tee=";
        bool tee = false;
        for (char **option = asked->options; option && *option; option++)
                if (g_str_has_prefix(*option, key))
                        (void)quantity_parse_bool(*option + strlen(key), &tee);
        return tee;
}

/* Why nothing is added to what -l names; NULL: something may be. A container that is to have no log keeps
 * none, unless the policy says otherwise. */
static const char *
find_obstacle(const Builder *b)
{
        bool none = true;
        if (b->asked->exec)
                return b->policy.add_to_exec ? NULL : "it is an exec run";
        if (!b->asked->paths || !*b->asked->paths)
                return "there is no -l";
        for (char **path = b->asked->paths; *path; path++) {
                if (is_word(*path, "passthrough") && !has_tee(b->asked))
                        return "with -l passthrough the output does not come to the monitor";
                none &= is_word(*path, "none") || is_word(*path, "off") || is_word(*path, "null");
        }
        return none && !b->policy.add_to_none
                       ? "with -l none, only add-to-none = true in the policy adds a log"
                       : NULL;
}

/* Annotations that can't be followed are only looked for in order to say so. */
static gboolean
read_annotations(Builder *b, const char *obstacle, GError **error)
{
        g_autoptr(GError) unread = NULL;
        if (b->asked->exec || !b->asked->bundle)
                return TRUE;
        if (b->policy.annotations == POLICY_ANNOTATIONS_NONE)
                obstacle = "the policy is annotations = none";
        if (!obstacle)
                return annotations_read(b->asked->bundle, &b->annotations, error);
        if (!annotations_read(b->asked->bundle, &b->annotations, &unread) || b->annotations)
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
        bool user = config_is_user();
        gboolean done;
        policy_init(&b->policy, user);
        if (b->asked->file) {
                *ret_config = config_new();
                done = config_read(*ret_config, b->asked->file, false, error);
        } else {
                done = config_read_all(user, ret_config, error);
        }
        b->config = *ret_config;
        return read_policies(b, done ? error : NULL) && done;
}

static int64_t
read_number(const Builder *b, const char *kind, const char *name, int64_t otherwise)
{
        const ConfigEntry *entry = config_entry(config_find(b->config, kind, ""), name);
        return entry ? config_key_number(entry->key, *entry->values) : otherwise;
}

/* A bare path is a kubelet's: it does the rotation there. */
static bool
has_own_file(const SelectionConfig *asked)
{
        for (char **path = asked->paths; path && *path; path++)
                if (g_str_has_prefix(*path, "k8s-file:"))
                        return true;
        return false;
}

static void
read_settings(Builder *b)
{
        Selection *s = b->result;
        s->attach_queue_max = read_number(b, "attach", "queue-max", -1);
        s->attach_stall_usec = read_number(b, "attach", "stall-timeout", -1);
        if (b->asked->exec || !has_own_file(b->asked))
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
        bool decided = asked->profile || asked->drivers, open = !decided && !obstacle;
        if (!decided && !read_annotations(b, obstacle, error))
                return FALSE;
        if (open && variable && *variable)
                b->profile = variable;
        if (!asked->profile && !b->config && !b->annotations && !b->profile)
                return TRUE;
        b->result = selection_empty();
        read_settings(b);
        return (!open && !asked->profile) || (choose(b, error) && use_annotated_options(b, error));
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
                finish(b.result, config);
        }
        policy_done(&b.policy);
        annotations_free(b.annotations);
        *ret_selection = b.result;
        return built;
}
