/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* log-status.json: the monitor, the counters of the log, and how the container ended. It is written on
 * demand, and at the end. */

#include "core/monitor.h"

typedef struct StatusFile StatusFile;

/* Writes it while the container runs, within the budget of the errands. */
void status_file_write(Monitor *m);

/* Adds a step that writes the final status. Returns NULL if there is none to write. */
StatusFile *status_file_add(Monitor *m);

/* Called after the log has been drained: writes the final counters, into the open file, because its name
 * may already belong to another container. Waits a second for a disk that has stalled; if that is not enough,
 * they are written when it responds again, before the monitor exits. NULL is allowed. */
void status_file_update(StatusFile *f, Monitor *m);

/* Frees it after the steps are done. Its descriptor is closed with all others. NULL is allowed. */
void status_file_free(StatusFile *f);
