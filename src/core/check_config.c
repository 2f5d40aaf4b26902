#include "core/check_config.h"

#include "config/selection.h"
#include "log/log.h"

#include <stdio.h>
#include <string.h>

static gboolean
read_config(const Options *o, Config **ret_config, GError **error)
{
        char *one[] = {o->config, NULL};
        char **files = o->files && *o->files ? o->files : one;
        if (!*files)
                return config_read_all(config_is_user(), ret_config, error);
        *ret_config = config_new();
        for (; *files; files++)
                if (!config_read(*ret_config, *files, false, error))
                        return FALSE;
        return TRUE;
}

/* Whether there are these drivers, and these options of them. */
static gboolean
check_section(const Config *c, const ConfigSection *section, GError **error)
{
        g_autoptr(Selection) s = NULL;
        if (!selection_of_section(c, section, &s, error))
                return FALSE;
        LogConfig log = {
                .drivers = (char **)s->drivers->pdata,
                .driver_origins = (char **)s->driver_origins->pdata,
                .options = (char **)s->options->pdata,
                .option_origins = (char **)s->option_origins->pdata,
                .cid = "",
        };
        return !*log.drivers || log_check(&log, error);
}

gboolean
check_config_sections(const Config *c, GError **error)
{
        for (guint i = 0; c && i < c->sections->len; i++)
                if (!check_section(c, c->sections->pdata[i], error))
                        return FALSE;
        return TRUE;
}

/* As it has to be written in a file. */
static void
append_value(GString *text, const char *value, bool list)
{
        static const char special[] = " \n\t\r\\;", letters[] = "sntr\\;";
        size_t last = strlen(value) - 1;
        for (size_t i = 0; value[i]; i++) {
                const char *at = strchr(special, value[i]);
                if (!at || (*at == ' ' && i > 0 && i < last) || (*at == ';' && !list))
                        g_string_append_c(text, value[i]);
                else
                        g_string_append_printf(text, "\\%c", letters[at - special]);
        }
}

static void
print_entry(const ConfigSection *section, const ConfigEntry *entry)
{
        g_autoptr(GString) text = g_string_new(entry->name);
        for (char **value = entry->values; *value; value++) {
                g_string_append(text, value == entry->values ? " = " : ";");
                append_value(text, *value, entry->key->type == CONFIG_LIST);
        }
        if (!*entry->values)
                g_string_append(text, " = ");
        printf("%-50s # %s:%u\n", text->str, section->file, entry->line);
}

/* The keys that the section does not have. */
static void
print_defaults(const ConfigSection *section, const char *kind)
{
        Policy policy;
        policy_init(&policy, config_is_user());
        for (const ConfigKey *key = config_keys(); key->name; key++) {
                bool differs = strcmp(key->name, "annotations") == 0;
                const char *value = differs ? policy_annotations_name(&policy) : key->fallback;
                if (strcmp(key->section, kind) != 0 || !value || config_entry(section, key->name))
                        continue;
                g_autofree char *text = g_strdup_printf("%s = %s", key->name, value);
                printf("%-50s # default\n", text);
        }
        policy_done(&policy);
}

static void
print_section(const ConfigSection *section)
{
        g_autofree char *title = g_strdup_printf("[%s]", section->title);
        printf("\n%-50s # %s:%u\n", title, section->file, section->line);
        for (guint i = 0; i < section->entries->len; i++)
                print_entry(section, &g_array_index(section->entries, ConfigEntry, i));
}

/* Sections of which there is one, with the defaults. */
static void
print_settings(const Config *c, const char *kind)
{
        const ConfigSection *section = config_find(c, kind, "");
        if (section)
                print_section(section);
        else
                printf("\n[%s]\n", kind);
        print_defaults(section, kind);
}

static void
print_config(const Config *c)
{
        static const char *const settings[] = {"policy", "attach", "limits", NULL};
        printf("# conmon.conf(5) %s", c ? "as it is in force" : "is not there; these are the defaults");
        printf(" for %s\n", config_is_user() ? "a user" : "root");
        for (int i = 0; settings[i]; i++)
                print_settings(c, settings[i]);
        for (guint i = 0; c && i < c->sections->len; i++) {
                const ConfigSection *section = c->sections->pdata[i];
                if (!g_strv_contains(settings, section->kind))
                        print_section(section);
        }
}

int
check_config(const Options *o)
{
        g_autoptr(Config) c = NULL;
        g_autoptr(GError) error = NULL;
        if (!read_config(o, &c, &error) || !check_config_sections(c, &error)) {
                g_printerr("conmon: %s\n", error->message);
                return 1;
        }
        print_config(c);
        return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
