/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/watch.h"

/* The C struct behind GSource, which carries the way back to the embedded one. */
typedef struct {
        GSource base;
        void *owner;
} OwnedSource;

static GSource *
source_new(GSourceFuncs *funcs, int priority, void *owner)
{
        GSource *source = g_source_new(funcs, sizeof(OwnedSource));
        ((OwnedSource *)source)->owner = owner;
        g_source_set_priority(source, priority);
        /* Or GLib takes the descriptor out of the polled ones during each call and adds it again after it:
         * two writes to its own wake-up descriptor, an allocation, and a round of the loop for nothing. */
        g_source_set_can_recurse(source, TRUE);
        g_source_attach(source, NULL);
        return source;
}

static gboolean
watch_ready(GSource *source)
{
        Watch *w = ((OwnedSource *)source)->owner;
        return w->tag && g_source_query_unix_fd(source, w->tag) != 0;
}

static gboolean
watch_dispatch(GSource *source, GSourceFunc func, gpointer data)
{
        Watch *w = ((OwnedSource *)source)->owner;
        if (w->tag)
                w->func(g_source_query_unix_fd(source, w->tag), w->data);
        return G_SOURCE_CONTINUE;
}

static GSourceFuncs watch_funcs = {.check = watch_ready, .dispatch = watch_dispatch};

void
watch_init(Watch *w, int fd, int priority, WatchFunc func, void *data)
{
        *w = (Watch){.fd = fd, .priority = priority, .func = func, .data = data};
}

void
watch_arm(Watch *w, GIOCondition events)
{
        if (!w->source)
                w->source = source_new(&watch_funcs, w->priority, w);
        if (w->tag)
                g_source_modify_unix_fd(w->source, w->tag, events);
        else
                w->tag = g_source_add_unix_fd(w->source, w->fd, events);
}

void
watch_disarm(Watch *w)
{
        if (w->tag)
                g_source_remove_unix_fd(w->source, w->tag);
        w->tag = NULL;
}

void
watch_done(Watch *w)
{
        watch_disarm(w);
        if (w->source) {
                g_source_destroy(w->source);
                g_source_unref(w->source);
        }
        w->source = NULL;
}

static gboolean
timer_dispatch(GSource *source, GSourceFunc func, gpointer data)
{
        Timer *t = ((OwnedSource *)source)->owner;
        g_source_set_ready_time(source, -1);
        t->func(t->data);
        return G_SOURCE_CONTINUE;
}

static GSourceFuncs timer_funcs = {.dispatch = timer_dispatch};

void
timer_init(Timer *t, TimerFunc func, void *data)
{
        *t = (Timer){.func = func, .data = data};
}

void
timer_start(Timer *t, gint64 usec)
{
        if (!t->source)
                t->source = source_new(&timer_funcs, WATCH_PRIORITY_TIMER, t);
        gint64 now = g_get_monotonic_time();
        g_source_set_ready_time(t->source, MAX(now + MIN(usec, INT64_MAX - now), 0));
}

void
timer_stop(Timer *t)
{
        if (t->source) {
                g_source_destroy(t->source);
                g_source_unref(t->source);
        }
        t->source = NULL;
}

gboolean
timer_is_running(const Timer *t)
{
        return t->source && g_source_get_ready_time(t->source) >= 0;
}

void
timer_save(const Timer *t, StateWriter *w, const char *name)
{
        state_put_int(w, name, timer_is_running(t) ? g_source_get_ready_time(t->source) : -1);
}

void
timer_restore(Timer *t, StateReader *r, const char *name)
{
        gint64 due = state_get_int(r, name, -1, INT64_MAX / 2);
        if (due >= 0 && !state_failed(r))
                timer_start(t, due - g_get_monotonic_time());
}
