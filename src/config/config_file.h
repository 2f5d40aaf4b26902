#pragma once

/* Configuration files: what they say, from which line, and which of them counts. The syntax is GKeyFile's. A
 * section replaces the one with the same title that was read before it, as a whole. */

#include "config/key.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct ConfigEntry {
        const ConfigKey *key;
        char *name;    /* as in the file */
        char **values; /* of a list all, else one; ends with NULL */
        unsigned line;
} ConfigEntry;

typedef struct ConfigSection {
        char *title;      /* what is in the brackets */
        char *kind;       /* its first word */
        const char *name; /* what is behind it; "" if there is nothing */
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

/* Reads the text of a file whose name is only for messages. The sentence of the first error names
 * file, line and key. Then what is right in the file counts nevertheless, because what is to be done
 * about errors may be there. */
gboolean config_parse(Config *c, const char *file, const char *text, size_t len, GError **error);

/* The same for a file, which must not be writable by anybody but its owner (root or the own user)
 * and may have 1 MiB. `system`: it is in a directory of root's, where root may look like nobody
 * from inside a user namespace. */
gboolean config_read(Config *c, const char *file, bool system, GError **error);

/* Reads what is in the usual places, later files over earlier ones:
 *     /usr/share/containers/conmon.conf, /usr/share/containers/conmon.conf.d/(any).conf,
 *     the same in /etc/containers, and for a user in $XDG_CONFIG_HOME/containers (~/.config/containers).
 * What is not there is no error. The first error does not keep the other files from being read. Makes
 * *ret_config, to be freed with config_free, only when there is a file, and also if there was an error. */
gboolean config_read_all(bool user, Config **ret_config, GError **error);

/* True if the monitor works for an ordinary user, also where podman made that one
 * root of a user namespace. */
bool config_is_user(void);

/* The section of this kind and name ("" for those without); NULL if there is none, or c is NULL. */
const ConfigSection *config_find(const Config *c, const char *kind, const char *name);

/* The last [match GLOB] whose pattern is one for this container name; NULL if there is none. */
const ConfigSection *config_match(const Config *c, const char *container);

/* NULL if the section does not have it, or is NULL. */
const ConfigEntry *config_entry(const ConfigSection *section, const char *name);

/* "FILE:LINE: [TITLE] NAME", or without the name for entry NULL. Freed with g_free. */
char *config_origin(const ConfigSection *section, const ConfigEntry *entry);
