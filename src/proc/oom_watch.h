/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Detects that the kernel killed a process of a container because memory ran out. On cgroup version 2 that
 * is a counter in memory.events that moved, on version 1 an event of memory.oom_control (Linux,
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst). Changes of memory.events come as
 * POLLPRI: inotify instances are few (128 for a user). */

#include "base/state.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct OomWatch OomWatch;

/* Called at most once in the life of a watch. */
typedef void (*OomFunc)(void *data);

/* Starts to watch the memory of the container `id`, one of whose processes is `pid` (cgroup.h says where). Of
 * a cgroup that was made for this container everything counts that happened there, also before this call: if
 * it is `new_container`, and the cgroup has its name. Otherwise only what happens from now on. Returns NULL
 * if there is nothing that could be watched: a cgroup that is missing or not ours is worth a debug message,
 * anything unexpected one warning. `on_oom` is never called from within this function. */
OomWatch *oom_watch_new(pid_t pid, const char *id, bool new_container, OomFunc on_oom, void *data);

/* The same for a directory that is known already; `unified` is for version 2, `from_zero` for a cgroup of
 * which everything counts. */
OomWatch *oom_watch_new_in(const char *dir, bool unified, bool from_zero, OomFunc on_oom, void *data);

/* Looks at the counters: after the start for what happened before, at the end for an event that came with
 * it. May call on_oom. A removed cgroup is no event. NULL is allowed. */
void oom_watch_check(OomWatch *w);

/* Live upgrade. NULL is allowed, and is returned for NULL and for a stopped watch. */
void oom_watch_save(const OomWatch *w, StateWriter *state);
OomWatch *oom_watch_restore(StateReader *r, OomFunc on_oom, void *data);

/* Stops and frees. NULL is allowed. */
void oom_watch_free(OomWatch *w);

/* The two relevant counters; one that the kernel lacks is 0. */
typedef struct OomCounts {
        uint64_t oom;
        uint64_t oom_kill;
} OomCounts;

/* Reads the lines `oom N` and `oom_kill N` out of the text of memory.events or memory.oom_control. */
OomCounts oom_counts_parse(const char *text);
