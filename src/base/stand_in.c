/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/stand_in.h"

#include "base/fd.h"
#include "base/thread.h"
#include "base/watch.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#define TICK_USEC (G_USEC_PER_SEC / 100)

/* Ticks between two checks, while no call takes long. */
#define IDLE_TICKS 10

/* After so many ticks in slow calls, the next slow call is considered stuck. */
#define SLOW_TICKS_MAX 20

/* After so many ticks without a slow call, earlier ones are forgotten; without any call, the thread ends. */
#define QUIET_TICKS 100

/* How often a loop that can't be woken up looks whether it is needed. */
#define LOOK_USEC (G_USEC_PER_SEC / 50)

/* `call` is a number that each call raises by CALL, with these flags. */
enum {
        LENT = 1,      /* the main thread is in the call */
        TAKEN = 2,     /* and the stand-in runs the loop */
        UNWATCHED = 4, /* no thread is watching */
        CALL = 8,
};

struct StandIn {
        StandInFunc serve;
        void *data;
        bool allowed;
        unsigned number; /* `call` without flags */
        atomic_uint call;
        atomic_bool over;

        GMutex lock;
        GCond changed;
        /* The rest is protected by the lock. */
        pthread_t thread;
        bool joinable; /* it was started, and not joined yet */
        bool exists;   /* the thread, and it is not about to end */
        bool serving; /* also read by the thread that runs the loop */
        bool served;
        bool stop;
        int wake; /* an eventfd, while it runs the loop; -1: none is left */
        Watch wake_watch;
        Timer look_timer; /* instead */
};

StandIn *
stand_in_new(StandInFunc serve, void *data)
{
        StandIn *s = g_new0(StandIn, 1);
        s->serve = serve;
        s->data = data;
        s->wake = -1;
        atomic_init(&s->call, UNWATCHED);
        g_mutex_init(&s->lock);
        g_cond_init(&s->changed);
        return s;
}

static void
stop_thread(StandIn *s)
{
        g_mutex_lock(&s->lock);
        s->stop = true;
        if (s->exists)
                g_cond_broadcast(&s->changed);
        g_mutex_unlock(&s->lock);
}

void
stand_in_allow(StandIn *s, bool allowed)
{
        s->allowed = allowed;
        if (!allowed && !s->serving)
                stop_thread(s);
}

/* That the loop returns from its wait is enough. */
static void
on_wake(GIOCondition revents, void *data)
{
}

static void
on_look(void *data)
{
        timer_start(&((StandIn *)data)->look_timer, LOOK_USEC);
}

/* Called with the lock, which is released meanwhile. */
static void
serve(StandIn *s)
{
        s->serving = s->served = true;
        g_mutex_unlock(&s->lock);
        watch_init(&s->wake_watch, s->wake, WATCH_PRIORITY_SIGNAL, on_wake, s);
        timer_init(&s->look_timer, on_look, s);
        if (s->wake >= 0)
                watch_arm(&s->wake_watch, G_IO_IN);
        else
                timer_start(&s->look_timer, LOOK_USEC);
        s->serve(s->data);
        watch_done(&s->wake_watch);
        timer_stop(&s->look_timer);
        g_mutex_lock(&s->lock);
        while (!atomic_load(&s->over))
                g_cond_wait(&s->changed, &s->lock);
        s->serving = false;
        g_cond_broadcast(&s->changed);
}

/* The main thread is stuck in the call with this number: runs the loop, unless the call has just returned. */
static void
take_over(StandIn *s, unsigned call)
{
        s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (atomic_compare_exchange_strong(&s->call, &call, call | TAKEN))
                serve(s);
        fd_close(&s->wake);
}

/* A child with a parent-death signal gets it when the thread that started it ends. So a thread that has been
 * a stand-in does not end. */
static bool
leave(StandIn *s)
{
        while (s->served && !s->stop && atomic_load(&s->call) & UNWATCHED)
                g_cond_wait(&s->changed, &s->lock);
        return !s->served;
}

static void
wait_for_ticks(StandIn *s, int n)
{
        gint64 until = g_get_monotonic_time() + n * TICK_USEC;
        while (!s->stop && g_cond_wait_until(&s->changed, &s->lock, until))
                ;
}

/* Ticks are counted, not time: on a busy machine both threads are delayed. */
static void
watch(StandIn *s)
{
        unsigned seen = atomic_load(&s->call);
        int n = 1, same = 0, slow_ticks = 0, quiet = 0;
        while (!s->stop) {
                wait_for_ticks(s, n);
                unsigned call = atomic_load(&s->call);
                same = call == seen ? same + n : 0;
                seen = call;
                bool slow = same > 0 && call & LENT;
                quiet = slow ? 0 : MIN(quiet + n, QUIET_TICKS);
                if (slow)
                        slow_ticks = MIN(slow_ticks + n, SLOW_TICKS_MAX);
                else if (quiet == QUIET_TICKS)
                        slow_ticks = 0;
                n = slow_ticks > 0 || (call & LENT && n > 1) ? 1 : IDLE_TICKS;
                if (slow && slow_ticks == SLOW_TICKS_MAX) {
                        take_over(s, call);
                } else if (same >= QUIET_TICKS && !(call & LENT) &&
                           atomic_compare_exchange_strong(&s->call, &call, call | UNWATCHED)) {
                        if (leave(s))
                                return;
                        same = 0;
                }
        }
}

static void *
run_thread(void *data)
{
        StandIn *s = data;
        g_mutex_lock(&s->lock);
        watch(s);
        s->exists = false;
        g_cond_broadcast(&s->changed);
        g_mutex_unlock(&s->lock);
        return NULL;
}

/* A thread that ends no longer needs the lock of the stand-in, but those of the libraries. */
static void
wait_for_end(StandIn *s)
{
        while (s->exists)
                g_cond_wait(&s->changed, &s->lock);
        if (s->joinable)
                (void)pthread_join(s->thread, NULL);
        s->joinable = false;
}

/* No thread, for example for lack of memory: the call is not watched. */
static void
start_thread(StandIn *s)
{
        wait_for_end(s);
        s->exists = s->joinable = thread_start(&s->thread, "stand-in", run_thread, s);
}

StandIn *
stand_in_lend(StandIn *s)
{
        if (!s || !s->allowed || s->serving)
                return NULL;
        unsigned watched = s->number;
        if (atomic_compare_exchange_strong(&s->call, &watched, s->number | LENT))
                return s;
        g_mutex_lock(&s->lock);
        if (!s->exists || !s->served)
                start_thread(s);
        atomic_store(&s->call, s->number | LENT | (s->exists ? 0 : UNWATCHED));
        g_cond_broadcast(&s->changed);
        g_mutex_unlock(&s->lock);
        return s;
}

static void
wait_for_loop(StandIn *s)
{
        int error = errno;
        atomic_store(&s->over, true);
        g_mutex_lock(&s->lock);
        (void)fd_write_all(s->wake, &(uint64_t){1}, sizeof(uint64_t));
        g_cond_broadcast(&s->changed);
        while (s->serving)
                g_cond_wait(&s->changed, &s->lock);
        atomic_store(&s->over, false);
        atomic_store(&s->call, s->number);
        g_mutex_unlock(&s->lock);
        errno = error;
}

void
stand_in_take_back(StandIn *s)
{
        if (!s)
                return;
        unsigned call = s->number | LENT;
        s->number += CALL;
        if (atomic_compare_exchange_strong(&s->call, &call, s->number))
                return;
        if (call & TAKEN)
                wait_for_loop(s);
        else
                atomic_store(&s->call, s->number | UNWATCHED);
}

void
stand_in_rest(StandIn *s)
{
        stop_thread(s);
        g_mutex_lock(&s->lock);
        wait_for_end(s);
        s->stop = !s->allowed;
        s->served = false;
        atomic_store(&s->call, s->number | UNWATCHED);
        g_mutex_unlock(&s->lock);
}

bool
stand_in_serves(const StandIn *s)
{
        return s && s->serving;
}

bool
stand_in_is_over(const StandIn *s)
{
        return atomic_load(&s->over);
}

void
stand_in_free(StandIn *s)
{
        if (!s)
                return;
        stop_thread(s);
        g_mutex_lock(&s->lock);
        wait_for_end(s);
        g_mutex_unlock(&s->lock);
        g_mutex_clear(&s->lock);
        g_cond_clear(&s->changed);
        g_free(s);
}
