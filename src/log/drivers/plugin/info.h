/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The metadata of a container for a plugin: the member Info of LogDriver.StartLogging. */

#include "log/api/driver.h"

/* As JSON, with the container's whole environment, so a secret. `options` are the plugin's own,
 * "KEY=VALUE"; may be NULL. NULL and *error if config.json can't be read; if there is none, its data is
 * omitted. */
char *plugin_info(const LogConfig *log, const char *const *options, GError **error);
