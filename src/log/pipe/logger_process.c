/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/pipe/logger_process.h"

#include "base/fd.h"
#include "base/pidfd.h"
#include "base/process.h"
#include "base/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* How long a logger and its children have after SIGTERM. */
#define STOP_MS          12000
#define GROUP_CHECK_USEC (100 * 1000)

/* What log collectors need as root: files of any owner, changing their user, any sockets, limits. Not the
 * kernel, devices, file systems, network configuration or the memory of other processes. */
#define LOGGER_RIGHTS                                                                                  \
        (RIGHT(CAP_CHOWN) | RIGHT(CAP_DAC_OVERRIDE) | RIGHT(CAP_DAC_READ_SEARCH) | RIGHT(CAP_FOWNER) | \
         RIGHT(CAP_FSETID) | RIGHT(CAP_LINUX_IMMUTABLE) | RIGHT(CAP_LEASE) | RIGHT(CAP_MAC_OVERRIDE) | \
         RIGHT(CAP_KILL) | RIGHT(CAP_SETUID) | RIGHT(CAP_SETGID) | RIGHT(CAP_SETPCAP) |                \
         RIGHT(CAP_SYS_CHROOT) | RIGHT(CAP_NET_BIND_SERVICE) | RIGHT(CAP_NET_BROADCAST) |              \
         RIGHT(CAP_NET_RAW) | RIGHT(CAP_IPC_LOCK) | RIGHT(CAP_IPC_OWNER) | RIGHT(CAP_AUDIT_WRITE) |    \
         RIGHT(CAP_SYS_NICE) | RIGHT(CAP_SYS_RESOURCE))

static void
forget(LoggerProcess *p)
{
        watch_done(&p->pid_watch);
        watch_done(&p->ready_watch);
        fd_close(&p->pidfd);
        fd_close(&p->ready_fd);
        p->pid = 0;
}

static void
on_ready(GIOCondition revents, void *data)
{
        LoggerProcess *p = data;
        watch_done(&p->ready_watch);
        fd_close(&p->ready_fd);
        p->func(p, false, p->data);
}

/* ---- the end of a process group ---- */

typedef struct {
        pid_t group;
        int64_t deadline; /* of the monotonic clock, in milliseconds */
} Ending;

static int64_t
now_ms(void)
{
        return g_get_monotonic_time() / 1000;
}

/* Waits until the group is empty or its time is up. As long as the group has members, its number is not
 * reused, and it can't be reused between two checks. */
static int
end_group(const void *arg)
{
        const Ending *e = arg;
        (void)pidfd_wait(PROCESS_FIRST_FD, (int)(e->deadline - now_ms())); /* the logger itself */
        while (now_ms() < e->deadline) {
                if (kill(-e->group, 0) < 0 && errno == ESRCH)
                        return 0;
                g_usleep(GROUP_CHECK_USEC);
        }
        (void)kill(-e->group, SIGKILL);
        return 0;
}

/* The logger may have children that outlive it. */
static void
stop_group(const LoggerProcess *p)
{
        Ending ending = {.group = p->pid, .deadline = now_ms() + STOP_MS};
        if (kill(-p->pid, SIGTERM) < 0)
                return;
        (void)process_start(
                &(ProcessSpec){
                        .name = "conmon-logger",
                        .run = end_group,
                        .arg = &ending,
                        .fds = &p->pidfd,
                        .n_fds = 1,
                        .confined = true,
                        .rights = RIGHT(CAP_KILL),
                        .sandbox = SANDBOX_LOGGER_END,
                },
                NULL);
}

static void
on_end(GIOCondition revents, void *data)
{
        LoggerProcess *p = data;
        stop_group(p);
        forget(p);
        p->func(p, true, p->data);
}

static void
watch_process(LoggerProcess *p)
{
        if (p->ready_fd >= 0) {
                watch_init(&p->ready_watch, p->ready_fd, WATCH_PRIORITY_IO, on_ready, p);
                watch_arm(&p->ready_watch, G_IO_IN);
        }
        watch_init(&p->pid_watch, p->pidfd, WATCH_PRIORITY_IO, on_end, p);
        watch_arm(&p->pid_watch, G_IO_IN);
}

bool
logger_process_is_supported(void)
{
        return pidfd_is_supported();
}

/* Returns the pid or -errno. */
static pid_t
start(const LoggerProcess *p, int out, int err, int ready)
{
        const int fds[] = {out, err, ready};
        return process_start(
                &(ProcessSpec){
                        .argv = p->argv,
                        .environment = p->environment,
                        .fds = fds,
                        .n_fds = G_N_ELEMENTS(fds),
                        .own_group = true,
                        .confined = true,
                        .rights = LOGGER_RIGHTS,
                },
                NULL);
}

int
logger_process_start(LoggerProcess *p, int out, int err)
{
        int ready[2];
        if (pipe2(ready, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = start(p, out, err, ready[1]);
        (void)close(ready[1]);
        int pidfd = pid < 0 ? (int)pid : pidfd_new(pid);
        if (pidfd < 0) {
                /* Its exit would not be detected. */
                if (pid > 0)
                        (void)kill(-pid, SIGKILL);
                (void)close(ready[0]);
                return pidfd;
        }
        p->pid = pid;
        p->pidfd = pidfd;
        p->ready_fd = ready[0];
        watch_process(p);
        return 0;
}

void
logger_process_save(const LoggerProcess *p, StateWriter *w)
{
        state_begin(w, "logger");
        state_put_uint(w, "pid", (uint64_t)p->pid);
        if (p->pid > 0) {
                state_put_fd(w, "process", p->pidfd);
                state_put_fd(w, "ready", p->ready_fd);
        }
        state_end(w);
}

void
logger_process_restore(LoggerProcess *p, StateReader *r)
{
        state_enter(r, "logger");
        p->pid = (pid_t)state_get_uint(r, "pid", INT32_MAX);
        if (p->pid == 1)
                state_fail(r, "The external logger can't be process 1"); /* nor its group all processes */
        if (p->pid > 0) {
                p->pidfd = state_get_fd(r, "process");
                p->ready_fd = state_get_fd(r, "ready");
                watch_process(p);
        }
        state_leave(r);
}

void
logger_process_stop(LoggerProcess *p)
{
        if (p->pid == 0)
                return;
        stop_group(p);
        forget(p);
}
