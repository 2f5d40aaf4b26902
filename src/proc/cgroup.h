/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Where the kernel accounts the memory of a process (cgroups(7)). */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Where the hierarchies are mounted. */
#define CGROUP_ROOT "/sys/fs/cgroup"

/* Finds the cgroup of a process in the text of /proc/PID/cgroup, whose lines are `ID:CONTROLLERS:PATH`.
 * With `unified` (version 2) that is the line `0::PATH` and nothing else; without it the line whose list
 * of controllers has this one as one of its names. Returns the directory relative to CGROUP_ROOT, freed
 * with g_free: PATH, or CONTROLLERS/PATH for version 1. NULL if there is no such line, or if the path
 * leads out of what this process can see (cgroup_namespaces(7) shows that as `/..`). */
char *cgroup_parse(const char *text, bool unified, const char *controller);

/* Returns the length of the part of `path`, a path in the hierarchy as from cgroup_parse, that is the
 * container's own cgroup. The container may have created cgroups below that (systemd's `init.scope`, crun's
 * `container`); cgroups above it count other containers as well. It is the innermost component with the
 * container's id as a word of its name, such as `libpod-ID.scope`. If there is none, it is the innermost
 * scope, which systemd creates for a container, except `init.scope`, and unless it also contains `monitor`,
 * the path of this process. Otherwise it is the whole path. *ret_named is true if the name has the id: then
 * the cgroup was created for this container. */
size_t cgroup_own_length(const char *path, const char *monitor, const char *id, bool *ret_named);

/* The cgroup that accounts the memory of a container. */
typedef struct CgroupMemory {
        char *dir; /* need not exist; freed with g_free */
        bool unified;
        bool named; /* after the container, and thus created for it */
} CgroupMemory;

/* Finds it for the container `id`, one of whose processes is `pid`. Version 2: the container's own, whose
 * counters include all below it; if it has no memory controller, none below has. Version 1: that of the
 * process itself, where the kernel counts and notifies. `root` is CGROUP_ROOT except in tests. Returns 0
 * or -errno: -ENOENT or -ESRCH if the process is gone or has no such cgroup. */
int cgroup_find_memory(const char *root, pid_t pid, const char *id, CgroupMemory *ret);

/* True if the process is frozen, as paused containers are, or about to be. `root` is CGROUP_ROOT except in
 * tests. */
bool cgroup_is_frozen(const char *root, pid_t pid);
