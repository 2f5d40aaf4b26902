/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Where a plugin of Docker's listens (https://docs.docker.com/engine/extend/plugin_api/): a socket NAME.sock
 * or NAME/NAME.sock, else an address in NAME.spec or NAME.json. Root's are in /run/docker/plugins, and the
 * files in /etc/docker/plugins and /usr/lib/docker/plugins; an ordinary user's in
 * $XDG_RUNTIME_DIR/docker/plugins, $XDG_CONFIG_HOME/docker/plugins (~/.config) and
 * ~/.local/lib/docker/plugins. */

#include "log/net/address.h"

/* True if a file could have this name. */
bool plugin_is_name(const char *name);

/* The directory `name` ("plugins", "logging") of what runs; freed with g_free. NULL: there is no place for
 * it. */
char *plugin_run_dir(const char *name);

/* Finds it. The caller clears *ret. */
gboolean plugin_find(const char *name, LogAddress *ret, GError **error);
