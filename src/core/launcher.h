/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The process that the caller waits for. */

#include "core/options.h"
#include "proc/inherited_fds.h"

#include <sys/types.h>

/* Writes the file of --conmon-pidfile, if it was given. */
gboolean launcher_write_pidfile(const Options *o, pid_t pid, GError **error);

/* Performs all checks that can fail, waits for the start pipe, and forks the monitor, or becomes it
 * (--sync). `inherited` was recorded at the very start; takes ownership. Returns the exit status of the
 * process, which in the launcher itself is that of the start. */
int launcher_run(const Options *options, const InheritedFds *inherited);
