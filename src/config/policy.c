/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/policy.h"

#include "base/error.h"

#include <fnmatch.h>
#include <string.h>

void
policy_init(Policy *p, bool user)
{
        *p = (Policy){.annotations = user ? POLICY_ANNOTATIONS_ALL : POLICY_ANNOTATIONS_PROFILES};
}

void
policy_done(Policy *p)
{
        g_clear_pointer(&p->profiles, g_strfreev);
        g_clear_pointer(&p->sockets, g_strfreev);
}

static void
replace(char ***list, char **values)
{
        g_strfreev(*list);
        *list = g_strdupv(values);
}

/* The values have been checked. */
static void
apply(Policy *p, const ConfigKey *key, char **values)
{
        int64_t number = *values ? config_key_number(key, *values) : 0;
        if (strcmp(key->name, "annotations") == 0)
                p->annotations = (PolicyAnnotations)number;
        else if (strcmp(key->name, "on-error") == 0)
                p->warn = number == 1;
        else if (strcmp(key->name, "add-to-none") == 0)
                p->add_to_none = number;
        else if (strcmp(key->name, "add-to-exec") == 0)
                p->add_to_exec = number;
        else if (strcmp(key->name, "profiles") == 0)
                replace(&p->profiles, values);
        else if (strcmp(key->name, "sockets") == 0)
                replace(&p->sockets, values);
}

void
policy_read(Policy *p, const ConfigSection *section)
{
        for (guint i = 0; section && i < section->entries->len; i++) {
                const ConfigEntry *entry = &g_array_index(section->entries, ConfigEntry, i);
                apply(p, entry->key, entry->values);
        }
}

gboolean
policy_set(Policy *p, const char *assignment, GError **error)
{
        const char *equal = strchr(assignment, '=');
        g_autofree char *name =
                g_strndup(assignment, equal ? (size_t)(equal - assignment) : strlen(assignment));
        const ConfigKey *key = config_key_find("policy", name);
        if (!equal || !key)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "--log-policy %s: it must be KEY=VALUE with a KEY of the section [policy]",
                                 assignment);
        char *one[] = {(char *)equal + 1, NULL};
        g_auto(GStrv) values = key->list ? g_strsplit(equal + 1, ";", -1) : g_strdupv(one);
        for (char **value = values; *value; value++) {
                if (!config_key_check(key, g_strstrip(*value), error)) {
                        g_prefix_error(error, "--log-policy %s: ", assignment);
                        return FALSE;
                }
        }
        apply(p, key, values);
        return TRUE;
}

const char *
policy_annotations_name(const Policy *p)
{
        static const char *const names[] = {
                [POLICY_ANNOTATIONS_NONE] = "none",
                [POLICY_ANNOTATIONS_PROFILES] = "profiles-only",
                [POLICY_ANNOTATIONS_ALL] = "all",
        };
        return names[p->annotations];
}

static gboolean
require(const Policy *p, PolicyAnnotations level, GError **error)
{
        if (p->annotations >= level)
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE, "the policy is annotations = %s%s",
                         policy_annotations_name(p),
                         p->annotations == POLICY_ANNOTATIONS_PROFILES ? ", so it may only name a profile"
                                                                       : "");
}

gboolean
policy_allow_profile(const Policy *p, const char *profile, GError **error)
{
        if (!require(p, POLICY_ANNOTATIONS_PROFILES, error))
                return FALSE;
        for (char **pattern = p->profiles; pattern && *pattern; pattern++)
                if (fnmatch(*pattern, profile, 0) == 0)
                        return TRUE;
        if (!p->profiles)
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE, "the policy keeps the profile %s from annotations",
                         profile);
}

gboolean
policy_allow_choice(const Policy *p, GError **error)
{
        return require(p, POLICY_ANNOTATIONS_ALL, error);
}
