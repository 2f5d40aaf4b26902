/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Event sources of the GLib main loop, embedded in the struct that owns the descriptor.
 *
 * A Watch or Timer may be armed, disarmed and finished at any time, also from inside its own callback.
 * Finish a Watch before its descriptor is closed: disarm, close, free. */

#include "base/state.h"

#include <glib.h>

/* Sources that are ready together are served in this order; lower ones wait for the next round. */
enum {
        WATCH_PRIORITY_SIGNAL = -300, /* signals and the end of processes */
        WATCH_PRIORITY_TIMER = -200,
        WATCH_PRIORITY_ACCEPT = -100, /* a client that connected before output must see that output */
        WATCH_PRIORITY_IO = 0,
};

/* `revents` is what poll(2) reported, including G_IO_HUP and G_IO_ERR that are never asked for. */
typedef void (*WatchFunc)(GIOCondition revents, void *data);

typedef struct Watch {
        GSource *source;
        gpointer tag; /* of the polled descriptor; NULL while disarmed */
        int fd;
        int priority;
        WatchFunc func;
        void *data;
} Watch;

/* Prepares a watch, not yet armed. The descriptor stays the caller's. */
void watch_init(Watch *w, int fd, int priority, WatchFunc func, void *data);

/* Waits for `events` from now on; replaces what was waited for before. */
void watch_arm(Watch *w, GIOCondition events);

/* Stops waiting. Harmless on a watch that is not armed or was never initialised (all zero). */
void watch_disarm(Watch *w);

/* Disarms and frees the source. The watch may be initialised again. */
void watch_done(Watch *w);

typedef void (*TimerFunc)(void *data);

typedef struct Timer {
        GSource *source;
        TimerFunc func;
        void *data;
} Timer;

/* Prepares a timer, not yet started. */
void timer_init(Timer *t, TimerFunc func, void *data);

/* Calls the function once, `usec` microseconds from now. A running timer is set again. */
void timer_start(Timer *t, gint64 usec);

/* Stops the timer. Harmless if it is not running or was never initialised (all zero). */
void timer_stop(Timer *t);

gboolean timer_is_running(const Timer *t);

/* Live upgrade: when it is due. timer_init comes before timer_restore. */
void timer_save(const Timer *t, StateWriter *w, const char *name);
void timer_restore(Timer *t, StateReader *r, const char *name);
