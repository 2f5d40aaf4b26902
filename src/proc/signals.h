#pragma once

/* The signals that the monitor takes: SIGTERM, SIGINT and SIGQUIT, which are for the container; SIGCHLD; and
 * SIGUSR1, SIGUSR2, SIGHUP and SIGALRM, which would end it otherwise, and only make it look at its children.
 * They come through a signalfd (signalfd(2)) while they are blocked. */

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

/* Blocks them and remembers the mask as it was, for the processes that the monitor starts. What comes from
 * now on waits for signal_watch_start. */
void signals_block(sigset_t *ret_before);

gboolean signal_watch_start(SignalWatch *w, SignalFunc func, void *data, GError **error);
void signal_watch_done(SignalWatch *w);

/* True for those that are for the container. */
bool signal_is_for_container(int signal);

/* Waits at most `seconds`, but not longer than until SIGTERM, SIGINT or SIGQUIT, and reaps children
 * meanwhile. The signals must be blocked. */
void signals_sleep(int seconds);
