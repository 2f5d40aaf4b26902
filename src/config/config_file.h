/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Configuration files: settings with the line that they come from, and which section applies. The syntax
 * is that of the Desktop Entry Specification, as GKeyFile has it. A section completely replaces an earlier
 * one with the same title. */

#include "config/key.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct ConfigEntry {
        const ConfigKey *key;
        char *name;    /* as in the file */
        char **values; /* all elements of a list, else one; ends with NULL */
        unsigned line;
} ConfigEntry;

typedef struct ConfigSection {
        char *title;      /* what is in the brackets */
        char *kind;       /* its first word */
        const char *name; /* the rest; "" if there is none */
        char *file;
        unsigned line;
        GArray *entries; /* of ConfigEntry */
} ConfigSection;

typedef struct Config {
        GPtrArray *sections; /* of ConfigSection, in the order in which they were read */
} Config;

Config *config_new(void);
void config_free(Config *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Config, config_free)

/* Parses the text of a file whose name is only used in messages. The message of the first error has file,
 * line and key. All lines without an error take effect nevertheless, because one of them may set how
 * errors are handled. */
gboolean config_parse(Config *c, const char *file, const char *text, size_t len, GError **error);

/* The section of this kind and name ("" for those without); NULL if there is none, or c is NULL. */
const ConfigSection *config_find(const Config *c, const char *kind, const char *name);

/* The last [match GLOB] whose pattern matches this container name; NULL if there is none. */
const ConfigSection *config_match(const Config *c, const char *container);

/* NULL if the section does not have the key, or is NULL. */
const ConfigEntry *config_entry(const ConfigSection *section, const char *name);

/* "FILE:LINE: [TITLE] NAME", or without the name for entry NULL. Freed with g_free. */
char *config_origin(const ConfigSection *section, const ConfigEntry *entry);

/* A value as it is escaped in a file, as an element of a list or alone. Freed with g_free. */
char *config_quote(const char *value, bool list);
