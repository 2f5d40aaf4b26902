/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The descriptors above stderr with which the monitor was started. Callers leak some on purpose (sockets
 * that reserve ports, pipes whose end of file tells a helper that the container is gone): they stay open
 * while the container runs. */

#include "base/state.h"

#include <glib.h>
#include <stdbool.h>

typedef struct InheritedFds {
        GArray *fds;  /* of int */
        bool unknown; /* there is no /proc */
} InheritedFds;

/* Records the open descriptors. To be called before anything is opened. Also makes sure that 0, 1 and 2
 * are open (on /dev/null if they weren't), so that no file of the monitor gets one of these numbers. */
void inherited_fds_record(InheritedFds *f);

/* Whether the monitor inherited `fd`, and it was not forgotten. A number that was closed then may now be a
 * file of the monitor. */
bool inherited_fds_have(const InheritedFds *f, int fd);

/* Forgets `fd`, which has another owner in the monitor now (a pipe of the caller), or was closed. Negative
 * numbers are allowed. */
void inherited_fds_forget(InheritedFds *f, int fd);

/* Live upgrade. */
void inherited_fds_save(const InheritedFds *f, StateWriter *w);
void inherited_fds_restore(InheritedFds *f, StateReader *r);

void inherited_fds_done(InheritedFds *f);
