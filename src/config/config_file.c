/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/config_file.h"

#include "base/error.h"

#include <fnmatch.h>
#include <string.h>

#define NO_SYNTAX "this is no [section], no KEY = VALUE in a section, and no # comment"

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

/* ---- values ---- */

/* What may follow a backslash, and what it stands for. */
static const char escapes[] = "sntr\\;", escaped[] = " \n\t\r\\;";

char *
config_quote(const char *value, bool list)
{
        GString *text = g_string_new(NULL);
        size_t last = strlen(value) - 1;
        for (size_t i = 0; value[i]; i++) {
                const char *at = strchr(escaped, value[i]);
                if (!at || (*at == ' ' && i > 0 && i < last) || (*at == ';' && !list))
                        g_string_append_c(text, value[i]);
                else
                        g_string_append_printf(text, "\\%c", escapes[at - escaped]);
        }
        return g_string_free(text, FALSE);
}

/* The first element, without surrounding blanks except those written \s. *ret_rest is the text after its
 * semicolon. NULL if an escape sequence is invalid. */
static char *
read_element(const char *text, bool list, const char **ret_rest)
{
        g_autoptr(GString) value = g_string_new(NULL);
        size_t len = 0;
        while (g_ascii_isspace(*text))
                text++;
        for (; *text && !(list && *text == ';'); text++) {
                const char *escape = text[0] == '\\' && text[1] ? strchr(escapes, text[1]) : NULL;
                if (*text == '\\' && (!escape || (*escape == ';' && !list)))
                        return NULL;
                g_string_append_c(value, escape ? escaped[escape - escapes] : *text);
                if (escape || !g_ascii_isspace(*text))
                        len = value->len;
                text += escape != NULL;
        }
        *ret_rest = text + (*text == ';');
        g_string_truncate(value, len);
        return g_string_free(g_steal_pointer(&value), FALSE);
}

/* All elements; a value that is no list is one. Empty elements of a list are ignored, but an option has at
 * least one. NULL as for read_element. */
static char **
read_values(const char *text, const ConfigKey *key)
{
        g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
        do {
                char *value = read_element(text, key->list, &text);
                if (!value)
                        return NULL;
                if (*value || !key->list)
                        g_ptr_array_add(values, value);
                else
                        g_free(value);
        } while (*text);
        if (values->len == 0 && strcmp(key->name, CONFIG_OPTION_PREFIX) == 0)
                g_ptr_array_add(values, g_strdup(""));
        g_ptr_array_add(values, NULL);
        g_ptr_array_set_free_func(values, NULL);
        return (char **)g_ptr_array_free(g_steal_pointer(&values), FALSE);
}

/* ---- a text, line by line ---- */

typedef struct {
        Config *config;
        const char *file;
        bool begun;             /* a section, even if it is skipped */
        ConfigSection *section; /* the current one; NULL: it is skipped */
        GHashTable *titles;     /* of the sections that this file has had */
        GHashTable *names;      /* of the keys that the current section has had */
        unsigned line;
        GError *error;          /* the first one */
} Reader;

static void G_GNUC_PRINTF(2, 3)
refuse_line(Reader *r, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args);
        va_end(args);
        error_keep_first(&r->error,
                         g_error_new(CONMON_ERROR, CONMON_ERROR_USAGE, "%s:%u: %s", r->file, r->line, text));
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

static bool
is_true(const ConfigEntry *entry)
{
        return entry && config_key_number(entry->key, *entry->values) != 0;
}

/* A section without a driver can't have options. */
static gboolean
check_section(const ConfigSection *s, GError **error)
{
        const ConfigEntry *driver = config_entry(s, "driver"), *profile = config_entry(s, "profile");
        const ConfigEntry *sinks = config_entry(s, "sinks");
        const char *text = NULL;
        bool nothing = !profile && (!driver || !*driver->values) && (!sinks || !*sinks->values);
        for (guint i = 0; i < s->entries->len && nothing; i++)
                if (g_str_has_prefix(g_array_index(s->entries, ConfigEntry, i).name, CONFIG_OPTION_PREFIX))
                        text = "it has options but names no driver";
        if ((driver || sinks) && profile)
                text = "it names a profile and a driver; it can have one of them";
        if (strcmp(s->kind, "sink") == 0 && !driver)
                text = "it needs a driver";
        if (config_entry(s, "max-files") && !is_true(config_entry(s, "rotate")))
                text = "max-files has no effect without rotate = true";
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
        if (!check_section(r->section, &error))
                error_keep_first(&r->error, error);
        for (guint i = 0; i < r->config->sections->len; i++) {
                if (strcmp(((ConfigSection *)r->config->sections->pdata[i])->title, r->section->title) == 0) {
                        g_ptr_array_remove_index(r->config->sections, i);
                        break;
                }
        }
        /* A section without keys removes an earlier one. */
        if (r->section->entries->len > 0)
                g_ptr_array_add(r->config->sections, g_steal_pointer(&r->section));
        g_clear_pointer(&r->section, section_free);
}

/* The text in brackets, if the line has nothing else; otherwise NULL. */
static char *
read_title(const char *line)
{
        size_t len = strlen(line);
        if (len < 3 || line[len - 1] != ']' || strcspn(line + 1, "[]") != len - 2)
                return NULL;
        return g_strndup(line + 1, len - 2);
}

static void
start_section(Reader *r, const char *line)
{
        bool named = false;
        g_autofree char *title = read_title(line);
        finish_section(r);
        r->begun = true;
        g_hash_table_remove_all(r->names);
        if (!title) {
                refuse_line(r, NO_SYNTAX);
                return;
        }
        g_autoptr(ConfigSection) section = section_new(title, r->file, r->line);
        if (!config_section_exists(section->kind, &named))
                refuse_line(r, "there is no section [%s]; there are " CONFIG_SECTIONS, title);
        else if (named && !*section->name)
                refuse_line(r, "[%s] needs a name, as in [%s NAME]", section->title, section->kind);
        else if (!named && *section->name)
                refuse_line(r, "[%s] takes no name (given as [%s])", section->kind, section->title);
        else if (!g_hash_table_add(r->titles, g_strdup(section->title)))
                refuse_line(r, "duplicate section [%s]", section->title);
        else
                r->section = g_steal_pointer(&section);
}

/* The names of a section's keys, for a message. */
static char *
list_keys(const char *kind)
{
        GString *names = g_string_new(NULL);
        for (const ConfigKey *key = config_keys(); *key->name; key++)
                if (strcmp(key->section, kind) == 0)
                        g_string_append_printf(names, "%s%s%s", names->len ? ", " : "", key->name,
                                               strcmp(key->name, CONFIG_OPTION_PREFIX) == 0 ? "KEY" : "");
        return g_string_free(names, FALSE);
}

static void
add_entry(Reader *r, const ConfigKey *key, const char *name, const char *text)
{
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) values = read_values(text, key);
        if (!values) {
                refuse_line(r, "[%s] %s: a backslash must be written \\\\, a blank \\s%s", r->section->title,
                            name, key->list ? ", a semicolon \\;" : "");
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
        const char *equal = strchr(line, '=');
        if (!r->begun || !equal || equal == line) {
                refuse_line(r, NO_SYNTAX);
                return;
        }
        if (!r->section)
                return;
        g_autofree char *name = g_strchomp(g_strndup(line, (size_t)(equal - line)));
        const ConfigKey *key = config_key_find(r->section->kind, name);
        if (!key) {
                g_autofree char *keys = list_keys(r->section->kind);
                refuse_line(r, "[%s] %s: there is no such key; there are %s", r->section->title, name, keys);
        } else if (!g_hash_table_add(r->names, g_strdup(name))) {
                refuse_line(r, "[%s] %s: duplicate key; several values are separated by semicolons",
                            r->section->title, name);
        } else {
                add_entry(r, key, name, equal + 1);
        }
}

static void
read_line(Reader *r, const char *text, size_t len)
{
        r->line++;
        if (!g_utf8_validate(text, (gssize)len, NULL)) {
                refuse_line(r, "there are bytes that are not UTF-8 text");
                return;
        }
        g_autofree char *line = g_strstrip(g_strndup(text, len));
        if (*line == '[')
                start_section(r, line);
        else if (*line && *line != '#')
                read_key(r, line);
}

gboolean
config_parse(Config *c, const char *file, const char *text, size_t len, GError **error)
{
        Reader r = {.config = c, .file = file};
        r.titles = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        r.names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (size_t at = 0, n; at < len; at += n + 1) {
                const char *end = memchr(text + at, '\n', len - at);
                n = end ? (size_t)(end - text) - at : len - at;
                read_line(&r, text + at, n);
        }
        finish_section(&r);
        g_hash_table_unref(r.titles);
        g_hash_table_unref(r.names);
        if (!r.error)
                return TRUE;
        g_propagate_error(error, r.error);
        return FALSE;
}
