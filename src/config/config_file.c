#include "config/config_file.h"

#include "base/error.h"

#include <fnmatch.h>
#include <string.h>

static void
entry_done(void *data)
{
        ConfigEntry *entry = data;
        g_free(entry->name);
        g_strfreev(entry->values);
}

static void
section_free(void *data)
{
        ConfigSection *s = data;
        g_free(s->title);
        g_free(s->kind);
        g_free(s->file);
        g_array_unref(s->entries);
        g_free(s);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ConfigSection, section_free)

Config *
config_new(void)
{
        Config *c = g_new0(Config, 1);
        c->sections = g_ptr_array_new_with_free_func(section_free);
        return c;
}

void
config_free(Config *c)
{
        if (!c)
                return;
        g_ptr_array_unref(c->sections);
        g_free(c);
}

const ConfigSection *
config_find(const Config *c, const char *kind, const char *name)
{
        for (guint i = 0; c && i < c->sections->len; i++) {
                const ConfigSection *s = c->sections->pdata[i];
                if (strcmp(s->kind, kind) == 0 && strcmp(s->name, name) == 0)
                        return s;
        }
        return NULL;
}

const ConfigSection *
config_match(const Config *c, const char *container)
{
        for (guint i = c ? c->sections->len : 0; i-- > 0;) {
                const ConfigSection *s = c->sections->pdata[i];
                if (strcmp(s->kind, "match") == 0 && fnmatch(s->name, container, 0) == 0)
                        return s;
        }
        return NULL;
}

const ConfigEntry *
config_entry(const ConfigSection *section, const char *name)
{
        for (guint i = 0; section && i < section->entries->len; i++) {
                const ConfigEntry *entry = &g_array_index(section->entries, ConfigEntry, i);
                if (strcmp(entry->name, name) == 0)
                        return entry;
        }
        return NULL;
}

char *
config_origin(const ConfigSection *section, const ConfigEntry *entry)
{
        if (!entry)
                return g_strdup_printf("%s:%u: [%s]", section->file, section->line, section->title);
        return g_strdup_printf("%s:%u: [%s] %s", section->file, entry->line, section->title, entry->name);
}

/* ---- reading one text ---- */

typedef struct {
        Config *config;
        const char *file;
        GKeyFile *values;       /* the same text as GLib sees it */
        char *group;            /* the title of the section at hand, as GLib knows it */
        ConfigSection *section; /* at hand; NULL: the lines belong to a section that is left out */
        GHashTable *titles;     /* of the sections that this file has had */
        GHashTable *names;      /* of the keys that the section at hand has had */
        unsigned line;
        GError *error;          /* the first one */
} Reader;

/* Of several errors the first is told. */
static void
refuse(Reader *r, GError *error)
{
        if (r->error)
                g_error_free(error);
        else
                r->error = error;
}

static void G_GNUC_PRINTF(2, 3)
refuse_line(Reader *r, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args);
        va_end(args);
        refuse(r, g_error_new(CONMON_ERROR, CONMON_ERROR_USAGE, "%s:%u: %s", r->file, r->line, text));
}

static ConfigSection *
section_new(const char *title, const char *file, unsigned line)
{
        ConfigSection *s = g_new0(ConfigSection, 1);
        size_t word = strcspn(title, " \t");
        s->kind = g_strndup(title, word);
        s->title = g_strchomp(g_strdup_printf("%s %s", s->kind, title + word + strspn(title + word, " \t")));
        s->name = s->title + word + strspn(s->title + word, " ");
        s->file = g_strdup(file);
        s->line = line;
        s->entries = g_array_new(FALSE, FALSE, sizeof(ConfigEntry));
        g_array_set_clear_func(s->entries, entry_done);
        return s;
}

/* A section that chooses nothing can't have options for it. */
static gboolean
check_choice(const ConfigSection *s, GError **error)
{
        const ConfigEntry *driver = config_entry(s, "driver"), *profile = config_entry(s, "profile");
        const char *text = NULL;
        bool nothing = !profile && (!driver || !*driver->values);
        for (guint i = 0; i < s->entries->len && nothing; i++)
                if (g_str_has_prefix(g_array_index(s->entries, ConfigEntry, i).name, CONFIG_OPTION_PREFIX))
                        text = "it has options but names no driver";
        if (driver && profile)
                text = "it names a profile and a driver; it can have one of them";
        if (!text)
                return TRUE;
        g_autofree char *origin = config_origin(s, NULL);
        return error_set(error, CONMON_ERROR_USAGE, "%s: %s", origin, text);
}

static void
finish_section(Reader *r)
{
        GError *error = NULL;
        if (!r->section)
                return;
        if (!check_choice(r->section, &error))
                refuse(r, error);
        for (guint i = 0; i < r->config->sections->len; i++) {
                if (strcmp(((ConfigSection *)r->config->sections->pdata[i])->title, r->section->title) == 0) {
                        g_ptr_array_remove_index(r->config->sections, i);
                        break;
                }
        }
        /* A section without keys takes the older one away. */
        if (r->section->entries->len > 0)
                g_ptr_array_add(r->config->sections, g_steal_pointer(&r->section));
        g_clear_pointer(&r->section, section_free);
}

static void
start_section(Reader *r, const char *line)
{
        finish_section(r);
        const char *end = strchr(line, ']');
        g_free(r->group);
        r->group = g_strndup(line + 1, end ? (size_t)(end - line - 1) : strlen(line + 1));
        bool named = false;
        g_autoptr(ConfigSection) section = section_new(r->group, r->file, r->line);
        g_hash_table_remove_all(r->names);
        if (!config_section_exists(section->kind, &named))
                refuse_line(r, "there is no section [%s]; there are " CONFIG_SECTIONS, r->group);
        else if (named && !*section->name)
                refuse_line(r, "[%s] needs a name, as in [%s NAME]", section->title, section->kind);
        else if (!named && *section->name)
                refuse_line(r, "[%s] takes no name (given as [%s])", section->kind, section->title);
        else if (!g_hash_table_add(r->titles, g_strdup(section->title)))
                refuse_line(r, "[%s] is there twice", section->title);
        else
                r->section = g_steal_pointer(&section);
}

/* The names of a section's keys, for a message. */
static char *
list_keys(const char *kind)
{
        GString *names = g_string_new(NULL);
        for (const ConfigKey *key = config_keys(); key->name; key++)
                if (strcmp(key->section, kind) == 0)
                        g_string_append_printf(names, "%s%s%s", names->len ? ", " : "", key->name,
                                               strcmp(key->name, CONFIG_OPTION_PREFIX) == 0 ? "KEY" : "");
        return g_string_free(names, FALSE);
}

/* The length of the first element, up to a semicolon without a backslash in front. */
static size_t
element_length(const char *text)
{
        size_t len = 0;
        while (text[len] && text[len] != ';')
                len += text[len] == '\\' && text[len + 1] ? 2 : 1;
        return len;
}

/* Takes away the blanks around elements, but not those that are written \s. */
static void
strip_elements(Reader *r, const char *name)
{
        g_autofree char *text = g_key_file_get_value(r->values, r->group, name, NULL);
        g_autoptr(GString) stripped = g_string_new(NULL);
        for (const char *at = text; at && *at;) {
                size_t len = element_length(at);
                g_autofree char *element = g_strndup(at, len);
                g_string_append(stripped, g_strstrip(element));
                at += len;
                if (*at)
                        g_string_append_c(stripped, *at++);
        }
        g_key_file_set_value(r->values, r->group, name, stripped->str);
}

/* All elements. An option without a value has an empty one. NULL if a backslash does not stand for anything;
 * GLib then returns a value and an error. */
static char **
read_list(Reader *r, const char *name)
{
        g_autoptr(GError) bad = NULL;
        strip_elements(r, name);
        g_auto(GStrv) list = g_key_file_get_string_list(r->values, r->group, name, NULL, &bad);
        if (bad || !list)
                return NULL;
        g_autoptr(GPtrArray) values = g_ptr_array_new();
        for (char **value = list; *value; value++)
                if (**value)
                        g_ptr_array_add(values, g_strdup(*value));
        if (values->len == 0 && g_str_has_prefix(name, CONFIG_OPTION_PREFIX))
                g_ptr_array_add(values, g_strdup(""));
        g_ptr_array_add(values, NULL);
        return (char **)g_ptr_array_free(g_steal_pointer(&values), FALSE);
}

static char **
read_values(Reader *r, const ConfigKey *key, const char *name)
{
        g_autoptr(GError) bad = NULL;
        if (key->type == CONFIG_LIST)
                return read_list(r, name);
        g_autofree char *text = g_key_file_get_value(r->values, r->group, name, NULL);
        g_key_file_set_value(r->values, r->group, name, g_strstrip(text));
        g_autofree char *value = g_key_file_get_string(r->values, r->group, name, &bad);
        if (bad || !value)
                return NULL;
        char *one[] = {value, NULL};
        return g_strdupv(one);
}

static void
add_entry(Reader *r, const ConfigKey *key, const char *name)
{
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) values = read_values(r, key, name);
        if (!values) {
                refuse_line(r, "[%s] %s: a backslash must be written \\\\, a blank \\s%s", r->section->title,
                            name, key->type == CONFIG_LIST ? ", a semicolon \\;" : "");
                return;
        }
        for (char **value = values; *value; value++) {
                if (!config_key_check(key, *value, &error)) {
                        refuse_line(r, "[%s] %s: %s", r->section->title, name, error->message);
                        return;
                }
        }
        ConfigEntry entry = {.key = key,
                             .name = g_strdup(name),
                             .values = g_steal_pointer(&values),
                             .line = r->line};
        g_array_append_val(r->section->entries, entry);
}

static void
read_key(Reader *r, const char *line)
{
        g_autofree char *name = g_strndup(line, strcspn(line, "="));
        g_strstrip(name);
        if (!r->section)
                return;
        const ConfigKey *key = config_key_find(r->section->kind, name);
        if (!key) {
                g_autofree char *keys = list_keys(r->section->kind);
                refuse_line(r, "[%s] %s: there is no such key; there are %s", r->section->title, name, keys);
        } else if (!g_hash_table_add(r->names, g_strdup(name))) {
                refuse_line(r, "[%s] %s: it is there twice; several values are separated by semicolons",
                            r->section->title, name);
        } else {
                add_entry(r, key, name);
        }
}

static void
read_line(Reader *r, char *line)
{
        g_strstrip(line);
        if (*line == '[')
                start_section(r, line);
        else if (*line && *line != '#')
                read_key(r, line);
}

static void
read_lines(Reader *r, const char *text, size_t len)
{
        for (size_t at = 0, n; at < len; at += n + 1) {
                const char *end = memchr(text + at, '\n', len - at);
                n = end ? (size_t)(end - text) - at : len - at;
                g_autofree char *line = g_strndup(text + at, n);
                r->line++;
                read_line(r, line);
        }
        finish_section(r);
}

/* ---- syntax, as GKeyFile has it ---- */

static GKeyFile *
load(const char *text, size_t len)
{
        g_autoptr(GKeyFile) values = g_key_file_new();
        return len == 0 || g_key_file_load_from_data(values, text, len, G_KEY_FILE_KEEP_TRANSLATIONS, NULL)
                       ? g_steal_pointer(&values)
                       : NULL;
}

/* How many bytes the first n lines have. */
static size_t
lines_length(const char *text, size_t len, unsigned n)
{
        size_t at = 0;
        for (; n > 0 && at < len; n--) {
                const char *end = memchr(text + at, '\n', len - at);
                at = end ? (size_t)(end - text) + 1 : len;
        }
        return at;
}

static unsigned
count_lines(const char *text, size_t len)
{
        unsigned n = len > 0 && text[len - 1] != '\n';
        for (size_t i = 0; i < len; i++)
                n += text[i] == '\n';
        return n;
}

/* GLib does not tell the line of an error: the most lines that have none are looked for. Returns how many. */
static unsigned
count_good_lines(const char *text, size_t len)
{
        unsigned good = 0, bad = count_lines(text, len);
        while (bad - good > 1) {
                unsigned middle = good + (bad - good) / 2;
                g_autoptr(GKeyFile) part = load(text, lines_length(text, len, middle));
                if (part)
                        good = middle;
                else
                        bad = middle;
        }
        return good;
}

gboolean
config_parse(Config *c, const char *file, const char *text, size_t len, GError **error)
{
        Reader r = {.config = c, .file = file};
        const char *end = NULL;
        const char *what = NULL;
        if (!g_utf8_validate(text, (gssize)len, &end)) {
                unsigned line = count_lines(text, (size_t)(end - text) + 1);
                what = "there are bytes that are not UTF-8 text";
                len = lines_length(text, len, line - 1);
        }
        r.values = load(text, len);
        if (!r.values) {
                what = "this is no [section], no KEY = VALUE in a section, and no # comment";
                len = lines_length(text, len, count_good_lines(text, len));
                r.values = load(text, len);
        }
        r.titles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        r.names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        read_lines(&r, text, len);
        r.line++;
        if (what)
                refuse_line(&r, "%s", what);
        g_hash_table_unref(r.titles);
        g_hash_table_unref(r.names);
        g_key_file_free(r.values);
        g_free(r.group);
        if (!r.error)
                return TRUE;
        g_propagate_error(error, r.error);
        return FALSE;
}
