/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/container_process.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/pidfd.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a zombie may wait for its parent, if that is not the monitor. */
#define REAP_USEC (G_USEC_PER_SEC / 2)

#define PID_TEXT_MAX 4096

pid_t
pid_file_read(const char *path, GError **error)
{
        g_autofree char *text = NULL;
        guint64 pid = 0;
        int r = fd_read_file(path, PID_TEXT_MAX, &text, NULL);
        if (r == -EFBIG) {
                error_set(error, CONMON_ERROR_FAILED,
                          "The runtime left no process id in %s, but more than %d bytes", path, PID_TEXT_MAX);
                return 0;
        }
        if (r < 0) {
                error_set_errno(error, r, "Failed to open file %s", path);
                return 0;
        }
        g_strstrip(text);
        /* Process 1 existed before the container. */
        if (g_ascii_string_to_unsigned(text, 10, 2, G_MAXINT, &pid, NULL))
                return (pid_t)pid;
        error_set(error, CONMON_ERROR_FAILED, "The runtime left no process id in %s, but '%.20s'", path,
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
        timer_stop(&p->reap_timer);
        p->on_end(known, status, p->data);
}

/* Not a child of the monitor, or reaped by another process: newer kernels still know the status. */
static void
set_reaped_by_others(ContainerProcess *p)
{
        int status = 0;
        p->reaped_by_others = true;
        bool known = p->pidfd >= 0 && pidfd_exit_status(p->pidfd, &status) == 0;
        set_ended(p, known, status);
}

pid_t
process_reap(pid_t pid, int *ret_status)
{
        pid_t r;
        do
                r = waitpid(pid, ret_status, WNOHANG);
        while (r < 0 && errno == EINTR);
        return r;
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
        pid_t r = process_reap(p->pid, &status);
        if (r == p->pid)
                set_ended(p, true, status);
        else if (r < 0 && errno == ECHILD && container_process_signal(p, 0) == -ESRCH)
                set_reaped_by_others(p);
}

static bool
is_child(const ContainerProcess *p)
{
        siginfo_t info;
        return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void
on_not_reaped(void *data)
{
        set_reaped_by_others(data);
}

/* The kernel reports the status after the parent has reaped the process, which should happen soon. */
static void
wait_for_parent(ContainerProcess *p)
{
        int status = 0;
        if (pidfd_exit_status(p->pidfd, &status) != PIDFD_E_NOT_REAPED) {
                set_reaped_by_others(p);
                return;
        }
        watch_arm(&p->watch, G_IO_HUP);
        if (!timer_is_running(&p->reap_timer))
                timer_start(&p->reap_timer, REAP_USEC);
}

static void
on_pidfd(GIOCondition revents, void *data)
{
        ContainerProcess *p = data;
        container_process_check(p);
        if (p->ended)
                return;
        /* A tracer gets the status of a process first (ptrace(2)); the parent gets SIGCHLD later. A zombie
         * of another parent still accepts signals; the pidfd reports its exit. */
        if (is_child(p))
                watch_disarm(&p->watch);
        else
                wait_for_parent(p);
}

void
container_process_init(ContainerProcess *p, pid_t pid, ProcessEndFunc on_end, void *data)
{
        *p = (ContainerProcess){.pid = pid, .pidfd = -1, .on_end = on_end, .data = data};
        timer_init(&p->reap_timer, on_not_reaped, p);
}

void
container_process_watch(ContainerProcess *p)
{
        p->pidfd = pidfd_new(p->pid);
        if (p->pidfd >= 0) {
                watch_init(&p->watch, p->pidfd, WATCH_PRIORITY_SIGNAL, on_pidfd, p);
                watch_arm(&p->watch, G_IO_IN);
        } else if (p->pidfd == -ESRCH) {
                set_reaped_by_others(p);
        } else {
                diag_debug("No pidfd for process %d: %s; its end is noticed by SIGCHLD", p->pid,
                           strerror(-p->pidfd));
        }
}

void
container_process_save(const ContainerProcess *p, StateWriter *w)
{
        state_begin(w, "process");
        state_put_uint(w, "pid", (uint64_t)p->pid);
        state_put_fd(w, "descriptor", p->pidfd);
        state_end(w);
}

/* A zombie that waits for its parent is detected again. */
void
container_process_restore(ContainerProcess *p, StateReader *r, ProcessEndFunc on_end, void *data)
{
        state_enter(r, "process");
        container_process_init(p, (pid_t)state_get_uint(r, "pid", INT32_MAX), on_end, data);
        if (p->pid < 2)
                state_fail(r, "The container's process can't be %d", (int)p->pid);
        p->pidfd = state_get_fd(r, "descriptor");
        state_leave(r);
        if (p->pidfd < 0)
                return;
        watch_init(&p->watch, p->pidfd, WATCH_PRIORITY_SIGNAL, on_pidfd, p);
        watch_arm(&p->watch, G_IO_IN);
}

int
container_process_signal(const ContainerProcess *p, int signal)
{
        if (p->pid == 0 || p->ended)
                return -ESRCH;
        return pidfd_signal(p->pidfd, p->pid, signal);
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
        timer_stop(&p->reap_timer);
        fd_close(&p->pidfd);
}
