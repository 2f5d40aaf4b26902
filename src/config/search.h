/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Where configuration files are searched, and which owners are trusted. */

#include "config/config_file.h"

#include <glib.h>
#include <stdbool.h>

/* Like config_parse for a file, which must only be writable by its owner (root or the own user) and is
 * limited to 1 MiB. `system`: it is in a directory of root, who may appear as nobody in a user namespace. */
gboolean config_read(Config *c, const char *file, bool system, GError **error);

/* Reads `files`, which ends with NULL, or, if it is NULL, those of the default locations, of which later ones
 * take precedence:
 *     /usr/share/containers/conmon.conf, /usr/share/containers/conmon.conf.d/(any).conf,
 *     the same in /etc/containers, and for a user in $XDG_CONFIG_HOME/containers (~/.config/containers);
 * the build may have moved the first two.
 * There, missing files are no error, and after the first error the other files are still read. *ret_config,
 * freed with config_free, is only set if there is a file, also after an error. */
gboolean config_read_all(char **files, bool user, Config **ret_config, GError **error);
