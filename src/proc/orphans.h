/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Processes of the container that remain after its timeout, or after the runtime has failed, and that no
 * other program would stop. */

#include "base/state.h"

#include <glib.h>
#include <sys/types.h>

/* The children that the process had before it became the monitor (a shell that executes it may have started
 * some). They are not the container's. All zero: none. */
typedef struct Bystanders {
        GArray *list;
} Bystanders;

/* To be called before the monitor starts any process. */
void bystanders_record(Bystanders *b);
void bystanders_done(Bystanders *b);

/* Live upgrade. */
void bystanders_save(const Bystanders *b, StateWriter *w);
void bystanders_restore(Bystanders *b, StateReader *r);

/* Sends SIGKILL to a process and everything that descends from it, whatever its session or process group. The
 * processes are stopped first, so that none escapes by starting another one. Where the kernel does not list
 * children (/proc/PID/task/TID/children, proc(5)), the process alone is killed. */
void orphans_kill_tree(pid_t pid);

/* Sends SIGKILL to what monitors of exec sessions run in the container `cid`, and to all that descends from
 * it, as far as these monitors are children of this one: they are if something that it started has started
 * them. */
void orphans_kill_sessions(const char *cid);

/* Sends SIGKILL to the monitor's children that it did not start itself: those in a session of their own,
 * as containers are, but for bystanders. Their children become the monitor's and are killed as well. They
 * are reaped, within half a second in all. With `failed`, a message says that the failed runtime has left
 * them behind. */
void orphans_kill(const Bystanders *bystanders, bool failed);
