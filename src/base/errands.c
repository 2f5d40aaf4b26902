/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/errands.h"

#include "base/fd.h"
#include "base/thread.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdint.h>
#include <string.h>
#include <sys/vfs.h>

/* The minimum time for a step, even if the budget is almost used up. */
#define WAIT_MIN_USEC (10 * 1000)

typedef struct {
        void (*func)(void *data);
        void *data;
        GDestroyNotify free_data; /* of a step that was abandoned; may be NULL */
        bool in_memory; /* its file is in memory: it can't stall */
        bool done;
        bool abandoned; /* it took too long: only errands_free waits for it */
} Step;

struct Errands {
        gint64 budget;
        GArray *threads; /* of pthread_t */
        GPtrArray *in_memory; /* names of directories */

        /* These are shared with the threads. */
        GMutex lock;
        GCond changed;
        GArray *steps; /* of Step */
        guint begun;
};

Errands *
errands_new(void)
{
        Errands *e = g_new0(Errands, 1);
        e->threads = g_array_new(FALSE, FALSE, sizeof(pthread_t));
        e->in_memory = g_ptr_array_new_with_free_func(g_free);
        e->steps = g_array_new(FALSE, FALSE, sizeof(Step));
        g_mutex_init(&e->lock);
        g_cond_init(&e->changed);
        return e;
}

static void
join_threads(Errands *e)
{
        for (guint i = 0; i < e->threads->len; i++)
                (void)pthread_join(g_array_index(e->threads, pthread_t, i), NULL);
        g_array_set_size(e->threads, 0);
}

void
errands_grant(Errands *e, gint64 usec)
{
        e->budget = usec;
        if (errands_pending(e) > 0)
                return;
        join_threads(e);
        g_array_set_size(e->steps, 0);
        e->begun = 0;
}

void
errands_learn(Errands *e, const char *dir)
{
        struct statfs fs;
        if (!dir || statfs(dir, &fs) < 0)
                return;
        /* The type of f_type differs between processors; the numbers have 32 bits. */
        uint32_t type = (uint32_t)fs.f_type;
        if (type == TMPFS_MAGIC || type == RAMFS_MAGIC)
                g_ptr_array_add(e->in_memory, g_strdup(dir));
}

static bool
is_in_memory(const Errands *e, const char *path)
{
        for (guint i = 0; i < e->in_memory->len; i++) {
                const char *dir = e->in_memory->pdata[i];
                size_t len = strlen(dir);
                if (strncmp(path, dir, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/'))
                        return true;
        }
        return false;
}

static void
add(Errands *e, Step step, const char *path)
{
        step.in_memory = !path || is_in_memory(e, path);
        g_mutex_lock(&e->lock);
        g_array_append_val(e->steps, step);
        g_mutex_unlock(&e->lock);
}

void
errands_add(Errands *e, void (*func)(void *data), void *data, const char *path)
{
        add(e, (Step){.func = func, .data = data}, path);
}

static bool
next_is_in_memory(const Errands *e)
{
        return e->begun < e->steps->len && g_array_index(e->steps, Step, e->begun).in_memory;
}

/* Called with the lock. */
static void
end_step(Errands *e, guint number)
{
        Step *step = &g_array_index(e->steps, Step, number);
        if (step->abandoned && step->free_data)
                step->free_data(step->data);
        step->done = true;
        g_cond_signal(&e->changed);
}

/* Runs the steps that were not started, or only the first ones that are in memory. Called with the lock,
 * which is released while a step runs. */
static void
run_steps(Errands *e, bool all)
{
        while (all ? e->begun < e->steps->len : next_is_in_memory(e)) {
                guint i = e->begun++;
                Step step = g_array_index(e->steps, Step, i);
                g_mutex_unlock(&e->lock);
                step.func(step.data);
                g_mutex_lock(&e->lock);
                end_step(e, i);
        }
}

static void *
run_thread(void *data)
{
        Errands *e = data;
        g_mutex_lock(&e->lock);
        run_steps(e, true);
        g_mutex_unlock(&e->lock);
        return NULL;
}

/* Without a thread the caller runs the steps itself, and may block. */
static void
start_thread(Errands *e)
{
        pthread_t thread;
        if (thread_start(&thread, "files", run_thread, e))
                g_array_append_val(e->threads, thread);
        else
                run_steps(e, true);
}

/* How many steps the caller still has to wait for. */
static guint
count_awaited(const Errands *e)
{
        guint n = 0;
        for (guint i = 0; i < e->steps->len; i++) {
                const Step *step = &g_array_index(e->steps, Step, i);
                n += !step->done && !step->abandoned;
        }
        return n;
}

/* Returns when all steps are done, or when a step has taken too long. */
static void
wait_for_steps(Errands *e)
{
        for (guint n = count_awaited(e), before = n + 1; n > 0 && n < before; n = count_awaited(e)) {
                before = n;
                gint64 start = g_get_monotonic_time();
                gint64 until = start + MAX(e->budget / 2, WAIT_MIN_USEC);
                while (count_awaited(e) == before && g_cond_wait_until(&e->changed, &e->lock, until))
                        ;
                errands_spend(e, g_get_monotonic_time() - start);
        }
}

static void
abandon_begun(Errands *e)
{
        for (guint i = 0; i < e->begun; i++) {
                Step *step = &g_array_index(e->steps, Step, i);
                step->abandoned = !step->done;
        }
}

void
errands_run(Errands *e)
{
        g_mutex_lock(&e->lock);
        while (count_awaited(e) > 0) {
                run_steps(e, false);
                if (e->begun < e->steps->len)
                        start_thread(e);
                wait_for_steps(e);
                abandon_begun(e);
        }
        g_mutex_unlock(&e->lock);
}

bool
errands_do(Errands *e, void (*func)(void *data), void *data, GDestroyNotify free_data, const char *path)
{
        guint number = e->steps->len;
        add(e, (Step){.func = func, .data = data, .free_data = free_data}, path);
        errands_run(e);
        g_mutex_lock(&e->lock);
        bool done = !g_array_index(e->steps, Step, number).abandoned;
        g_mutex_unlock(&e->lock);
        return done;
}

/* A file that another thread reads. */
typedef struct {
        char *path;
        size_t max;
        char *text;
        size_t len;
        int r;
} Reading;

static void
read_in_thread(void *data)
{
        Reading *r = data;
        r->r = fd_read_file(r->path, r->max, &r->text, &r->len);
}

/* It may be a secret. */
static void
reading_free(void *data)
{
        Reading *r = data;
        if (r->text)
                explicit_bzero(r->text, r->len);
        g_free(r->text);
        g_free(r->path);
        g_free(r);
}

int
errands_read_file(Errands *e, const char *path, size_t max, char **ret_text, size_t *ret_len)
{
        if (!e)
                return fd_read_file(path, max, ret_text, ret_len);
        Reading *reading = g_new(Reading, 1);
        *reading = (Reading){.path = g_strdup(path), .max = max};
        if (!errands_do(e, read_in_thread, reading, reading_free, path))
                return -ETIMEDOUT;
        int r = reading->r;
        *ret_text = g_steal_pointer(&reading->text);
        *ret_len = reading->len;
        reading_free(reading);
        return r;
}

gint64
errands_budget(const Errands *e)
{
        return e->budget;
}

void
errands_spend(Errands *e, gint64 usec)
{
        e->budget = MAX(0, e->budget - usec);
}

void
errands_rest(Errands *e)
{
        if (e && errands_pending(e) == 0)
                join_threads(e);
}

guint
errands_pending(Errands *e)
{
        guint n = 0;
        if (!e)
                return 0;
        g_mutex_lock(&e->lock);
        for (guint i = 0; i < e->steps->len; i++)
                n += !g_array_index(e->steps, Step, i).done;
        g_mutex_unlock(&e->lock);
        return n;
}

void
errands_free(Errands *e)
{
        if (!e)
                return;
        join_threads(e);
        g_array_unref(e->threads);
        g_ptr_array_unref(e->in_memory);
        g_array_unref(e->steps);
        g_mutex_clear(&e->lock);
        g_cond_clear(&e->changed);
        g_free(e);
}
