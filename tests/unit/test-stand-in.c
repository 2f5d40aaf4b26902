/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/stand_in.h"

#include "base/watch.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STALL_USEC (G_USEC_PER_SEC)

typedef struct {
        StandIn *stand_in;
        GThread *thread; /* the last stand-in */
        int served;
        Timer timer;
        int ticks;
} Fixture;

static bool no_descriptors;

/* Takes the place of the C library's. */
int
eventfd(unsigned int value, int flags)
{
        errno = EMFILE;
        return no_descriptors ? -1 : (int)syscall(SYS_eventfd2, value, flags);
}

static void
serve(void *data)
{
        Fixture *f = data;
        f->served++;
        f->thread = g_thread_self();
        g_assert_true(stand_in_serves(f->stand_in));
        g_assert_null(stand_in_lend(f->stand_in));
        while (!stand_in_is_over(f->stand_in))
                loop_iterate(true);
}

static void
on_tick(void *data)
{
        Fixture *f = data;
        f->ticks++;
        timer_start(&f->timer, G_USEC_PER_SEC / 20);
}

static void
set_up(Fixture *f, gconstpointer data)
{
        f->stand_in = stand_in_new(serve, f);
        timer_init(&f->timer, on_tick, f);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
        timer_stop(&f->timer);
        stand_in_free(f->stand_in);
}

static void
call(Fixture *f, gint64 usec)
{
        StandIn *lent = stand_in_lend(f->stand_in);
        if (usec > 0)
                g_usleep((gulong)usec);
        errno = ENOSPC;
        stand_in_take_back(lent);
        g_assert_cmpint(errno, ==, ENOSPC);
}

/* The loop continues in another thread, and returns to this one. Twice, with the same thread. */
static void
test_stalls(Fixture *f, gconstpointer data)
{
        stand_in_allow(f->stand_in, true);
        timer_start(&f->timer, 0);
        for (int i = 1; i <= 2; i++) {
                int before = f->ticks;
                call(f, STALL_USEC);
                g_assert_cmpint(f->served, ==, i);
                g_assert_cmpint(f->ticks, >, before);
                g_assert_true(f->thread != g_thread_self());
                g_assert_false(stand_in_serves(f->stand_in));
        }
}

/* Slow calls together are as bad as one that is stuck, until the calls have been fast for a while. On a busy
 * machine fast ones may seem slow, so there are several attempts. */
static void
test_slow_calls(Fixture *f, gconstpointer data)
{
        int before, attempts = 10;
        stand_in_allow(f->stand_in, true);
        for (int i = 0; i < 40; i++)
                call(f, STALL_USEC / 20);
        g_assert_cmpint(f->served, >, 2);
        do {
                g_assert_cmpint(attempts--, >, 0);
                for (gint64 end = g_get_monotonic_time() + 3 * STALL_USEC / 2; g_get_monotonic_time() < end;
                     g_usleep(1000)) /* else most of the time that others take would be within a call */
                        call(f, 0);
                before = f->served;
                call(f, STALL_USEC / 20);
        } while (f->served > before);
}

static void
test_many_calls(Fixture *f, gconstpointer data)
{
        stand_in_allow(f->stand_in, true);
        for (gint64 end = g_get_monotonic_time() + STALL_USEC; g_get_monotonic_time() < end;)
                call(f, 0);
        g_assert_cmpint(f->served, ==, 0);
}

static void
test_not_allowed(Fixture *f, gconstpointer data)
{
        g_assert_null(stand_in_lend(NULL));
        call(f, STALL_USEC);
        stand_in_allow(f->stand_in, true);
        call(f, 0);
        stand_in_allow(f->stand_in, false);
        call(f, STALL_USEC);
        g_assert_cmpint(f->served, ==, 0);
}

/* Without a descriptor that could wake it, the loop looks often enough. */
static void
test_no_descriptors(Fixture *f, gconstpointer data)
{
        no_descriptors = true;
        stand_in_allow(f->stand_in, true);
        gint64 begin = g_get_monotonic_time();
        call(f, STALL_USEC);
        g_assert_cmpint(f->served, ==, 1);
        g_assert_cmpint(g_get_monotonic_time() - begin, <, 3 * STALL_USEC / 2);
        no_descriptors = false;
        timer_start(&f->timer, 0);
        call(f, STALL_USEC);
        g_assert_cmpint(f->served, ==, 2);
        g_assert_cmpint(f->ticks, >, 0);
}

static atomic_bool ended;

/* Runs in the thread, when it has left the functions of the stand-in. */
static void
end_slowly(void *data)
{
        g_usleep(G_USEC_PER_SEC / 10);
        atomic_store(&ended, true);
}

static GPrivate last_step = G_PRIVATE_INIT(end_slowly);

static void
serve_and_end_slowly(void *data)
{
        g_private_set(&last_step, data);
        serve(data);
}

/* Nothing of the thread is left, so that the process can be copied. */
static void
test_rest(Fixture *f, gconstpointer data)
{
        stand_in_free(f->stand_in);
        f->stand_in = stand_in_new(serve_and_end_slowly, f);
        stand_in_allow(f->stand_in, true);
        timer_start(&f->timer, 0);
        for (int i = 1; i <= 2; i++) {
                atomic_store(&ended, false);
                call(f, STALL_USEC);
                g_assert_cmpint(f->served, ==, i);
                stand_in_rest(f->stand_in);
                g_assert_true(atomic_load(&ended));
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add("/stand-in/stalls", Fixture, NULL, set_up, test_stalls, tear_down);
        g_test_add("/stand-in/slow-calls", Fixture, NULL, set_up, test_slow_calls, tear_down);
        g_test_add("/stand-in/many-calls", Fixture, NULL, set_up, test_many_calls, tear_down);
        g_test_add("/stand-in/not-allowed", Fixture, NULL, set_up, test_not_allowed, tear_down);
        g_test_add("/stand-in/no-descriptors", Fixture, NULL, set_up, test_no_descriptors, tear_down);
        g_test_add("/stand-in/rest", Fixture, NULL, set_up, test_rest, tear_down);
        return g_test_run();
}
