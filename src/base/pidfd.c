/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/pidfd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's interface (include/uapi/linux/pidfd.h), which headers older than Linux 6.15 lack. */
typedef struct {
        uint64_t mask; /* the requested fields, then the known ones */
        uint64_t cgroup_id;
        uint32_t pid, tgid, ppid;
        uint32_t ids[8];
        int32_t exit_code;
} PidfdInfo;

#define INFO_EXIT (UINT64_C(1) << 3)
#define GET_INFO  _IOWR(0xFF, 11, PidfdInfo)

_Static_assert(sizeof(PidfdInfo) == 64, "the first version of the kernel's struct");

int
pidfd_new(pid_t pid)
{
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        return fd < 0 ? -errno : fd;
}

bool
pidfd_is_supported(void)
{
        return pidfd_new(-1) != -ENOSYS;
}

int
pidfd_signal(int pidfd, pid_t pid, int signal)
{
        if (pidfd >= 0) {
                if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) == 0)
                        return 0;
                /* A seccomp filter does not know the call. */
                if (errno != ENOSYS && errno != EPERM)
                        return -errno;
        }
        return kill(pid, signal) < 0 ? -errno : 0;
}

bool
pidfd_wait(int pidfd, int timeout_ms)
{
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        return poll(&p, 1, timeout_ms) > 0;
}

/* Returns 0, or -errno of the call. */
static int
get_info(int pidfd, PidfdInfo *ret)
{
        *ret = (PidfdInfo){.mask = INFO_EXIT};
        if (ioctl(pidfd, GET_INFO, ret) == 0)
                return 0;
        /* It was reaped after the kernel had looked for the status, which is available now. */
        *ret = (PidfdInfo){.mask = INFO_EXIT};
        return errno == ESRCH && ioctl(pidfd, GET_INFO, ret) == 0 ? 0 : -errno;
}

int
pidfd_exit_status(int pidfd, int *ret_status)
{
        PidfdInfo info;
        struct pollfd p = {.fd = pidfd};
        /* Polled first, because the process may be reaped between the two calls. */
        bool reaped = poll(&p, 1, 0) > 0 && (p.revents & POLLHUP);
        int r = get_info(pidfd, &info);
        if (r < 0)
                return r;
        if (info.mask & INFO_EXIT) {
                *ret_status = info.exit_code;
                return 0;
        }
        /* Reaped, but no status: the kernel has the call, but is older than Linux 6.15. */
        return reaped ? -ENODATA : PIDFD_E_NOT_REAPED;
}
