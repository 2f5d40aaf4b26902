#pragma once

/* Every key that a configuration file may have; conmon.conf(5) describes them. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
        CONFIG_TEXT,
        CONFIG_LIST,        /* texts with a semicolon between them */
        CONFIG_CHOICE,      /* one of the key's choices */
        CONFIG_BOOL,        /* true, false, yes, no, 1, 0, t, f, in any case */
        CONFIG_COUNT,       /* a whole number */
        CONFIG_SIZE,        /* bytes; 10k is 10000 */
        CONFIG_BINARY_SIZE, /* bytes; 10k is 10240 */
        CONFIG_DURATION,    /* 500ms, 2s; kept in microseconds */
} ConfigType;

typedef struct ConfigKey {
        const char *section;  /* the first word of the section's title */
        const char *name;     /* CONFIG_OPTION_PREFIX stands for every name that begins so */
        ConfigType type;
        const char *fallback; /* the default as one would write it; NULL: none, or not the same everywhere */
        const char *choices;  /* with | between them */
        int64_t min, max;     /* of a number; max 0: no limit */
} ConfigKey;

/* `opt.KEY = VALUE` is the log driver's option KEY. */
#define CONFIG_OPTION_PREFIX "opt."

/* What there is, for messages. */
#define CONFIG_SECTIONS "defaults, profile NAME, match GLOB, policy, attach and limits"

/* All keys, grouped by section; ends with a name of NULL. */
const ConfigKey *config_keys(void);

/* NULL if the section has no such key. */
const ConfigKey *config_key_find(const char *section, const char *name);

/* True if there is such a section; *ret_named: its title has a name behind the first word. */
bool config_section_exists(const char *section, bool *ret_named);

/* Checks a value; the sentence of a failure says what is allowed. */
gboolean config_key_check(const ConfigKey *key, const char *value, GError **error);

/* The number that a checked value stands for: bytes, microseconds, 0 or 1, the index of a choice. */
int64_t config_key_number(const ConfigKey *key, const char *value);
