/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Every key that a configuration file may have; conmon.conf(5) describes them. */

#include "base/value.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct ConfigKey {
        char section[12]; /* the first word of the section's title */
        char name[20];    /* CONFIG_OPTION_PREFIX stands for every name that begins so */
        ValueType type;   /* of each element if it is a list */
        char fallback[8]; /* the default as text; "": none, or not the same everywhere */
        bool list;        /* separated by semicolons */
} ConfigKey;

/* `opt.KEY = VALUE` is the log driver's option KEY. */
#define CONFIG_OPTION_PREFIX "opt."

/* All sections, for messages. */
#define CONFIG_SECTIONS "defaults, profile NAME, match GLOB, sink NAME, policy, attach, limits and health"

/* All keys, grouped by section; ends with a name of "". */
const ConfigKey *config_keys(void);

/* NULL if the section has no such key. */
const ConfigKey *config_key_find(const char *section, const char *name);

/* True if there is such a section; *ret_named: its title has a name after the first word. */
bool config_section_exists(const char *section, bool *ret_named);

/* Checks a value; the error message says what is allowed. */
gboolean config_key_check(const ConfigKey *key, const char *value, GError **error);

/* The numeric value of a checked text: bytes, microseconds, 0 or 1, the index of a choice. */
int64_t config_key_number(const ConfigKey *key, const char *value);
