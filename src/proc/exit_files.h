/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The files that report to callers how a container ended: podman and CRI-O watch their directories and read
 * each file once, so every file appears whole, under its own name, by rename(2). */

#include "base/errands.h"

/* The exit code of a container whose exit status is unknown, or that was killed after its timeout. */
#define EXIT_CODE_UNKNOWN (-1)

/* These add steps to errands, one for each file. A directory that is NULL has none. The files are
 * independent: a failure of one is reported (diag_error) and does not affect the others. */

/* The code, decimal and without a newline, in <persist_dir>/exit and then in <exit_dir>/<cid>. */
void exit_files_add(Errands *e, const char *persist_dir, const char *exit_dir, const char *cid, int code);

/* The empty files <persist_dir>/oom and <bundle>/oom: the container ran out of memory. */
void oom_files_add(Errands *e, const char *persist_dir, const char *bundle);
