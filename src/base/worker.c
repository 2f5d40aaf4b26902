/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/worker.h"

#include "base/fd.h"
#include "base/pidfd.h"
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

typedef struct {
        const WorkerKind *kind;
        const void *arg;
} Work;

static int
do_work(const void *arg)
{
        const Work *work = arg;
        char answer[WORKER_ANSWER_MAX];
        size_t len = work->kind->task(work->arg, answer);
        return fd_write_all(PROCESS_FIRST_FD, answer, len) == 0 ? 0 : 1;
}

static void
finish(Worker *w)
{
        watch_done(&w->watch);
        fd_close(&w->fd);
        fd_close(&w->pidfd);
        w->busy = false;
}

static void
on_answer(GIOCondition revents, void *data)
{
        Worker *w = data;
        char answer[WORKER_ANSWER_MAX];
        ssize_t n = fd_read(w->fd, answer, sizeof answer);
        finish(w);
        w->func(answer, n > 0 ? (size_t)n : 0, w->data);
}

int
worker_start(Worker *w, const WorkerKind *kind, const void *arg, int in, int out)
{
        int ends[2];
        Work work = {kind, arg};
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = process_start(
                &(ProcessSpec){
                        .name = kind->name,
                        .run = do_work,
                        .arg = &work,
                        .stdio = {in, out},
                        .fds = &ends[1],
                        .n_fds = 1,
                        .dies_with_parent = true,
                        .confined = true,
                        .sandbox = kind->sandbox,
                },
                NULL);
        (void)close(ends[1]);
        w->fd = ends[0];
        if (pid < 0) {
                fd_close(&w->fd);
                return pid;
        }
        w->pidfd = pidfd_new(pid); /* not reaped yet, so the pid can't be another process's */
        w->busy = true;
        watch_init(&w->watch, w->fd, WATCH_PRIORITY_IO, on_answer, w);
        watch_arm(&w->watch, G_IO_IN);
        return 0;
}

void
worker_save(const Worker *w, StateWriter *state, const char *name)
{
        state_begin(state, name);
        state_put_uint(state, "busy", w->busy);
        if (w->busy) {
                state_put_fd(state, "answer", w->fd);
                state_put_fd(state, "process", w->pidfd);
        }
        state_end(state);
}

void
worker_restore(Worker *w, StateReader *r, const char *name)
{
        state_enter(r, name);
        w->busy = state_get_bool(r, "busy");
        if (w->busy) {
                w->fd = state_get_fd(r, "answer");
                w->pidfd = state_get_fd(r, "process");
                watch_init(&w->watch, w->fd, WATCH_PRIORITY_IO, on_answer, w);
                watch_arm(&w->watch, G_IO_IN);
        }
        state_leave(r);
}

void
worker_stop(Worker *w)
{
        if (!w->busy)
                return;
        if (w->pidfd >= 0)
                (void)pidfd_signal(w->pidfd, 0, SIGKILL);
        finish(w);
}
