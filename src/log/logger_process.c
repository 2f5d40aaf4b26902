#include "log/logger_process.h"

#include "base/fd.h"
#include "base/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OUT_FD   3
#define ERR_FD   4
#define READY_FD 5

#define STOP_MS 12000

/* What programs that collect logs do as root: files of any owner, other users for themselves,
 * sockets of any kind, limits. Not the kernel, devices, file systems, the network's
 * configuration, other processes' memory. */
#define LOGGER_RIGHTS                                                                                  \
        (RIGHT(CAP_CHOWN) | RIGHT(CAP_DAC_OVERRIDE) | RIGHT(CAP_DAC_READ_SEARCH) | RIGHT(CAP_FOWNER) | \
         RIGHT(CAP_FSETID) | RIGHT(CAP_LINUX_IMMUTABLE) | RIGHT(CAP_LEASE) | RIGHT(CAP_MAC_OVERRIDE) | \
         RIGHT(CAP_KILL) | RIGHT(CAP_SETUID) | RIGHT(CAP_SETGID) | RIGHT(CAP_SETPCAP) |                \
         RIGHT(CAP_SYS_CHROOT) | RIGHT(CAP_NET_BIND_SERVICE) | RIGHT(CAP_NET_BROADCAST) |              \
         RIGHT(CAP_NET_RAW) | RIGHT(CAP_IPC_LOCK) | RIGHT(CAP_IPC_OWNER) | RIGHT(CAP_AUDIT_WRITE) |    \
         RIGHT(CAP_SYS_NICE) | RIGHT(CAP_SYS_RESOURCE))

/* ---- in the child ---- */

/* A protection from the OOM killer is for the monitor alone. */
static void
drop_protection(void)
{
        g_autofree char *score = NULL;
        if (fd_read_file("/proc/self/oom_score_adj", 16, &score, NULL) < 0 || atoi(score) >= 0)
                return;
        autofd int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
                (void)fd_write_all(fd, "0", 1);
}

/* Moves descriptors to their places, of which each may be in use by another one now. */
static bool
place_descriptors(int out, int err, int ready)
{
        int from[] = {out, err, ready};
        for (size_t i = 0; i < G_N_ELEMENTS(from); i++)
                if ((from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, READY_FD + 1)) < 0)
                        return false;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int fd = 0; fd < OUT_FD && null >= 0; fd++)
                (void)dup2(null, fd);
        for (int i = 0; i < (int)G_N_ELEMENTS(from); i++)
                if (dup2(from[i], OUT_FD + i) < 0)
                        return false;
        fd_close_range(READY_FD + 1, ~0U);
        return null >= 0;
}

G_NORETURN static void
run_child(const LoggerProcess *p, int out, int err, int ready)
{
        sigset_t none;
        (void)setpgid(0, 0);
        drop_protection();
        (void)signal(SIGPIPE, SIG_DFL);
        (void)signal(SIGTERM, SIG_DFL);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        rights_give_up(LOGGER_RIGHTS);
        if (place_descriptors(out, err, ready))
                (void)execve(p->argv[0], p->argv, p->environment);
        _exit(127);
}

/* ---- in the monitor ---- */

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

static void
on_end(GIOCondition revents, void *data)
{
        LoggerProcess *p = data;
        forget(p);
        p->func(p, true, p->data);
}

static void
watch_process(LoggerProcess *p)
{
        watch_init(&p->ready_watch, p->ready_fd, WATCH_PRIORITY_IO, on_ready, p);
        watch_arm(&p->ready_watch, G_IO_IN);
        watch_init(&p->pid_watch, p->pidfd, WATCH_PRIORITY_IO, on_end, p);
        watch_arm(&p->pid_watch, G_IO_IN);
}

bool
logger_process_is_supported(void)
{
        return syscall(SYS_pidfd_open, -1, 0) >= 0 || errno != ENOSYS;
}

int
logger_process_start(LoggerProcess *p, int out, int err)
{
        int ready[2];
        if (pipe2(ready, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid == 0)
                run_child(p, out, err, ready[1]);
        int error = errno;
        (void)close(ready[1]);
        if (pid < 0) {
                (void)close(ready[0]);
                return -error;
        }
        /* Also here, so that the group exists when a signal is sent to it. */
        (void)setpgid(pid, pid);
        int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (pidfd < 0) {
                /* Its end would not be noticed. */
                error = errno;
                (void)kill(-pid, SIGKILL);
                (void)close(ready[0]);
                return -error;
        }
        p->pid = pid;
        p->pidfd = pidfd;
        p->ready_fd = ready[0];
        watch_process(p);
        return 0;
}

/* Stays behind until the logger has ended or its time is up. */
G_NORETURN static void
run_reaper(pid_t pid, int pidfd)
{
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        fd_close_range(0, (unsigned)pidfd - 1);
        fd_close_range((unsigned)pidfd + 1, ~0U);
        (void)prctl(PR_SET_NAME, "conmon-logger");
        rights_give_up(RIGHT(CAP_KILL));
        if (poll(&p, 1, STOP_MS) == 0)
                (void)kill(-pid, SIGKILL);
        _exit(0);
}

void
logger_process_stop(LoggerProcess *p)
{
        if (p->pid == 0)
                return;
        struct pollfd ended = {.fd = p->pidfd, .events = POLLIN};
        if (poll(&ended, 1, 0) == 0) {
                (void)kill(-p->pid, SIGTERM);
                if (fork() == 0)
                        run_reaper(p->pid, p->pidfd);
        }
        forget(p);
}
