#pragma once

/* Where the kernel accounts the memory of a process (cgroups(7)). */

#include <stdbool.h>
#include <sys/types.h>

/* Where the hierarchies are mounted. */
#define CGROUP_ROOT "/sys/fs/cgroup"

/* Finds a process's place in the text of /proc/PID/cgroup, whose lines are `ID:CONTROLLERS:PATH`. With
 * `unified` (version 2) that is the line `0::PATH` and nothing else; without it the line whose list of
 * controllers has `memory` as one of its names. Returns the directory relative to CGROUP_ROOT, freed with
 * g_free: PATH, or CONTROLLERS/PATH for version 1. NULL if there is no such line, or if the path leads out of
 * what this process can see (cgroup_namespaces(7) shows that as `/..`). */
char *cgroup_parse(const char *text, bool unified);

/* Finds the directory of the memory controller for `pid`; it need not exist. `root` is CGROUP_ROOT except in
 * tests. *ret_dir is freed with g_free; *ret_unified tells version 2 from version 1. Returns 0 or -errno:
 * -ENOENT or -ESRCH if the process is gone or has no such cgroup. */
int cgroup_memory_dir(const char *root, pid_t pid, bool *ret_unified, char **ret_dir);
