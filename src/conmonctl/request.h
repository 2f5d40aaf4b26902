/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Asking monitors for something through their ctl FIFO. A monitor answers with log-status.json: lines of a
 * FIFO are handled in order, so a status that was asked for after a request shows that the request was
 * handled. */

#include "conmonctl/monitor_info.h"

/* Sends each monitor `line` ("2 0 0"; NULL: nothing) and then asks for its status, and waits until all have
 * answered, `timeout_usec` at most. Afterwards each one has a status or an error: -ENXIO if nobody reads the
 * FIFO, -ETIMEDOUT, -ENOENT if there is no FIFO, -EPERM if it is not the monitor's, or what open(2) and
 * write(2) say. */
void request_status(GPtrArray *monitors, const char *line, gint64 timeout_usec);

/* The sentence for an error of a monitor. */
const char *request_describe(int error);
