/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The plugins that decide about system calls: loaded once, asked one after the other. */

#include "seccomp/notify_abi.h"

#include <glib.h>

typedef struct NotifyPlugins NotifyPlugins;

/* Opens and starts the shared objects of a list of paths separated by colons. Strings of `conf` are copied.
 * On failure of any of them nothing stays loaded, *error is set and NULL returned. */
NotifyPlugins *notify_plugins_load(const char *list, const NotifyPluginConf *conf, GError **error);

/* Asks the plugins in their order until one has handled the request. `response` is cleared before each.
 * Returns what that plugin said (NOTIFY_RESPOND and so on), its -errno, or -ENOTSUP if none of them knows the
 * request. */
int notify_plugins_handle(NotifyPlugins *p, struct seccomp_notif_sizes *sizes, struct seccomp_notif *request,
                          struct seccomp_notif_resp *response, int fd);

/* Stops and unloads all. NULL is fine. */
void notify_plugins_free(NotifyPlugins *p);
