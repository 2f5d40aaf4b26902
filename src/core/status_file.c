/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/status_file.h"

#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/fd.h"
#include "build-config.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long the exit command waits for the final counters. */
#define UPDATE_USEC (1000 * 1000)

struct StatusFile {
        char *path;
        char *json;

        /* These are shared with the steps. */
        GMutex lock;
        GCond changed;
        bool created; /* or failed to be: then fd is -1 */
        bool updated;
        int fd;
};

/* What the second step owns: the first one may still run. */
typedef struct {
        StatusFile *file;
        char *json;
} Update;

static const char *
yes_or_no(bool value)
{
        return value ? "true" : "false";
}

static void
add_end(GString *json, const Container *c)
{
        char at[CLOCK_UTC_SIZE];
        clock_format_utc(c->ended_ns, at);
        g_string_append_printf(json, ",\"end\":{\"at\":\"%s\",\"code\":%d", at, c->exit_code);
        if (c->status >= 0 && WIFSIGNALED(c->status))
                g_string_append_printf(json, ",\"signal\":%d,\"core_dumped\":%s", WTERMSIG(c->status),
                                       yes_or_no(WCOREDUMP(c->status)));
        g_string_append_printf(json, ",\"oom\":%s,\"timed_out\":%s", yes_or_no(c->out_of_memory),
                               yes_or_no(c->timed_out));
        if (c->stop_signal > 0)
                g_string_append_printf(json, ",\"stop_signal\":%d", c->stop_signal);
        if (c->process.ended)
                g_string_append_printf(json, ",\"reaped_by\":\"%s\"",
                                       c->process.reaped_by_others ? "others" : "monitor");
        g_string_append_printf(json, ",\"record_usec\":%" G_GINT64_FORMAT "}", c->record_usec);
}

static bool
describe(const Monitor *m, char **ret_path, char **ret_json)
{
        bool ended = m->state == MONITOR_ENDED;
        g_autoptr(GString) members = g_string_new(NULL);
        g_string_printf(members, ",\"monitor\":{\"version\":\"%s\",\"pid\":%d}", CONMON_VERSION,
                        (int)getpid());
        request_describe(&m->request, members);
        if (ended)
                add_end(members, &m->container);
        return log_describe(m->log, ended, members->str, ret_path, ret_json);
}

static StatusFile *
status_file_new(const Monitor *m)
{
        char *path = NULL, *json = NULL;
        if (!describe(m, &path, &json))
                return NULL;
        StatusFile *f = g_new0(StatusFile, 1);
        *f = (StatusFile){.path = path, .json = json, .fd = -1};
        g_mutex_init(&f->lock);
        g_cond_init(&f->changed);
        return f;
}

static void
set(StatusFile *f, bool *flag)
{
        g_mutex_lock(&f->lock);
        *flag = true;
        g_cond_broadcast(&f->changed);
        g_mutex_unlock(&f->lock);
}

static void
create(void *data)
{
        StatusFile *f = data;
        g_autoptr(GError) error = NULL;
        f->fd = atomic_file_create(f->path, f->json, strlen(f->json), &error);
        if (f->fd < 0)
                diag_warn("%s", error->message);
        set(f, &f->created);
}

static void
create_and_free(void *data)
{
        StatusFile *f = data;
        create(f);
        fd_close(&f->fd);
        status_file_free(f);
}

static void
wait_for_creation(StatusFile *f)
{
        g_mutex_lock(&f->lock);
        while (!f->created)
                g_cond_wait(&f->changed, &f->lock);
        g_mutex_unlock(&f->lock);
}

/* Pads with blanks to the length of the first text, so that one call overwrites it. */
static void
update(void *data)
{
        Update *u = data;
        StatusFile *f = u->file;
        wait_for_creation(f);
        g_autofree char *text = g_strdup_printf("%-*s", (int)strlen(f->json), u->json);
        ssize_t n = 0;
        do
                n = f->fd < 0 ? 0 : pwrite(f->fd, text, strlen(text), 0);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                diag_warn("Failed to write %s: %s", f->path, strerror(errno));
        set(f, &f->updated);
        g_free(u->json);
        g_free(u);
}

void
status_file_write(Monitor *m)
{
        if (errands_pending(m->errands) > 0) {
                diag_warn("Not writing the status of the log: its disk has stalled");
                return;
        }
        StatusFile *f = status_file_new(m);
        if (!f)
                return;
        errands_add(m->errands, create_and_free, f, f->path);
        errands_run(m->errands);
}

StatusFile *
status_file_add(Monitor *m)
{
        m->container.record_usec = g_get_monotonic_time() - m->container.ended_usec;
        StatusFile *f = status_file_new(m);
        if (f)
                errands_add(m->errands, create, f, f->path);
        return f;
}

/* Adds the second step. */
static void
add_update(StatusFile *f, Monitor *m)
{
        g_autofree char *path = NULL;
        char *json = NULL;
        if (!describe(m, &path, &json))
                return;
        Update *u = g_new(Update, 1);
        *u = (Update){f, json};
        errands_add(m->errands, update, u, f->path);
}

void
status_file_update(StatusFile *f, Monitor *m)
{
        if (!f)
                return;
        errands_grant(m->errands, 2 * UPDATE_USEC); /* the step may use half of it */
        add_update(f, m);
        errands_run(m->errands);
        g_mutex_lock(&f->lock);
        if (!f->updated)
                diag_warn("The final counters of the log are not in %s yet: its disk has stalled", f->path);
        g_mutex_unlock(&f->lock);
}

void
status_file_free(StatusFile *f)
{
        if (!f)
                return;
        g_mutex_clear(&f->lock);
        g_cond_clear(&f->changed);
        g_free(f->path);
        g_free(f->json);
        g_free(f);
}
