#pragma once

/* Writes what this process was given as one JSON object to `path`, which appears complete or not at
 * all: argv, env, cwd, pid, ppid, pgid, sid, umask, oom_score_adj, the signal masks "blocked"
 * and "ignored" (hexadecimal, as in /proc/self/status), and for each open descriptor its target, kind,
 * permission bits and status flags. Bytes that are not ASCII are written as \u00XX. */
void dump_write(const char *path, char **argv);
