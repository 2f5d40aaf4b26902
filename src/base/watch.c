/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/watch.h"

#include "base/fd.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#define SAME(condition) ((int)G_IO_##condition == POLL##condition && POLL##condition == (int)EPOLL##condition)
G_STATIC_ASSERT(SAME(IN) && SAME(PRI) && SAME(OUT) && SAME(ERR) && SAME(HUP));

#define NEVER G_MAXINT64

/* The alarm is not set to a later time, which a time_t of 32 bits may not be able to hold. */
#define ALARM_MAX (G_GINT64_CONSTANT(1000000) * G_MAXINT32)

/* The loop of the process. Only one thread uses it at a time. */
static struct {
        bool is_open;      /* `set` and `alarm` exist, or could not be created (-1) */
        int set;           /* epoll, level-triggered */
        int alarm;         /* a timerfd in the set */
        gint64 alarm_at;   /* when the alarm comes, perhaps too early; NEVER: it is not set */
        GQueue armed;      /* watches, in the set or not */
        guint n_in_set;    /* how many of them are in the set */
        GQueue ready;      /* watches that are to be called in this round; all have one priority */
        GQueue running;    /* timers, the one that is due first at the head */
        guint64 n_started; /* timers, ever */
        struct epoll_event *events;
        guint n_events; /* room for so many */
        struct pollfd *fds;
        guint n_fds; /* room for so many */
} loop = {.set = -1, .alarm = -1, .alarm_at = NEVER};

/* ---- lists ---- */

static bool
is_linked(const GList *link)
{
        return link->data != NULL;
}

static void
link_after(GQueue *list, GList *sibling, GList *link, void *owner)
{
        *link = (GList){.data = owner};
        g_queue_insert_after_link(list, sibling, link);
}

static void
unlink_from(GQueue *list, GList *link)
{
        if (!is_linked(link))
                return;
        g_queue_unlink(list, link);
        link->data = NULL;
}

static void *
pop_head(GQueue *list)
{
        void *owner = g_queue_peek_head(list);
        if (owner)
                unlink_from(list, list->head);
        return owner;
}

/* ---- watches ---- */

/* Without a set, for what trickles, and for what epoll_ctl(2) refuses for whatever reason (EPERM: a file;
 * EEXIST: another watch has the descriptor; ENOSPC, ENOMEM), poll(2) does the same more slowly. */
static void
put_into_set(Watch *w, int operation)
{
        struct epoll_event event = {.events = w->events, .data.ptr = w};
        w->in_set = loop.set >= 0 && !w->trickles && epoll_ctl(loop.set, operation, w->fd, &event) == 0;
        loop.n_in_set += w->in_set;
}

static void
take_out_of_set(Watch *w)
{
        if (w->in_set)
                (void)epoll_ctl(loop.set, EPOLL_CTL_DEL, w->fd, NULL);
        loop.n_in_set -= w->in_set;
        w->in_set = false;
}

static void
change_in_set(Watch *w)
{
        struct epoll_event event = {.events = w->events, .data.ptr = w};
        if (epoll_ctl(loop.set, EPOLL_CTL_MOD, w->fd, &event) < 0)
                take_out_of_set(w);
}

void
watch_init(Watch *w, int fd, int priority, WatchFunc func, void *data)
{
        *w = (Watch){.fd = fd, .priority = priority, .func = func, .data = data};
}

void
watch_expect_trickle(Watch *w, bool expected)
{
        if (w->trickles == expected)
                return;
        w->trickles = expected;
        if (expected)
                take_out_of_set(w);
        else if (is_linked(&w->armed))
                put_into_set(w, EPOLL_CTL_ADD);
}

void
watch_arm(Watch *w, GIOCondition events)
{
        if (is_linked(&w->armed) && w->events == events)
                return;
        w->events = events;
        w->revents &= events | G_IO_ERR | G_IO_HUP | G_IO_NVAL;
        if (w->revents == 0)
                unlink_from(&loop.ready, &w->ready);
        if (w->in_set) {
                change_in_set(w);
                return;
        }
        if (!is_linked(&w->armed))
                link_after(&loop.armed, loop.armed.tail, &w->armed, w);
        put_into_set(w, EPOLL_CTL_ADD);
}

/* Or epoll would report errors and hangups, which can't be masked, again and again. */
void
watch_disarm(Watch *w)
{
        if (!is_linked(&w->armed))
                return;
        take_out_of_set(w);
        unlink_from(&loop.armed, &w->armed);
        unlink_from(&loop.ready, &w->ready);
}

void
watch_done(Watch *w)
{
        watch_disarm(w);
}

/* ---- timers ---- */

void
timer_init(Timer *t, TimerFunc func, void *data)
{
        *t = (Timer){.func = func, .data = data};
}

void
timer_start(Timer *t, gint64 usec)
{
        gint64 now = g_get_monotonic_time();
        timer_stop(t);
        t->due = MAX(now + MIN(usec, NEVER - now), 0);
        t->start = loop.n_started++;
        GList *before = loop.running.tail;
        while (before && ((Timer *)before->data)->due > t->due)
                before = before->prev;
        link_after(&loop.running, before, &t->running, t);
}

void
timer_stop(Timer *t)
{
        unlink_from(&loop.running, &t->running);
}

gboolean
timer_is_running(const Timer *t)
{
        return is_linked(&t->running);
}

void
timer_save(const Timer *t, StateWriter *w, const char *name)
{
        state_put_int(w, name, timer_is_running(t) ? t->due : -1);
}

void
timer_restore(Timer *t, StateReader *r, const char *name)
{
        gint64 due = state_get_int(r, name, -1, INT64_MAX / 2);
        if (due >= 0 && !state_failed(r))
                timer_start(t, due - g_get_monotonic_time());
}

static gint64
first_due(void)
{
        const Timer *first = g_queue_peek_head(&loop.running);
        return first ? first->due : NEVER;
}

/* One that is due, and was started before so many others. */
static Timer *
find_due(gint64 now, guint64 n_started)
{
        for (GList *at = loop.running.head; at && ((Timer *)at->data)->due <= now; at = at->next)
                if (((Timer *)at->data)->start < n_started)
                        return at->data;
        return NULL;
}

/* Timers that these start wait for the next round. */
static void
serve_timers(gint64 now)
{
        guint64 n_started = loop.n_started;
        Timer *t;
        while ((t = find_due(now, n_started))) {
                timer_stop(t);
                t->func(t->data);
        }
}

/* Sets the alarm, unless it comes earlier anyway: a timer that is started again and again, each time for
 * later, costs no system calls. */
static void
set_alarm(gint64 due)
{
        gint64 at = MIN(due, ALARM_MAX);
        struct itimerspec when = {.it_value = {at / G_USEC_PER_SEC, at % G_USEC_PER_SEC * 1000}};
        if (loop.alarm >= 0 && timerfd_settime(loop.alarm, TFD_TIMER_ABSTIME, &when, NULL) == 0)
                loop.alarm_at = at;
}

/* True if the alarm will not tell when the next timer is due. */
static bool
must_look_at_clock(void)
{
        return first_due() < loop.alarm_at;
}

/* How long to wait, in microseconds; negative: for events only. */
static gint64
time_to_wait(void)
{
        if (!must_look_at_clock())
                return -1;
        gint64 due = first_due(), now = g_get_monotonic_time();
        if (due > now)
                set_alarm(due);
        return must_look_at_clock() ? MAX(due - now, 0) : -1;
}

/* ---- the loop ---- */

/* Edge-triggered: nobody needs to read it, nor to stop it if its timer was stopped. */
static void
open_alarm(void)
{
        struct epoll_event event = {.events = EPOLLIN | EPOLLET};
        loop.alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        if (epoll_ctl(loop.set, EPOLL_CTL_ADD, loop.alarm, &event) < 0)
                fd_close(&loop.alarm);
}

static void
loop_open(void)
{
        loop.is_open = true;
        loop.set = epoll_create1(EPOLL_CLOEXEC);
        if (loop.set < 0)
                return;
        open_alarm();
        for (GList *at = loop.armed.head; at; at = at->next)
                put_into_set(at->data, EPOLL_CTL_ADD);
}

void
loop_close(void)
{
        for (GList *at = loop.armed.head; at; at = at->next)
                ((Watch *)at->data)->in_set = false;
        loop.n_in_set = 0;
        fd_close(&loop.alarm);
        fd_close(&loop.set);
        loop.alarm_at = NEVER;
        loop.is_open = false;
}

static void
clear_ready(void)
{
        while (pop_head(&loop.ready))
                ;
}

static void
note_ready(Watch *w, GIOCondition revents)
{
        const Watch *other = g_queue_peek_head(&loop.ready);
        if (other && w->priority > other->priority)
                return;
        if (other && w->priority < other->priority)
                clear_ready();
        w->revents = revents;
        link_after(&loop.ready, loop.ready.tail, &w->ready, w);
}

static void
ask_set(int timeout)
{
        int n = epoll_wait(loop.set, loop.events, (int)loop.n_events, timeout);
        for (int i = 0; i < n; i++)
                if (loop.events[i].data.ptr)
                        note_ready(loop.events[i].data.ptr, (GIOCondition)loop.events[i].events);
                else
                        loop.alarm_at = NEVER;
}

/* The set, the watches that are not in it, and a limited time. */
static void
ask_all(gint64 usec)
{
        guint n = 0;
        struct timespec limit = {usec / G_USEC_PER_SEC, usec % G_USEC_PER_SEC * 1000};
        if (loop.n_fds < 1 + loop.armed.length) {
                loop.n_fds = 2 * (loop.armed.length + 8);
                loop.fds = g_renew(struct pollfd, loop.fds, loop.n_fds);
        }
        struct pollfd *fds = loop.fds;
        for (GList *at = loop.armed.head; at; at = at->next) {
                const Watch *w = at->data;
                if (!w->in_set)
                        fds[n++] = (struct pollfd){.fd = w->fd, .events = (short)w->events};
        }
        /* Last: what has priority, as a new client has over output, must not be looked at earlier. */
        fds[n] = (struct pollfd){.fd = loop.set, .events = POLLIN};
        if (ppoll(fds, n + 1, usec < 0 ? NULL : &limit, NULL) <= 0)
                return;
        if (fds[n].revents)
                ask_set(0);
        n = 0;
        for (GList *at = loop.armed.head; at; at = at->next) {
                Watch *w = at->data;
                if (!w->in_set && fds[n++].revents)
                        note_ready(w, (GIOCondition)fds[n - 1].revents);
        }
}

static void
ask(gint64 usec)
{
        /* Room for all of them: none may hide one of a higher priority. */
        if (loop.n_events < loop.n_in_set + 1) {
                loop.n_events = 2 * (loop.n_in_set + 8);
                loop.events = g_renew(struct epoll_event, loop.events, loop.n_events);
        }
        if (loop.set < 0 || usec > 0 || loop.n_in_set < loop.armed.length)
                ask_all(usec);
        else
                ask_set(usec < 0 ? -1 : 0);
}

bool
loop_iterate(bool wait)
{
        if (!loop.is_open)
                loop_open();
        clear_ready(); /* those of the round in which this one runs: they are found again */
        ask(wait ? time_to_wait() : 0);
        const Watch *first = g_queue_peek_head(&loop.ready);
        gint64 now = must_look_at_clock() ? g_get_monotonic_time() : -1;
        if (first_due() <= now && (!first || first->priority > WATCH_PRIORITY_TIMER)) {
                serve_timers(now);
                return true;
        }
        for (Watch *w; (w = pop_head(&loop.ready));)
                w->func(w->revents, w->data);
        return first != NULL;
}
