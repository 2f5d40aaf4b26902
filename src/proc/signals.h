/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The signals that the monitor takes: SIGTERM, SIGINT and SIGQUIT, which are for the container; SIGCHLD;
 * and SIGUSR1, SIGUSR2, SIGHUP and SIGALRM, which would terminate it otherwise, and only make it check its
 * children. They come through a signalfd (signalfd(2)) while they are blocked. */

#include "base/watch.h"

#include <glib.h>
#include <signal.h>
#include <stdbool.h>

typedef void (*SignalFunc)(int signal, void *data);

typedef struct SignalWatch {
        int fd;
        Watch watch;
        SignalFunc func;
        void *data;
} SignalWatch;

/* Blocks them and stores the previous mask, for the processes that the monitor starts. Signals stay
 * pending until signal_watch_start. */
void signals_block(sigset_t *ret_before);

gboolean signal_watch_start(SignalWatch *w, SignalFunc func, void *data, GError **error);
/* The same with the signalfd of the old program (live upgrade). */
void signal_watch_restore(SignalWatch *w, SignalFunc func, void *data, StateReader *r);
void signal_watch_save(const SignalWatch *w, StateWriter *state);

void signal_watch_done(SignalWatch *w);

/* True for those that are for the container. */
bool signal_is_for_container(int signal);

/* Waits until this time (g_get_monotonic_time), or until SIGTERM, SIGINT or SIGQUIT, and reaps children
 * meanwhile. The signals must be blocked. */
void signals_sleep_until(gint64 usec);
