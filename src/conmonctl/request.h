/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Requests to monitors through their ctl FIFO. A monitor answers with log-status.json: lines of a FIFO are
 * handled in order, so a status that was requested after another request shows that this was handled. */

#include "conmonctl/monitor_info.h"

/* Sends `line` ("2 0 0"; NULL: nothing) and a request for the status to each monitor, and waits until all
 * have answered, at most `timeout_usec`. Afterwards each one has a status or an error: -ENXIO if the FIFO has
 * no reader, -ETIMEDOUT, -ENOENT if there is no FIFO, -EPERM if it belongs to another user, or the error of
 * open(2) or write(2). */
void request_status(GPtrArray *monitors, const char *line, gint64 timeout_usec);

/* Describes the error of a monitor. */
const char *request_describe(int error);
