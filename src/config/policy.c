#include "config/policy.h"

#include "base/error.h"
#include "base/quantity.h"

#include <fnmatch.h>
#include <string.h>

/* What an annotation may make the monitor hold in memory, for each size that it may set. */
#define SIZE_LIMIT (16 << 20)

/* Drivers that need no path and no program. */
static const char *const drivers[] = {"fluentd", "forward", "gelf", "journald", "syslog", NULL};

/* Those that use a local socket of their own unless they are given an address. */
static const char *const local_drivers[] = {"journald", "syslog", NULL};

/* What is not here can't be set: a path, a program, a secret's place, the container's environment, TLS
 * without checks. The addresses come first. */
static const char *const options[] = {
        "fluentd-address",
        "gelf-address",
        "syslog-address",
#define N_ADDRESSES 3
        "exclude",
        "fluentd-async",
        "fluentd-async-reconnect-interval",
        "fluentd-buffer-limit",
        "fluentd-max-retries",
        "fluentd-read-timeout",
        "fluentd-request-ack",
        "fluentd-retry-wait",
        "fluentd-sub-second-precision",
        "fluentd-write-timeout",
        "gelf-compression-level",
        "gelf-compression-type",
        "gelf-tcp-max-reconnect",
        "gelf-tcp-reconnect-delay",
        "include",
        "labels",
        "max-buffer-size", /* up to SIZE_LIMIT */
        "max-record",      /* up to SIZE_LIMIT */
        "mode",
        "on-full",
        "parse-prefix",
        "priority-stderr",
        "priority-stdout",
        "rate-limit-action",
        "rate-limit-burst",
        "rate-limit-interval",
        "streams",
        "syslog-facility",
        "syslog-format",
        "tag",
        NULL,
};

static const char *const network_schemes[] = {"tcp", "tcp+tls", "udp", NULL};

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

/* Takes checked values. */
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
        g_auto(GStrv) values = key->type == CONFIG_LIST ? g_strsplit(equal + 1, ";", -1) : g_strdupv(one);
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

const char *const *
policy_option_names(void)
{
        return options;
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

static bool
is_listed_socket(const Policy *p, const char *socket)
{
        return p->sockets && g_strv_contains((const char *const *)p->sockets, socket);
}

gboolean
policy_allow_driver(const Policy *p, const char *driver, bool addressed, GError **error)
{
        if (!require(p, POLICY_ANNOTATIONS_ALL, error))
                return FALSE;
        if (strchr(driver, ':'))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "%s: an annotation can't name a path or a program", driver);
        if (!g_strv_contains(drivers, driver)) {
                g_autofree char *names = g_strjoinv(", ", (char **)drivers);
                return error_set(error, CONMON_ERROR_USAGE,
                                 "the driver %s can't be chosen by an annotation; these can: %s", driver,
                                 names);
        }
        if (addressed || !g_strv_contains(local_drivers, driver) || is_listed_socket(p, driver))
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "%s uses a local socket, and the policy does not list it among sockets", driver);
}

/* "HOST", "HOST:PORT" or one of the schemes of the network in front of it. Nothing at all would
 * be a driver's own socket. */
static bool
is_network_address(const char *value)
{
        const char *scheme_end = strstr(value, "://");
        if (!*value)
                return false;
        if (scheme_end) {
                g_autofree char *scheme = g_strndup(value, (size_t)(scheme_end - value));
                return g_strv_contains(network_schemes, scheme) && !strchr(scheme_end + 3, '/');
        }
        return !strchr(value, '/') && *value != '@' && g_ascii_strncasecmp(value, "unix", 4) != 0;
}

/* What is no size at all is for the driver to refuse. */
static bool
is_too_large(const char *key, const char *value)
{
        int64_t bytes = 0;
        return g_str_has_prefix(key, "max-") && quantity_parse_size(value, 1024, &bytes) &&
               bytes > SIZE_LIMIT;
}

static bool
is_address(const char *key)
{
        for (int i = 0; i < N_ADDRESSES; i++)
                if (strcmp(key, options[i]) == 0)
                        return true;
        return false;
}

gboolean
policy_allow_option(const Policy *p, const char *key, const char *value, GError **error)
{
        if (!require(p, POLICY_ANNOTATIONS_ALL, error))
                return FALSE;
        if (!g_strv_contains(options, key))
                return error_set(error, CONMON_ERROR_USAGE, "the option %s can't be set by an annotation",
                                 key);
        if (is_too_large(key, value))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "%s is more than an annotation can ask for; allowed: up to %dm", value,
                                 SIZE_LIMIT >> 20);
        if (!is_address(key) || is_network_address(value) || is_listed_socket(p, value))
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "'%s' is not a tcp or udp address, and the policy does not list it among sockets",
                         value);
}
