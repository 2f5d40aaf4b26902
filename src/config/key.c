#include "config/key.h"

#include "base/error.h"
#include "base/quantity.h"

#include <string.h>

static const ConfigKey keys[] = {
        {"defaults", "profile", CONFIG_TEXT},
        {"defaults", "driver", CONFIG_LIST},
        {"defaults", CONFIG_OPTION_PREFIX, CONFIG_LIST},
        {"profile", "driver", CONFIG_LIST},
        {"profile", CONFIG_OPTION_PREFIX, CONFIG_LIST},
        {"match", "profile", CONFIG_TEXT},
        {"match", "driver", CONFIG_LIST},
        {"match", CONFIG_OPTION_PREFIX, CONFIG_LIST},
        {"policy", "annotations", CONFIG_CHOICE, .choices = "none|profiles-only|all"},
        {"policy", "profiles", CONFIG_LIST, "*"},
        {"policy", "sockets", CONFIG_LIST},
        {"policy", "on-error", CONFIG_CHOICE, "fail", .choices = "fail|warn"},
        {"policy", "add-to-none", CONFIG_BOOL, "false"},
        {"policy", "add-to-exec", CONFIG_BOOL, "false"},
        {"attach", "queue-max", CONFIG_BINARY_SIZE, "1m", .min = 8192, .max = 1 << 30},
        {"attach", "stall-timeout", CONFIG_DURATION, "2s"},
        {"limits", "size-max", CONFIG_SIZE},
        {"limits", "global-size-max", CONFIG_SIZE},
        {"limits", "rotate", CONFIG_BOOL, "false"},
        {"limits", "max-files", CONFIG_COUNT, "1", .min = 1, .max = 10000},
        {NULL},
};

static const struct {
        const char *name;
        bool named;
} sections[] = {
        {"defaults", false}, {"profile", true}, {"match", true},
        {"policy", false}, {"attach", false}, {"limits", false},
};

const ConfigKey *
config_keys(void)
{
        return keys;
}

static bool
is_named(const ConfigKey *key, const char *name)
{
        if (strcmp(key->name, CONFIG_OPTION_PREFIX) == 0)
                return g_str_has_prefix(name, key->name) && name[strlen(key->name)];
        return strcmp(key->name, name) == 0;
}

const ConfigKey *
config_key_find(const char *section, const char *name)
{
        for (const ConfigKey *key = keys; key->name; key++)
                if (strcmp(key->section, section) == 0 && is_named(key, name))
                        return key;
        return NULL;
}

bool
config_section_exists(const char *section, bool *ret_named)
{
        for (size_t i = 0; i < G_N_ELEMENTS(sections); i++) {
                if (strcmp(sections[i].name, section) == 0) {
                        *ret_named = sections[i].named;
                        return true;
                }
        }
        return false;
}

static bool
parse_choice(const char *choices, const char *value, int64_t *ret_index)
{
        g_auto(GStrv) words = g_strsplit(choices, "|", -1);
        for (int i = 0; words[i]; i++) {
                if (strcmp(words[i], value) == 0) {
                        *ret_index = i;
                        return true;
                }
        }
        return false;
}

static bool
parse(const ConfigKey *key, const char *value, int64_t *ret_number)
{
        bool flag = false;
        switch (key->type) {
        case CONFIG_CHOICE:
                return parse_choice(key->choices, value, ret_number);
        case CONFIG_BOOL:
                if (!quantity_parse_bool(value, &flag))
                        return false;
                *ret_number = flag;
                return true;
        case CONFIG_COUNT:
                return g_ascii_string_to_signed(value, 10, 0, INT64_MAX, ret_number, NULL);
        case CONFIG_SIZE:
                return quantity_parse_size(value, 1000, ret_number);
        case CONFIG_BINARY_SIZE:
                return quantity_parse_size(value, 1024, ret_number);
        case CONFIG_DURATION:
                return quantity_parse_duration(value, ret_number);
        default:
                return true;
        }
}

static const char *
describe(const ConfigKey *key)
{
        switch (key->type) {
        case CONFIG_CHOICE:
                return key->choices;
        case CONFIG_BOOL:
                return "true or false";
        case CONFIG_COUNT:
                return "a whole number";
        case CONFIG_SIZE:
        case CONFIG_BINARY_SIZE:
                return "a size such as 100k, 10m or 1g";
        case CONFIG_DURATION:
                return "a duration such as 500ms, 2s or 1m30s";
        default:
                return "a text";
        }
}

static gboolean
fail_value(const ConfigKey *key, const char *value, GError **error)
{
        g_autoptr(GString) text = g_string_new(describe(key));
        if (key->min > 0)
                g_string_append_printf(text, ", at least %" G_GINT64_FORMAT, key->min);
        if (key->max > 0)
                g_string_append_printf(text, ", at most %" G_GINT64_FORMAT, key->max);
        return error_set(error, CONMON_ERROR_USAGE, "it can't be '%s'; allowed: %s", value, text->str);
}

gboolean
config_key_check(const ConfigKey *key, const char *value, GError **error)
{
        int64_t number = 0;
        if (!parse(key, value, &number) || number < key->min || (key->max > 0 && number > key->max))
                return fail_value(key, value, error);
        if (key->type == CONFIG_TEXT && *value == '\0')
                return error_set(error, CONMON_ERROR_USAGE, "it can't be empty");
        return TRUE;
}

int64_t
config_key_number(const ConfigKey *key, const char *value)
{
        int64_t number = 0;
        (void)parse(key, value, &number);
        return number;
}
