/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/watch.h"

#include "base/fd.h"
#include "loop.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* What works. Without epoll or its timer the loop does the same with poll(2). */
typedef struct Kernel {
        const char *name;
        int create_error, ctl_error, timerfd_error; /* what the functions below fail with; 0: they work */
} Kernel;

static const Kernel kernels[] = {
        {"all"},
        {"no-epoll", .create_error = EMFILE},
        {"no-room", .ctl_error = ENOSPC},
        {"no-timerfd", .timerfd_error = EMFILE},
};

static const Kernel *kernel = kernels;
static int n_changes, n_alarms;

/* These take the place of the C library's. */
int
epoll_create1(int flags)
{
        errno = kernel->create_error;
        return errno ? -1 : (int)syscall(SYS_epoll_create1, flags);
}

int
epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
        n_changes++;
        errno = kernel->ctl_error;
        return errno ? -1 : (int)syscall(SYS_epoll_ctl, set, operation, fd, event);
}

int
timerfd_create(clockid_t clock, int flags)
{
        errno = kernel->timerfd_error;
        return errno ? -1 : (int)syscall(SYS_timerfd_create, clock, flags);
}

int
timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
        int (*next)(int, int, const struct itimerspec *, struct itimerspec *);
        /* The second name with -D_TIME_BITS=64 where long has 32 bits. */
        const char *name = sizeof(time_t) == sizeof(long) ? "timerfd_settime" : "__timerfd_settime64";
        *(void **)&next = dlsym(RTLD_NEXT, name);
        n_alarms++;
        return next(fd, flags, new, old);
}

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
        kernel = data;
        loop_close();
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
        g_assert_false(loop_iterate(false));
        loop_close();
}

static void
turn(void)
{
        (void)loop_iterate(false);
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

/* Whichever comes first. */
static void
test_one_ends_the_other(Fixture *f, const void *data)
{
        Fixture other = {0};
        set_up(&other, kernel);
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, end_other, &other);
        watch_init(&other.watch, other.fds[0], WATCH_PRIORITY_IO, end_other, f);
        watch_arm(&f->watch, G_IO_IN);
        watch_arm(&other.watch, G_IO_IN);
        make_readable(&other);
        make_readable(f);
        g_assert_true(loop_iterate(false));
        g_assert_true((f->watch.armed.data == NULL) != (other.watch.armed.data == NULL));
        watch_done(&f->watch);
        tear_down(&other, NULL);
}

static void
want_output(GIOCondition revents, void *data)
{
        Fixture *f = data;
        watch_arm(&f->watch, G_IO_OUT);
}

/* What is no longer waited for is not reported. */
static void
test_changed_by_other(Fixture *f, const void *data)
{
        Watch first = {0};
        watch_init(&first, f->fds[0], WATCH_PRIORITY_IO, want_output, f);
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&first, G_IO_IN);
        watch_arm(&f->watch, G_IO_IN);
        make_readable(f);
        turn();
        g_assert_cmpuint(f->calls, ==, 0);
        watch_done(&first);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
        g_assert_cmpint(f->revents, ==, G_IO_OUT);
}

typedef struct Named {
        Watch watch;
        const char *name;
        Fixture *fixture;
} Named;

static void
note(GIOCondition revents, void *data)
{
        Named *n = data;
        g_string_append_printf(n->fixture->order, "%s ", n->name);
        watch_disarm(&n->watch);
}

static void
note_timer(void *data)
{
        Fixture *f = data;
        g_string_append(f->order, "timer ");
}

static void
named_arm(Named *n, int priority)
{
        watch_init(&n->watch, n->fixture->fds[0], priority, note, n);
        watch_arm(&n->watch, G_IO_IN);
}

static void
test_priority(Fixture *f, const void *data)
{
        Named io = {.name = "io", .fixture = f}, accept = {.name = "accept", .fixture = f};
        Named signal = {.name = "signal", .fixture = f};
        named_arm(&io, WATCH_PRIORITY_IO);
        named_arm(&accept, WATCH_PRIORITY_ACCEPT);
        named_arm(&signal, WATCH_PRIORITY_SIGNAL);
        timer_init(&f->timer, note_timer, f);
        timer_start(&f->timer, 0);
        make_readable(f);
        turn();
        g_assert_cmpstr(f->order->str, ==, "signal ");
        turn();
        g_assert_cmpstr(f->order->str, ==, "signal timer ");
        turn();
        g_assert_cmpstr(f->order->str, ==, "signal timer accept ");
        turn();
        g_assert_cmpstr(f->order->str, ==, "signal timer accept io ");
        watch_done(&io.watch);
        watch_done(&accept.watch);
        watch_done(&signal.watch);
}

static void
take_byte(GIOCondition revents, void *data)
{
        Fixture *f = data;
        char byte;
        g_assert_cmpint(read(f->fds[0], &byte, 1), ==, 1);
}

/* Sources of a lower priority are asked again. */
static void
test_no_longer_ready(Fixture *f, const void *data)
{
        Watch first = {0};
        watch_init(&first, f->fds[0], WATCH_PRIORITY_ACCEPT, take_byte, f);
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&f->watch, G_IO_IN);
        watch_arm(&first, G_IO_IN);
        make_readable(f);
        turn();
        g_assert_false(loop_iterate(false));
        g_assert_cmpuint(f->calls, ==, 0);
        watch_done(&first);
}

/* None of many that are ready hides the one that comes first. */
static void
test_many(Fixture *f, const void *data)
{
        enum { MANY = 200 };
        g_autofree Watch *others = g_new0(Watch, MANY);
        make_readable(f);
        for (int i = 0; i < MANY; i++) {
                watch_init(&others[i], fcntl(f->fds[0], F_DUPFD_CLOEXEC, 3), WATCH_PRIORITY_IO, count_call,
                           f);
                watch_arm(&others[i], G_IO_IN);
        }
        Named first = {.name = "first", .fixture = f};
        named_arm(&first, WATCH_PRIORITY_ACCEPT);
        turn();
        g_assert_cmpstr(f->order->str, ==, "first ");
        g_assert_cmpuint(f->calls, ==, 0);
        turn();
        g_assert_cmpuint(f->calls, ==, MANY);
        for (int i = 0; i < MANY; i++) {
                watch_done(&others[i]);
                fd_close(&others[i].fd);
        }
}

static void
test_two_on_one_descriptor(Fixture *f, const void *data)
{
        Fixture second = {0};
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_init(&second.watch, f->fds[0], WATCH_PRIORITY_IO, count_call, &second);
        watch_arm(&f->watch, G_IO_IN);
        watch_arm(&second.watch, G_IO_OUT);
        turn();
        g_assert_cmpuint(f->calls, ==, 0);
        g_assert_cmpuint(second.calls, ==, 1);
        make_readable(f);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
        g_assert_cmpint(f->revents, ==, G_IO_IN);
        g_assert_cmpuint(second.calls, ==, 2);
        g_assert_cmpint(second.revents, ==, G_IO_OUT);
        watch_disarm(&f->watch);
        turn();
        g_assert_cmpuint(second.calls, ==, 3);
        watch_arm(&f->watch, G_IO_IN);
        watch_done(&second.watch);
        turn();
        g_assert_cmpuint(f->calls, ==, 2);
        g_assert_cmpuint(second.calls, ==, 3);
}

/* As with poll(2): epoll does not take files. */
static void
test_file(Fixture *f, const void *data)
{
        char name[] = "/tmp/test-watch-XXXXXX";
        autofd int fd = mkostemp(name, O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(unlink(name), ==, 0);
        watch_init(&f->watch, fd, WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&f->watch, G_IO_OUT);
        for (guint i = 1; i <= 3; i++) {
                g_assert_true(loop_wait(20 * G_USEC_PER_SEC));
                g_assert_cmpuint(f->calls, ==, i);
        }
        watch_disarm(&f->watch);
        g_assert_false(loop_iterate(false));
        watch_arm(&f->watch, G_IO_IN);
        turn();
        g_assert_cmpuint(f->calls, ==, 4);
        watch_done(&f->watch);
}

/* It would be reported again and again. */
static void
test_hang_up_while_disarmed(Fixture *f, const void *data)
{
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&f->watch, G_IO_IN);
        turn();
        watch_disarm(&f->watch);
        fd_close(&f->fds[1]);
        g_assert_false(loop_wait(20000));
        g_assert_cmpuint(f->calls, ==, 0);
        watch_arm(&f->watch, G_IO_OUT);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
        g_assert_true(f->revents & G_IO_HUP);
}

static void
test_closed_descriptor(Fixture *f, const void *data)
{
        fd_close(&f->fds[0]);
        watch_init(&f->watch, f->fds[1] + 100, WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&f->watch, G_IO_IN);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
        g_assert_cmpint(f->revents, ==, G_IO_NVAL);
}

/* A copy of the process has a set of its own, with the same sources. */
static void
test_fork(Fixture *f, const void *data)
{
        int status = 0;
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&f->watch, G_IO_IN);
        timer_init(&f->timer, note_timer, f);
        timer_start(&f->timer, G_USEC_PER_SEC / 50);
        g_assert_false(loop_iterate(false));
        pid_t pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                (void)alarm(20);
                loop_close();
                make_readable(f);
                while (f->calls == 0)
                        (void)loop_iterate(true);
                watch_done(&f->watch);
                while (f->order->len == 0)
                        (void)loop_iterate(true);
                _exit(loop_iterate(false) ? 1 : 0);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
        while (f->calls == 0)
                g_assert_true(loop_wait(20 * G_USEC_PER_SEC));
        watch_disarm(&f->watch);
        while (f->order->len == 0)
                g_assert_true(loop_wait(20 * G_USEC_PER_SEC));
}

static void
iterate_inside(GIOCondition revents, void *data)
{
        note(revents, data);
        while (loop_iterate(false))
                continue;
}

/* The loop inside a callback serves what the round outside would have served next, and once. */
static void
test_nested(Fixture *f, const void *data)
{
        Named first = {.name = "first", .fixture = f}, second = {.name = "second", .fixture = f};
        named_arm(&first, WATCH_PRIORITY_IO);
        named_arm(&second, WATCH_PRIORITY_IO);
        first.watch.func = second.watch.func = iterate_inside;
        timer_init(&f->timer, note_timer, f);
        timer_start(&f->timer, G_USEC_PER_SEC / 100);
        make_readable(f);
        g_usleep(G_USEC_PER_SEC / 50);
        turn();
        turn();
        g_assert_true(g_str_equal(f->order->str, "timer first second ") ||
                      g_str_equal(f->order->str, "timer second first "));
        g_assert_false(loop_iterate(false));
        watch_done(&first.watch);
        watch_done(&second.watch);
}

static void
start_and_iterate(void *data)
{
        Fixture *f = data;
        g_string_append(f->order, "outer ");
        while (loop_iterate(false))
                continue;
        g_string_append(f->order, "end ");
}

static void
test_nested_timers(Fixture *f, const void *data)
{
        Timer outer;
        timer_init(&outer, start_and_iterate, f);
        timer_init(&f->timer, note_timer, f);
        timer_start(&outer, 0);
        timer_start(&f->timer, 0);
        turn();
        turn();
        g_assert_cmpstr(f->order->str, ==, "outer timer end ");
}

static void
test_unchanged_costs_nothing(Fixture *f, const void *data)
{
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&f->watch, G_IO_IN);
        turn();
        n_changes = 0;
        if (!kernel->ctl_error)
                watch_arm(&f->watch, G_IO_IN);
        g_assert_cmpint(n_changes, ==, 0);
        loop_close();
        make_readable(f);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
}

/* The watches are called in the order in which they became ready. */
static void
test_order(Fixture *f, const void *data)
{
        Fixture other = {0};
        set_up(&other, kernel);
        Named first = {.name = "first", .fixture = f}, second = {.name = "second", .fixture = &other};
        named_arm(&first, WATCH_PRIORITY_IO);
        named_arm(&second, WATCH_PRIORITY_IO);
        second.fixture = f;
        turn();
        make_readable(&other);
        make_readable(f);
        turn();
        if (!kernel->create_error && !kernel->ctl_error)
                g_assert_cmpstr(f->order->str, ==, "second first ");
        watch_done(&first.watch);
        watch_done(&second.watch);
        tear_down(&other, NULL);
}

/* Beside others, which are in the set. */
static void
test_trickle(Fixture *f, const void *data)
{
        Fixture other = {0};
        set_up(&other, kernel);
        watch_init(&other.watch, other.fds[0], WATCH_PRIORITY_IO, count_call, &other);
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_expect_trickle(&f->watch, true);
        watch_arm(&other.watch, G_IO_IN);
        turn();
        n_changes = 0;
        watch_arm(&f->watch, G_IO_IN);
        turn();
        g_assert_cmpuint(f->calls, ==, 0);
        make_readable(f);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
        g_assert_cmpuint(other.calls, ==, 0);
        make_readable(&other);
        turn();
        g_assert_cmpuint(f->calls, ==, 2);
        g_assert_cmpuint(other.calls, ==, 1);
        watch_arm(&f->watch, G_IO_OUT);
        watch_disarm(&f->watch);
        turn();
        g_assert_cmpuint(f->calls, ==, 2);
        g_assert_cmpint(n_changes, ==, 0);
        watch_arm(&f->watch, G_IO_IN);
        for (guint calls = 3; calls < 10; calls++) {
                watch_expect_trickle(&f->watch, calls % 2 > 0);
                turn();
                g_assert_cmpuint(f->calls, ==, calls);
        }
        watch_disarm(&f->watch);
        tear_down(&other, NULL);
}

/* Random operations, also inside callbacks and in nested loops. */
typedef struct Pipe {
        struct Pipes *all;
        int fds[2];
        Watch *watch; /* freed and allocated again, like a client's */
        bool armed, called;
} Pipe;

typedef struct Pipes {
        Pipe pipes[8];
        int depth;
} Pipes;

static void random_operation(Pipes *all);

static void
call_randomly(GIOCondition revents, void *data)
{
        Pipe *p = data;
        g_assert_true(p->armed);
        p->called = true;
        if (p->all->depth == 2)
                return;
        p->all->depth++;
        for (int i = g_test_rand_int_range(0, 4); i > 0; i--)
                random_operation(p->all);
        if (g_test_rand_int_range(0, 4) == 0)
                turn();
        p->all->depth--;
}

static void
pipe_begin(Pipe *p)
{
        g_assert_cmpint(pipe2(p->fds, O_CLOEXEC | O_NONBLOCK), ==, 0);
        p->watch = g_new(Watch, 1);
        watch_init(p->watch, p->fds[0], WATCH_PRIORITY_IO, call_randomly, p);
        p->armed = false;
}

static void
pipe_end(Pipe *p)
{
        watch_done(p->watch);
        g_free(p->watch);
        fd_close(&p->fds[0]);
        fd_close(&p->fds[1]);
}

static void
random_operation(Pipes *all)
{
        char bytes[100];
        Pipe *p = &all->pipes[g_test_rand_int_range(0, G_N_ELEMENTS(all->pipes))];
        switch (g_test_rand_int_range(0, 8)) {
        case 0:
                pipe_end(p);
                pipe_begin(p);
                break;
        case 1:
                watch_disarm(p->watch);
                p->armed = false;
                break;
        case 2:
                (void)!read(p->fds[0], bytes, sizeof bytes);
                break;
        case 3:
                watch_expect_trickle(p->watch, g_test_rand_bit());
                break;
        case 4:
        case 5:
                (void)!write(p->fds[1], "x", 1);
                break;
        default:
                watch_arm(p->watch, g_test_rand_int_range(0, 4) > 0 ? G_IO_IN : 0);
                p->armed = true;
        }
}

/* One round calls those that are ready. */
static void
check_round(Pipes *all)
{
        bool ready[G_N_ELEMENTS(all->pipes)];
        for (guint i = 0; i < G_N_ELEMENTS(ready); i++) {
                Pipe *p = &all->pipes[i];
                struct pollfd wanted = {.fd = p->fds[0], .events = (short)p->watch->events};
                ready[i] = p->armed && poll(&wanted, 1, 0) > 0;
                p->called = false;
        }
        all->depth = 2;
        turn();
        all->depth = 0;
        for (guint i = 0; i < G_N_ELEMENTS(ready); i++)
                g_assert_cmpint(all->pipes[i].called, ==, ready[i]);
}

static void
test_random(Fixture *f, const void *data)
{
        Pipes all = {0};
        for (guint i = 0; i < G_N_ELEMENTS(all.pipes); i++) {
                all.pipes[i].all = &all;
                pipe_begin(&all.pipes[i]);
        }
        for (int i = 0; i < 3000; i++) {
                random_operation(&all);
                turn();
                if (i % 10 == 0)
                        check_round(&all);
                if (i % 500 == 0)
                        loop_close();
        }
        for (guint i = 0; i < G_N_ELEMENTS(all.pipes); i++)
                pipe_end(&all.pipes[i]);
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
                loop_iterate(true);
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

typedef struct {
        Timer timer;
        char name;
        GString *order;
} Letter;

static void
append_letter(void *data)
{
        Letter *l = data;
        g_string_append_c(l->order, l->name);
}

static void
test_timer_order(Fixture *f, const void *data)
{
        static const gint64 delays[] = {60000, 0, 40000, 20000, -G_USEC_PER_SEC, 40000};
        Letter letters[G_N_ELEMENTS(delays)];
        for (size_t i = 0; i < G_N_ELEMENTS(delays); i++) {
                letters[i] = (Letter){.name = (char)('a' + i), .order = f->order};
                timer_init(&letters[i].timer, append_letter, &letters[i]);
                timer_start(&letters[i].timer, delays[i]);
        }
        while (f->order->len < G_N_ELEMENTS(delays))
                g_assert_true(loop_wait(20 * G_USEC_PER_SEC));
        g_assert_cmpstr(f->order->str, ==, "ebdcfa");
}

/* A timer that is due in the same round may be stopped by the one before it. */
static void
stop_other(void *data)
{
        timer_stop(data);
}

static void
test_timer_stops_other(Fixture *f, const void *data)
{
        Timer first;
        timer_init(&first, stop_other, &f->timer);
        timer_init(&f->timer, count_timer, f);
        timer_start(&first, 0);
        timer_start(&f->timer, 0);
        turn();
        turn();
        g_assert_cmpuint(f->calls, ==, 0);
}

static void
test_timer_longest(Fixture *f, const void *data)
{
        timer_init(&f->timer, count_timer, f);
        timer_start(&f->timer, G_MAXINT64);
        g_assert_true(timer_is_running(&f->timer));
        g_assert_false(loop_wait(1000));
        timer_start(&f->timer, G_MAXINT64 / 2);
        g_assert_false(loop_wait(1000));
        g_assert_true(timer_is_running(&f->timer));
        timer_start(&f->timer, G_MININT64 / 2);
        turn();
        g_assert_cmpuint(f->calls, ==, 1);
}

/* A timer that is moved on with each event does not cost a system call each time, and is not late. */
static void
test_timer_moved_on(Fixture *f, const void *data)
{
        gint64 start = 0;
        watch_init(&f->watch, f->fds[0], WATCH_PRIORITY_IO, count_call, f);
        watch_arm(&f->watch, G_IO_IN);
        make_readable(f);
        timer_init(&f->timer, note_timer, f);
        n_alarms = 0;
        for (int i = 0; i < 100; i++) {
                start = g_get_monotonic_time();
                timer_start(&f->timer, G_USEC_PER_SEC / 20);
                (void)loop_iterate(true);
        }
        g_assert_cmpint(n_alarms, <, 20);
        watch_disarm(&f->watch);
        while (timer_is_running(&f->timer))
                (void)loop_iterate(true);
        g_assert_cmpint(g_get_monotonic_time() - start, >=, G_USEC_PER_SEC / 20);
        g_assert_cmpuint(f->calls, ==, 100);
        g_assert_cmpstr(f->order->str, ==, "timer ");
}

static void
add(const char *name, void (*func)(Fixture *, const void *))
{
        for (size_t i = 0; i < G_N_ELEMENTS(kernels); i++) {
                g_autofree char *path = g_strdup_printf("%s/%s", name, kernels[i].name);
                g_test_add(path, Fixture, &kernels[i], set_up, func, tear_down);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        add("/watch/events", test_events);
        add("/watch/other-events", test_other_events);
        add("/watch/hang-up", test_hang_up);
        add("/watch/hang-up-while-disarmed", test_hang_up_while_disarmed);
        add("/watch/disarm", test_disarm);
        add("/watch/done-inside", test_done_inside);
        add("/watch/free-inside", test_free_inside);
        add("/watch/done-by-other", test_done_by_other);
        add("/watch/one-ends-the-other", test_one_ends_the_other);
        add("/watch/changed-by-other", test_changed_by_other);
        add("/watch/priority", test_priority);
        add("/watch/no-longer-ready", test_no_longer_ready);
        add("/watch/many", test_many);
        add("/watch/two-on-one-descriptor", test_two_on_one_descriptor);
        add("/watch/file", test_file);
        add("/watch/closed-descriptor", test_closed_descriptor);
        add("/watch/nested", test_nested);
        add("/watch/order", test_order);
        add("/watch/trickle", test_trickle);
        add("/watch/random", test_random);
        add("/watch/unchanged-costs-nothing", test_unchanged_costs_nothing);
        add("/watch/fork", test_fork);
        add("/timer/once", test_timer);
        add("/timer/order", test_timer_order);
        add("/timer/restart", test_timer_restart);
        add("/timer/moved-on", test_timer_moved_on);
        add("/timer/stop", test_timer_stop);
        add("/timer/stops-other", test_timer_stops_other);
        add("/timer/inside", test_timer_inside);
        add("/timer/longest", test_timer_longest);
        add("/timer/nested", test_nested_timers);
        return g_test_run();
}
