/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The state CREATING: the runtime runs, and succeeds or fails. Children that exit meanwhile may turn out
 * to be the container. */

#include "core/monitor.h"

void creation_init(Runtime *r);
void creation_done(Runtime *r);

/* The container runs: output is no longer held back. */
void creation_over(Runtime *r);

/* waitpid(2) gave this status for the runtime: the container runs now, or could not be created. */
void creation_on_runtime_end(Monitor *m, int status);

/* A child other than the runtime has exited; it may be the container. */
void creation_note_end(Runtime *r, pid_t pid, int status);
