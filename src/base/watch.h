/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The main loop and its event sources, embedded in the struct that owns the descriptor.
 *
 * A Watch or Timer may be armed, disarmed and finished at any time, also from inside its own callback or that
 * of another source. Finish a Watch before its descriptor is closed: disarm, close, free. The loop may be run
 * inside a callback, also by another thread while the first one waits.
 *
 * Nothing here fails. Without epoll(7) or a timerfd, for example for lack of descriptors, the loop uses
 * poll(2), as it does for single watches that epoll does not take: files, which are always ready, and further
 * watches of the same descriptor. */

#include "base/state.h"

#include <glib.h>
#include <stdbool.h>

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
        int fd;
        int priority;
        WatchFunc func;
        void *data;
        GIOCondition events;  /* waited for while armed */
        GIOCondition revents; /* reported in this round */
        bool trickles;        /* see watch_expect_trickle */
        bool in_set;          /* epoll waits for it; else poll(2) does */
        GList armed;          /* its places in the lists of the loop; data is NULL: not in this list */
        GList ready;
} Watch;

/* Prepares a watch, not yet armed. The descriptor stays the caller's. */
void watch_init(Watch *w, int fd, int priority, WatchFunc func, void *data);

/* For a descriptor to which the other side writes a few bytes at a time: poll(2) waits for it instead of
 * epoll(7), whose code each of these write(2) calls would run, even while nobody waits. But such a watch
 * makes each wait a little slower, and loses its turn: the others are called in the order in which they
 * became ready. Not initially. */
void watch_expect_trickle(Watch *w, bool expected);

/* Waits for `events` from now on; replaces what was waited for before. */
void watch_arm(Watch *w, GIOCondition events);

/* Stops waiting. Harmless on a watch that is not armed or was never initialised (all zero). */
void watch_disarm(Watch *w);

/* Stops waiting for good, before the descriptor is closed. The watch may be initialised again. */
void watch_done(Watch *w);

typedef void (*TimerFunc)(void *data);

typedef struct Timer {
        TimerFunc func;
        void *data;
        gint64 due;    /* while it runs; g_get_monotonic_time */
        guint64 start; /* the number of this start, of all starts of timers */
        GList running; /* its place in the list of the loop; data is NULL: it does not run */
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

/* One round: calls the functions of those sources that are ready and have the highest priority among them.
 * With `wait` it waits until there is one; it may return without, for example after a signal. Returns true if
 * a function was called. */
bool loop_iterate(bool wait);

/* Closes the descriptors of the loop; the next round opens new ones. The sources stay. For a copy of the
 * process (fork(2)), whose changes would affect the original, and before all other descriptors are closed. */
void loop_close(void);
