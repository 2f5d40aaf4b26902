#pragma once

/* The descriptors above stderr with which the monitor was started. Callers leak some on purpose
 * (sockets that reserve ports, pipes whose end tells a helper that the container is gone): they stay
 * open while the container runs. */

#include <glib.h>
#include <stdbool.h>

typedef struct InheritedFds {
        GArray *fds;  /* of int */
        bool unknown; /* there is no /proc */
} InheritedFds;

/* Remembers what is open now. To be called before anything is opened. Also makes sure that 0, 1 and 2 are
 * open (on /dev/null if they weren't), so that no file of the monitor gets one of these numbers. */
void inherited_fds_record(InheritedFds *f);

/* Whether the caller gave `fd` to the monitor, and it is not forgotten. What was closed then may be a file
 * of the monitor's own now. */
bool inherited_fds_have(const InheritedFds *f, int fd);

/* `fd` has an owner of its own in the monitor now (a pipe of the caller), or is closed.
 * Negative numbers are fine. */
void inherited_fds_forget(InheritedFds *f, int fd);

/* Closes those that were not forgotten. */
void inherited_fds_close(InheritedFds *f);

void inherited_fds_done(InheritedFds *f);
