/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* From a forked process to a running runtime. */

#include "core/monitor.h"

/* Creates sockets, pipes and FIFOs and starts the runtime, now or when the caller requests it. After an
 * error there is nothing to wait for. */
gboolean monitor_start(Monitor *m, GError **error);

/* Live upgrade: sockets and FIFOs. */
void endpoints_save(Monitor *m, StateWriter *w);
void endpoints_restore(Monitor *m, StateReader *r);
