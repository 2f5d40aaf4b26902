#pragma once

/* Notices that the kernel killed something in a container because memory ran out. On cgroup version 2 that is
 * a counter in memory.events that moved, on version 1 an event of memory.oom_control (Linux,
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst). */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct OomWatch OomWatch;

/* Called at most once in the life of a watch. */
typedef void (*OomFunc)(void *data);

/* Starts to watch the cgroup in which `pid` is now. What happened there before does not count. Returns NULL
 * if there is nothing that could be watched: a cgroup that is missing or not ours is worth a debug message,
 * anything unexpected one warning. `on_oom` is never called from within this function. */
OomWatch *oom_watch_new(pid_t pid, OomFunc on_oom, void *data);

/* The same for a directory that is known already; `unified` says version 2. */
OomWatch *oom_watch_new_in(const char *dir, bool unified, OomFunc on_oom, void *data);

/* Looks once more: the last event may have come with the end of the container, unseen. May call on_oom. A
 * cgroup that is gone by now tells nothing. NULL is fine. */
void oom_watch_check(OomWatch *w);

/* Stops and frees. NULL is fine. */
void oom_watch_free(OomWatch *w);

/* The two counters that count; one that a kernel does not have stays 0. */
typedef struct OomCounts {
        uint64_t oom;
        uint64_t oom_kill;
} OomCounts;

/* Reads the lines `oom N` and `oom_kill N` out of the text of memory.events or memory.oom_control. */
OomCounts oom_counts_parse(const char *text);
