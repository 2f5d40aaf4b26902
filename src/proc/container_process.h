#pragma once

/* The container's first process. Its end is noticed through a pidfd, whoever its parent is, and signals go
 * through the pidfd, so that they never reach another process that has the same number later. */

#include "base/watch.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* The process has ended. `status` is as of waitpid(2) if known. Called once. */
typedef void (*ProcessEndFunc)(bool status_known, int status, void *data);

/* Embedded in its owner; all zero means that there is no process. */
typedef struct ContainerProcess {
        pid_t pid; /* 0: not yet there */
        int pidfd; /* -1: the kernel has given none; then only children are noticed */
        bool ended;
        Watch watch;
        ProcessEndFunc on_end;
        void *data;
} ContainerProcess;

/* Reads a pid file as the runtime writes it: one positive decimal number, white space around it allowed.
 * Returns the pid or 0 with *error set. */
pid_t pid_file_read(const char *path, GError **error);

void container_process_init(ContainerProcess *p, pid_t pid, ProcessEndFunc on_end, void *data);

/* Starts to watch. Calls on_end at once if the process is gone already. */
void container_process_watch(ContainerProcess *p);

/* waitpid(2) gave this status for the process, which need not be watched yet. */
void container_process_reaped(ContainerProcess *p, int status);

/* Looks whether the process, a child or not, has ended. */
void container_process_check(ContainerProcess *p);

/* Returns 0 or -errno; -ESRCH if it has ended. */
int container_process_signal(const ContainerProcess *p, int signal);

/* SIGKILL to the whole process group of the process, or to the process alone if it
 * is in no group of its own. */
void container_process_kill_group(const ContainerProcess *p);

void container_process_done(ContainerProcess *p);
