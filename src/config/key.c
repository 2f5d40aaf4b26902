/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/key.h"

#include "base/error.h"

#include <string.h>

static const ConfigKey keys[] = {
        {"defaults", "profile", {VALUE_TEXT}},
        {"defaults", "driver", {VALUE_TEXT}, .list = true},
        {"defaults", "sinks", {VALUE_TEXT}, .list = true},
        {"defaults", CONFIG_OPTION_PREFIX, {VALUE_TEXT}, .list = true},
        {"profile", "driver", {VALUE_TEXT}, .list = true},
        {"profile", "sinks", {VALUE_TEXT}, .list = true},
        {"profile", CONFIG_OPTION_PREFIX, {VALUE_TEXT}, .list = true},
        {"match", "profile", {VALUE_TEXT}},
        {"match", "driver", {VALUE_TEXT}, .list = true},
        {"match", "sinks", {VALUE_TEXT}, .list = true},
        {"match", CONFIG_OPTION_PREFIX, {VALUE_TEXT}, .list = true},
        {"sink", "driver", {VALUE_TEXT}},
        {"sink", CONFIG_OPTION_PREFIX, {VALUE_TEXT}, .list = true},
        {"policy", "annotations", {VALUE_CHOICE, "none|profiles-only|all"}},
        {"policy", "profiles", {VALUE_TEXT}, "*", .list = true},
        {"policy", "sockets", {VALUE_TEXT}, .list = true},
        {"policy", "on-error", {VALUE_CHOICE, "fail|warn"}, "fail"},
        {"policy", "add-to-none", {VALUE_BOOL}, "false"},
        {"policy", "add-to-exec", {VALUE_BOOL}, "false"},
        {"attach", "queue-max", {VALUE_BINARY_SIZE, .min = 8192, .max = 1 << 30}, "1m"},
        {"attach", "stall-timeout", {VALUE_DURATION}, "2s"},
        {"limits", "size-max", {VALUE_SIZE}},
        {"limits", "global-size-max", {VALUE_SIZE}},
        {"limits", "rotate", {VALUE_BOOL}, "false"},
        {"limits", "max-files", {VALUE_INT, .min = 1, .max = 10000}, "1"},
        {"health", "checks", {VALUE_CHOICE, "auto|on|off"}, "auto"},
        {""},
};

static const struct {
        char name[12];
        bool named;
} sections[] = {
        {"defaults", false}, {"profile", true}, {"match", true}, {"sink", true},
        {"policy", false}, {"attach", false}, {"limits", false}, {"health", false},
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
        for (const ConfigKey *key = keys; *key->name; key++)
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

gboolean
config_key_check(const ConfigKey *key, const char *value, GError **error)
{
        int64_t number = 0;
        if (!value_parse(&key->type, value, &number)) {
                g_autofree char *allowed = value_describe(&key->type);
                return error_set(error, CONMON_ERROR_USAGE, "it can't be '%s'; allowed: %s", value, allowed);
        }
        if (!key->list && key->type.kind == VALUE_TEXT && *value == '\0')
                return error_set(error, CONMON_ERROR_USAGE, "it can't be empty");
        return TRUE;
}

int64_t
config_key_number(const ConfigKey *key, const char *value)
{
        int64_t number = 0;
        (void)value_parse(&key->type, value, &number);
        return number;
}
