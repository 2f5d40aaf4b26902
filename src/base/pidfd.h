/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Processes by descriptor (pidfd_open(2)): unlike a pid, a pidfd never refers to a later process. Without
 * pidfds (before Linux 5.3, or in valgrind) the pid alone is used. */

#include <stdbool.h>
#include <sys/types.h>

/* Returns a descriptor (close-on-exec), which the caller closes, or -errno: -ESRCH if there is no such
 * process, -ENOSYS if the kernel has no pidfds. It becomes readable when the process ends. */
int pidfd_new(pid_t pid);

/* False if the kernel has no pidfds. */
bool pidfd_is_supported(void);

/* Sends a signal to the process; 0 sends none and only checks. If pidfd is negative, or a system call filter
 * does not know pidfd_send_signal(2), the signal goes to `pid`. Returns 0 or -errno. */
int pidfd_signal(int pidfd, pid_t pid, int signal);

/* Waits until the process has ended, `timeout_ms` milliseconds at most. Returns true if it has ended. */
bool pidfd_wait(int pidfd, int timeout_ms);

/* Results of pidfd_exit_status besides 0 and -errno. */
enum {
        PIDFD_E_NOT_REAPED = 1, /* its parent has not reaped it yet: the pidfd will report POLLHUP */
};

/* The status, as of waitpid(2), of a process that another process has reaped (PIDFD_GET_INFO of ioctl(2),
 * Linux 6.15 and newer). Returns 0 with *ret_status set, PIDFD_E_NOT_REAPED, or -errno if the kernel doesn't
 * know it. */
int pidfd_exit_status(int pidfd, int *ret_status);
