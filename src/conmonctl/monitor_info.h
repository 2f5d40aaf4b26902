/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The monitors of this host. There is no registry: a monitor is a process called "conmon" whose command line
 * names a container. Any user may run a process of that name, so only files of the same user are opened on
 * its behalf. */

#include "conmonctl/monitor_status.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct MonitorInfo {
        pid_t pid;
        pid_t parent;
        uid_t uid;
        gint64 started_usec; /* microseconds since 1970 */
        char *cid;
        char *name;              /* NULL: the engine gave none */
        const char *engine;      /* "podman", "cri-o", or "-" if unknown */
        bool exec;               /* of an exec session */
        bool outdated;           /* the program file it runs has been replaced or removed */
        char *directory;         /* of ctl and log-status.json, as this process can open it; NULL: none */
        char *persist_directory; /* of the final log-status.json, if it is another one */
        pid_t container_pid;     /* 0: unknown */
        gint64 memory;           /* private dirty memory, bytes; -1: unknown */
        MonitorStatus *status;   /* NULL until request_status has read it */
        int error;               /* why there is no status: -errno; 0: it was not requested */
} MonitorInfo;

/* All monitors that this user may see (root: all), sorted by name and id. Returns MonitorInfo *, freed with
 * the array. */
GPtrArray *monitor_info_list(void);

/* Opens a file that the monitor names, which is untrusted: no symlink is followed, and a file that has
 * another type (S_IFMT) or owner is not even opened, because that could wait for the other end of a FIFO, or
 * start a device. Returns the descriptor or -errno. */
int monitor_info_open(const MonitorInfo *m, const char *path, int flags, mode_t type);

/* The first 12 characters of the id, as engines show it. The caller frees it. */
char *monitor_info_short_id(const MonitorInfo *m);

/* The fewest characters by which an id can be abbreviated. */
#define ID_PREFIX_MIN 3

/* True if `text` is this container's id, the beginning of it (ID_PREFIX_MIN characters), its name, or a
 * pattern (glob(7)) that its name matches. */
bool monitor_info_matches(const MonitorInfo *m, const char *text);
