/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Detects that the kernel killed a process of a container because memory ran out: with cgroup version 2 a
 * counter in memory.events changes, with version 1 memory.oom_control has an event (Linux,
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst). Changes of memory.events are reported by
 * poll(2) as POLLPRI. inotify would report them, too, but a user may have few instances (128 by default). */

#include "base/state.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct OomWatch OomWatch;

/* Called at most once for each watch. */
typedef void (*OomFunc)(void *data);

/* Starts to watch the cgroup (see cgroup.h) of the container `id`, one of whose processes is `pid`. If it is
 * a `new_container`, and the cgroup is named after it, events before this call count as well: the cgroup was
 * created for this container. Returns NULL if nothing can be watched, with a debug message if the cgroup is
 * missing or belongs to another user, and a warning if the reason is unexpected. This function never calls
 * `on_oom`. */
OomWatch *oom_watch_new(pid_t pid, const char *id, bool new_container, OomFunc on_oom, void *data);

/* The same for a known directory. `unified`: cgroup version 2; `from_zero`: earlier events count as well. */
OomWatch *oom_watch_new_in(const char *dir, bool unified, bool from_zero, OomFunc on_oom, void *data);

/* Checks the counters: after the start for earlier events, at the end for one that ended the container. May
 * call on_oom. A removed cgroup is not an event. NULL is allowed. */
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

/* Parses the lines `oom N` and `oom_kill N` of memory.events or memory.oom_control. */
OomCounts oom_counts_parse(const char *text);
