/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The end of the container, and of the monitor. */

#include "core/monitor.h"

/* How long files, clients and local logs together may delay what the caller waits for: the record of the
 * end, or the message that there is no container. */
#define END_BUDGET_USEC (G_USEC_PER_SEC / 2)

/* Stops accepting connections and removes all names that the caller may reuse. Keeps to the budget of
 * m->errands. */
void shutdown_remove_names(Monitor *m);

/* Records how the container ended, and reports it to the caller. The main thread and the stand-in may both
 * call this; only the first call has an effect. */
void shutdown_record(Monitor *m);

/* Performs the shutdown after the loop has ended. Returns the exit status of the monitor. */
int monitor_shut_down(Monitor *m);
