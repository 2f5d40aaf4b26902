#include "log/worker.h"

#include "base/fd.h"
#include "base/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

G_NORETURN static void
run_child(pid_t monitor, LogWorkerTask task, const void *arg, int in, int out, int pipe)
{
        char answer[LOG_WORKER_ANSWER_MAX];
        sigset_t none;
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        if ((in >= 0 && dup2(in, STDIN_FILENO) < 0) || (out >= 0 && dup2(out, STDOUT_FILENO) < 0))
                _exit(1);
        fd_close_range(STDERR_FILENO + 1, (unsigned)pipe - 1);
        fd_close_range((unsigned)pipe + 1, ~0U);
        rights_give_up(0);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != monitor)
                _exit(1); /* it died before prctl; nobody could use the answer */
        size_t len = task(arg, answer);
        _exit(fd_write_all(pipe, answer, len) == 0 ? 0 : 1);
}

static void
finish(LogWorker *w)
{
        watch_done(&w->watch);
        fd_close(&w->fd);
        fd_close(&w->pidfd);
        w->busy = false;
}

static void
on_answer(GIOCondition revents, void *data)
{
        LogWorker *w = data;
        char answer[LOG_WORKER_ANSWER_MAX];
        ssize_t n = fd_read(w->fd, answer, sizeof answer);
        finish(w);
        w->func(answer, n > 0 ? (size_t)n : 0, w->data);
}

int
log_worker_start(LogWorker *w, LogWorkerTask task, const void *arg, int in, int out)
{
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        pid_t monitor = getpid(), pid = fork();
        if (pid == 0)
                run_child(monitor, task, arg, in, out, ends[1]);
        int error = errno;
        (void)close(ends[1]);
        w->fd = ends[0];
        if (pid < 0) {
                fd_close(&w->fd);
                return -error;
        }
        /* Not reaped yet, so the number can't be somebody else's. */
        w->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        w->busy = true;
        watch_init(&w->watch, w->fd, WATCH_PRIORITY_IO, on_answer, w);
        watch_arm(&w->watch, G_IO_IN);
        return 0;
}

void
log_worker_stop(LogWorker *w)
{
        if (!w->busy)
                return;
        if (w->pidfd >= 0)
                (void)syscall(SYS_pidfd_send_signal, w->pidfd, SIGKILL, NULL, 0);
        finish(w);
}
