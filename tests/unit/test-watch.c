/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/watch.h"

#include "base/fd.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct Fixture {
        int fds[2];
        Watch watch;
        Timer timer;
        guint calls;
        GIOCondition revents;
        GString *order;
} Fixture;

static void
set_up(Fixture *f, const void *data)
{
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f->fds), ==, 0);
        f->order = g_string_new(NULL);
}

static void
tear_down(Fixture *f, const void *data)
{
        watch_done(&f->watch);
        timer_stop(&f->timer);
        fd_close(&f->fds[0]);
        fd_close(&f->fds[1]);
        g_string_free(f->order, TRUE);
        g_assert_false(g_main_context_pending(NULL));
}

static void
turn(void)
{
        g_main_context_iteration(NULL, FALSE);
}

static void
make_readable(Fixture *f)
{
        g_assert_cmpint(write(f->fds[1], "x", 1), ==, 1);
}

static void
count_call(GIOCondition revents, void *data)
{
        Fixture *f = data;
        f->calls++;
        f->revents = revents;
}

static void
test_events(Fixture *f, const void *data)
{
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        make_readable(f);
        turn();
        g_assert_cmpuint(f->calls, ==, 0);
        watch_arm(&f->watch, G_IO_IN);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
        g_assert_cmpint(f->revents, ==, G_IO_IN);
        turn();
        g_assert_cmpuint(f->calls, ==, 2);
}

static void
test_other_events(Fixture *f, const void *data)
{
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&f->watch, G_IO_IN);
        turn();
        g_assert_cmpuint(f->calls, ==, 0);
        watch_arm(&f->watch, G_IO_OUT);
        turn();
        g_assert_cmpint(f->revents, ==, G_IO_OUT);
        watch_arm(&f->watch, G_IO_IN);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
}

static void
test_hang_up(Fixture *f, const void *data)
{
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&f->watch, 0);
        turn();
        g_assert_cmpuint(f->calls, ==, 0);
        fd_close(&f->fds[1]);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
        g_assert_true(f->revents & G_IO_HUP);
}

static void
test_disarm(Fixture *f, const void *data)
{
        Watch zero = {0};
        watch_disarm(&zero);
        watch_done(&zero);
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_disarm(&f->watch);
        make_readable(f);
        watch_arm(&f->watch, G_IO_IN);
        watch_disarm(&f->watch);
        watch_disarm(&f->watch);
        turn();
        g_assert_cmpuint(f->calls, ==, 0);
        watch_arm(&f->watch, G_IO_IN);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
        watch_done(&f->watch);
        watch_done(&f->watch);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&f->watch, G_IO_IN);
        turn();
        g_assert_cmpuint(f->calls, ==, 2);
}

static void
finish_inside(GIOCondition revents, void *data)
{
        Fixture *f = data;
        f->calls++;
        watch_done(&f->watch);
        fd_close(&f->fds[0]);
}

static void
test_done_inside(Fixture *f, const void *data)
{
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, finish_inside, f);
        watch_arm(&f->watch, G_IO_IN);
        make_readable(f);
        turn();
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
}

/* The struct that owns a watch may be freed by the watch's own callback. */
static void
free_inside(GIOCondition revents, void *data)
{
        Watch *w = data;
        guint *calls = w[1].data;
        (*calls)++;
        watch_done(w);
        g_free(w);
}

static void
test_free_inside(Fixture *f, const void *data)
{
        Watch *heap = g_new0(Watch, 2);
        heap[1].data = &f->calls;
        watch_init(heap, f->fds[0], WATCH_PRIORITY_IO, free_inside, heap);
        watch_arm(heap, G_IO_IN);
        make_readable(f);
        turn();
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
}

/* Two watches are ready in the same round and the first one ends the second. */
static void
end_other(GIOCondition revents, void *data)
{
        Fixture *f = data;
        watch_done(&f->watch);
}

static void
test_done_by_other(Fixture *f, const void *data)
{
        Watch first = {0};
        watch_init(&first, f->fds[0], WATCH_PRIORITY_IO, end_other, f);
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&first, G_IO_IN);
        watch_arm(&f->watch, G_IO_IN);
        make_readable(f);
        turn();
        watch_done(&first);
        turn();
        g_assert_cmpuint(f->calls, ==, 0);
}

static void
note_io(GIOCondition revents, void *data)
{
        Fixture *f = data;
        g_string_append(f->order, "io ");
        watch_disarm(&f->watch);
}

typedef struct Accepting {
        Watch watch;
        Fixture *fixture;
} Accepting;

static void
note_accept(GIOCondition revents, void *data)
{
        Accepting *a = data;
        g_string_append(a->fixture->order, "accept ");
        watch_disarm(&a->watch);
}

static void
test_priority(Fixture *f, const void *data)
{
        Accepting a = {.fixture = f};
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, note_io, f);
        watch_init(&a.watch, f->fds[0], WATCH_PRIORITY_ACCEPT, note_accept, &a);
        watch_arm(&f->watch, G_IO_IN);
        watch_arm(&a.watch, G_IO_IN);
        make_readable(f);
        turn();
        g_assert_cmpstr(f->order->str, ==, "accept ");
        turn();
        g_assert_cmpstr(f->order->str, ==, "accept io ");
        watch_done(&a.watch);
}

static void
count_timer(void *data)
{
        Fixture *f = data;
        f->calls++;
}

static void
test_timer(Fixture *f, const void *data)
{
        gint64 start = g_get_monotonic_time();
        timer_init(&f->timer, count_timer, f);
        g_assert_false(timer_is_running(&f->timer));
        timer_start(&f->timer, 20000);
        g_assert_true(timer_is_running(&f->timer));
        while (f->calls == 0)
                g_main_context_iteration(NULL, TRUE);
        g_assert_cmpint(g_get_monotonic_time() - start, >=, 20000);
        g_assert_false(timer_is_running(&f->timer));
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
}

static void
test_timer_restart(Fixture *f, const void *data)
{
        timer_init(&f->timer, count_timer, f);
        timer_start(&f->timer, G_GINT64_CONSTANT(3600) * G_USEC_PER_SEC);
        timer_start(&f->timer, 0);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
        timer_start(&f->timer, 0);
        timer_start(&f->timer, G_GINT64_CONSTANT(3600) * G_USEC_PER_SEC);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
}

static void
test_timer_stop(Fixture *f, const void *data)
{
        Timer zero = {0};
        timer_stop(&zero);
        g_assert_false(timer_is_running(&zero));
        timer_init(&f->timer, count_timer, f);
        timer_start(&f->timer, 0);
        timer_stop(&f->timer);
        timer_stop(&f->timer);
        turn();
        g_assert_cmpuint(f->calls, ==, 0);
        g_assert_false(timer_is_running(&f->timer));
}

static void
start_again(void *data)
{
        Fixture *f = data;
        f->calls++;
        if (f->calls < 3)
                timer_start(&f->timer, 0);
        else
                timer_stop(&f->timer);
}

static void
test_timer_inside(Fixture *f, const void *data)
{
        timer_init(&f->timer, start_again, f);
        timer_start(&f->timer, 0);
        for (int i = 0; i < 5; i++)
                turn();
        g_assert_cmpuint(f->calls, ==, 3);
}

static void
add(const char *name, void (*func)(Fixture *, const void *))
{
        g_test_add(name, Fixture, NULL, set_up, func, tear_down);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        add("/watch/events", test_events);
        add("/watch/other-events", test_other_events);
        add("/watch/hang-up", test_hang_up);
        add("/watch/disarm", test_disarm);
        add("/watch/done-inside", test_done_inside);
        add("/watch/free-inside", test_free_inside);
        add("/watch/done-by-other", test_done_by_other);
        add("/watch/priority", test_priority);
        add("/timer/once", test_timer);
        add("/timer/restart", test_timer_restart);
        add("/timer/stop", test_timer_stop);
        add("/timer/inside", test_timer_inside);
        return g_test_run();
}
