/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What annotations, which may come from the author of an image or a pod, may choose: drivers and options
 * that allow it; all others are refused. Whether annotations are evaluated at all is not decided here. */

#include "base/log_request.h"
#include "log/api/driver.h"

/* Whether the request may name its driver. `sockets` lists local sockets, or drivers with a default
 * socket, that annotations may choose; it may be NULL. Requests from other sources may name any. */
gboolean log_permit_driver(const LogRequest *request, char **sockets, GError **error);

/* Whether a setting may name a driver, if it does. */
gboolean log_permit_name(const LogSetting *setting, GError **error);

/* Whether the setting may be applied to this option, given all settings of its driver: a driver with a
 * secret from another source never sends to an address from an annotation. */
gboolean log_permit_setting(const LogOptions *options, const LogSetting *setting, const GPtrArray *settings,
                            char **sockets, GError **error);
