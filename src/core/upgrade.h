/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Live upgrade: replaces the program while the container runs. This is the side of the old program.
 *
 *     state written, sealed --> checked by the new program --> guard started --> new program executed
 *           `-- any error --> this program continues, and reports why
 *
 * The guard is a copy of this process that waits until the new program has taken over. If that exits before,
 * the copy continues as the monitor: with a different pid, and, if the kernel does not report the container's
 * exit code to a process that is not its parent (before Linux 6.15), without the exit code. */

#include "core/monitor.h"

/* What the program is executed with. */
#define UPGRADE_VARIABLE "_CONMON_STATE" /* the descriptor of the state */
#define UPGRADE_CHECK    "--check-state" /* with the descriptor: only to check it */

/* The answer of the checking program if it can restore the state; otherwise its answer is the reason. */
#define UPGRADE_CHECKED "ok"

/* The report to the guard after the takeover; anything else is an error message. */
#define UPGRADE_DONE '\1'

/* For request_begin; `monitor` is a Monitor. Answers the request, or does not return: then the new program
 * answers it. */
void upgrade_run(void *monitor);
