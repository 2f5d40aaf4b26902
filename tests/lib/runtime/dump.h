/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Writes the attributes of this process as one JSON object to `path`, atomically: argv, env, cwd, pid, ppid,
 * pgid, sid, umask, oom_score_adj, the signal masks "blocked" and "ignored" (hexadecimal, as in
 * /proc/self/status), and for each open descriptor its target, kind, permission bits and status flags. Bytes
 * that are not ASCII are written as \u00XX. */
void dump_write(const char *path, char **argv);
