/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What the monitor inherits from the process that started it. */

#include "base/errands.h"
#include "proc/inherited_fds.h"
#include "proc/oom_score.h"

#include <glib.h>
#include <signal.h>
#include <stdbool.h>

typedef struct Caller {
        InheritedFds inherited; /* closed before the end is reported to anyone */
        OomScore score;         /* passed on to child processes, like the signal mask */
        sigset_t mask;
        int start_fd; /* the caller's pipes; -1 if there are none */
        int sync_fd;
        int attach_fd;
} Caller;

/* Stores what was recorded at the very start; takes ownership. No pipe is open yet. */
void caller_init(Caller *c, const InheritedFds *inherited);

/* Take over the start pipe, then the others: the sync pipe, and with `exec_attach` the attach pipe, which
 * is required then. */
gboolean caller_open_start_pipe(Caller *c, GError **error);
gboolean caller_open_pipes(Caller *c, bool exec_attach, GError **error);

/* Adds steps that close everything but the sync pipe: closing a file may block on its disk, a socket on
 * its peer. */
void caller_add_closing(Caller *c, Errands *e);

/* Closes those of its pipes that are open. */
void caller_close_pipes(Caller *c);

/* Live upgrade; see upgrade.h. */
void caller_save(const Caller *c, StateWriter *w);
void caller_restore(Caller *c, StateReader *r);
