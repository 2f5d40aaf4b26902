#include "proc/container_process.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PID_TEXT_MAX 4096

pid_t
pid_file_read(const char *path, GError **error)
{
        g_autofree char *text = NULL;
        guint64 pid = 0;
        int r = fd_read_file(path, PID_TEXT_MAX, &text, NULL);
        if (r < 0) {
                error_set_errno(error, r, "Failed to open file %s", path);
                return 0;
        }
        g_strstrip(text);
        if (g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT, &pid, NULL))
                return (pid_t)pid;
        error_set(error, CONMON_ERROR_FAILED, "The runtime left no process id in %s, but “%.20s”", path,
                  text);
        return 0;
}

static void
set_ended(ContainerProcess *p, bool known, int status)
{
        if (p->ended)
                return;
        p->ended = true;
        watch_disarm(&p->watch);
        p->on_end(known, status, p->data);
}

void
container_process_reaped(ContainerProcess *p, int status)
{
        set_ended(p, true, status);
}

void
container_process_check(ContainerProcess *p)
{
        int status = 0;
        if (p->pid == 0 || p->ended)
                return;
        pid_t r = TEMP_FAILURE_RETRY(waitpid(p->pid, &status, WNOHANG));
        if (r == p->pid)
                set_ended(p, true, status);
        else if (r < 0 && errno == ECHILD && container_process_signal(p, 0) == -ESRCH)
                set_ended(p, false, 0); /* not a child of ours, or somebody else took the status */
}

static bool
is_child(const ContainerProcess *p)
{
        siginfo_t info;
        return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void
on_pidfd(GIOCondition revents, void *data)
{
        ContainerProcess *p = data;
        container_process_check(p);
        if (p->ended)
                return;
        /* Who traces a process gets its status first (ptrace(2)); then there will be SIGCHLD for the parent.
         * A zombie of another parent answers signals; the pidfd says that it is over. */
        if (is_child(p))
                watch_disarm(&p->watch);
        else
                set_ended(p, false, 0);
}

void
container_process_init(ContainerProcess *p, pid_t pid, ProcessEndFunc on_end, void *data)
{
        *p = (ContainerProcess){.pid = pid, .pidfd = -1, .on_end = on_end, .data = data};
}

void
container_process_watch(ContainerProcess *p)
{
        p->pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
        if (p->pidfd >= 0) {
                watch_init(&p->watch, p->pidfd, WATCH_PRIORITY_SIGNAL, on_pidfd, p);
                watch_arm(&p->watch, G_IO_IN);
        } else if (errno == ESRCH) {
                set_ended(p, false, 0);
        } else {
                diag_debug("No pidfd for process %d: %s; its end is noticed by SIGCHLD", p->pid,
                           strerror(errno));
        }
}

int
container_process_signal(const ContainerProcess *p, int signal)
{
        if (p->pid == 0 || p->ended)
                return -ESRCH;
        if (p->pidfd >= 0 && syscall(SYS_pidfd_send_signal, p->pidfd, signal, NULL, 0) == 0)
                return 0;
        /* A filter that does not know the call. */
        if (p->pidfd >= 0 && errno != ENOSYS && errno != EPERM)
                return -errno;
        return kill(p->pid, signal) < 0 ? -errno : 0;
}

void
container_process_kill_group(const ContainerProcess *p)
{
        if (p->pid == 0 || p->ended)
                return;
        pid_t group = getpgid(p->pid);
        if (group > 1 && group != getpgrp() && kill(-group, SIGKILL) == 0)
                return;
        int r = container_process_signal(p, SIGKILL);
        if (r < 0 && r != -ESRCH)
                diag_error("Failed to kill the container's process %d: %s", p->pid, strerror(-r));
}

void
container_process_done(ContainerProcess *p)
{
        if (p->pid == 0)
                return;
        watch_done(&p->watch);
        fd_close(&p->pidfd);
}
