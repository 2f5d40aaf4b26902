#pragma once

/* The kernel's inclination to kill a process when memory runs out (/proc/PID/oom_score_adj, proc(5)). The
 * monitor asks to be spared; what it starts gets the value back that the monitor itself was started with. */

#include <stddef.h>

/* The text of oom_score_adj as it was, without a newline. All zero: unknown, nothing to restore. */
typedef struct OomScore {
        char text[16];
        size_t len;
} OomScore;

/* Remembers the own value in *ret_before and sets it to -1000 (never kill). Both may fail, which is normal
 * for an ordinary user and worth a debug message only; a value that could not be read is stored as unknown.
 */
void oom_score_protect(OomScore *ret_before);

/* Gives the calling process the remembered value. Async-signal-safe and silent: for use between fork(2) and
 * execve(2). errno may change. */
void oom_score_restore(const OomScore *before);
