/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/signals.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

static void
fill(sigset_t *set)
{
        static const int signals[] = {SIGTERM, SIGINT, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2, SIGHUP, SIGALRM};
        sigemptyset(set);
        for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
                sigaddset(set, signals[i]);
}

bool
signal_is_for_container(int signal)
{
        return signal == SIGTERM || signal == SIGINT || signal == SIGQUIT;
}

void
signals_block(sigset_t *ret_before)
{
        sigset_t set;
        fill(&set);
        (void)sigprocmask(SIG_BLOCK, &set, ret_before);
}

static void
on_readable(GIOCondition revents, void *data)
{
        SignalWatch *w = data;
        struct signalfd_siginfo info;
        ssize_t n;
        while ((n = fd_read(w->fd, &info, sizeof info)) == sizeof info)
                w->func((int)info.ssi_signo, w->data);
        if (n != -EAGAIN)
                diag_warn("Failed to read a signal: %s", n < 0 ? strerror((int)-n) : "short read");
}

gboolean
signal_watch_start(SignalWatch *w, SignalFunc func, void *data, GError **error)
{
        sigset_t set;
        fill(&set);
        *w = (SignalWatch){.func = func, .data = data};
        w->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (w->fd < 0)
                return error_set_errno(error, errno, "Failed to create a signalfd");
        watch_init(&w->watch, w->fd, WATCH_PRIORITY_SIGNAL, on_readable, w);
        watch_arm(&w->watch, G_IO_IN);
        return TRUE;
}

void
signal_watch_save(const SignalWatch *w, StateWriter *state)
{
        state_put_fd(state, "signals", w->fd);
}

void
signal_watch_restore(SignalWatch *w, SignalFunc func, void *data, StateReader *r)
{
        *w = (SignalWatch){.func = func, .data = data, .fd = state_get_fd(r, "signals")};
        watch_init(&w->watch, w->fd, WATCH_PRIORITY_SIGNAL, on_readable, w);
        watch_arm(&w->watch, G_IO_IN);
}

void
signal_watch_done(SignalWatch *w)
{
        watch_done(&w->watch);
        fd_close(&w->fd);
}

void
signals_sleep_until(gint64 usec)
{
        sigset_t set;
        fill(&set);
        for (;;) {
                gint64 left = usec - g_get_monotonic_time();
                if (left <= 0)
                        return;
                struct timespec t = {.tv_sec = left / G_USEC_PER_SEC,
                                     .tv_nsec = (left % G_USEC_PER_SEC) * 1000};
                int signal = sigtimedwait(&set, NULL, &t);
                if (signal == SIGCHLD)
                        while (waitpid(-1, NULL, WNOHANG) > 0)
                                continue;
                else if (signal_is_for_container(signal))
                        return;
        }
}
