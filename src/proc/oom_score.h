/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* How likely the OOM killer is to choose a process (/proc/PID/oom_score_adj, proc(5)). The monitor exempts
 * itself; its children get the value with which the monitor was started. */

/* The text of oom_score_adj as it was, without a newline; empty: unknown. */
typedef struct OomScore {
        char text[16];
} OomScore;

/* Stores the own value in *ret_before and sets it to -1000 (never kill). Both may fail, which is normal
 * for an ordinary user and worth a debug message only; a value that could not be read is stored as
 * unknown. */
void oom_score_protect(OomScore *ret_before);

/* The value for a child's `oom_score` (base/process.h): what the monitor was started with, NULL if
 * unknown. */
const char *oom_score_text(const OomScore *score);
