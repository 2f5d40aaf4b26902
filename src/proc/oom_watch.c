/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/oom_watch.h"

#include "base/diag.h"
#include "base/fd.h"
#include "base/watch.h"
#include "proc/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define COUNTS_TEXT_MAX 4096

struct OomWatch {
        char *path;    /* of the counters: memory.events, or memory.oom_control of version 1 */
        char *control; /* cgroup.event_control of version 1; NULL with version 2 */
        OomCounts before;
        int counters;
        int events; /* the eventfd of version 1; -1: version 2, or it could not be registered */
        Watch watch;
        OomFunc on_oom; /* NULL after the event was reported */
        void *data;
};

OomCounts
oom_counts_parse(const char *text)
{
        OomCounts counts = {0};
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (char **line = lines; *line; line++) {
                if (g_str_has_prefix(*line, "oom "))
                        counts.oom = g_ascii_strtoull(*line + strlen("oom "), NULL, 10);
                else if (g_str_has_prefix(*line, "oom_kill "))
                        counts.oom_kill = g_ascii_strtoull(*line + strlen("oom_kill "), NULL, 10);
        }
        return counts;
}

/* Reading also acknowledges a change of memory.events. */
static int
read_counts(const OomWatch *w, OomCounts *ret)
{
        char text[COUNTS_TEXT_MAX];
        ssize_t n = pread(w->counters, text, sizeof text, 0);
        if (n < 0)
                return -errno;
        if (n == sizeof text)
                return -EFBIG;
        text[n] = '\0';
        *ret = oom_counts_parse(text);
        return 0;
}

/* Reports why there is no watch. Most reasons are not worth a warning: no memory controller, another user's
 * cgroup (rootless), a kernel without the interface, a container that has exited. */
static void
explain(int r, const char *what)
{
        static const int usual[] = {ENOENT, ENODEV, ESRCH, ENOTDIR, EACCES, EPERM, EROFS, EOPNOTSUPP, ENOSYS};
        DiagLevel level = DIAG_WARNING;
        for (size_t i = 0; i < G_N_ELEMENTS(usual); i++)
                if (r == -usual[i])
                        level = DIAG_DEBUG;
        diag_message(level, "Cannot watch for OOM through %s: %s", what, strerror(-r));
}

static void
stop(OomWatch *w)
{
        w->on_oom = NULL;
        watch_done(&w->watch);
        fd_close(&w->events);
        fd_close(&w->counters);
}

static void
report(OomWatch *w)
{
        OomFunc on_oom = w->on_oom;
        void *data = w->data;
        stop(w);
        on_oom(data);
}

/* Version 1: returns true if there was an OOM. Removing the cgroup also signals the eventfd, once. */
static bool
event_came(OomWatch *w)
{
        uint64_t events = 0;
        if (w->events < 0 || fd_read(w->events, &events, sizeof events) != sizeof events)
                return false;
        return events > 1 || access(w->control, F_OK) == 0;
}

void
oom_watch_check(OomWatch *w)
{
        if (!w || !w->on_oom)
                return;
        if (event_came(w)) {
                report(w);
                return;
        }
        OomCounts now = {0};
        int r = read_counts(w, &now);
        if (r == -ENOENT || r == -ENODEV) {
                diag_debug("Cgroup appears to have been removed: %s", w->path);
                stop(w);
        } else if (r < 0) {
                diag_warn("Stopped watching for OOM, cannot read %s: %s", w->path, strerror(-r));
                stop(w);
        } else if (now.oom != w->before.oom || now.oom_kill != w->before.oom_kill) {
                report(w);
        }
}

static void
on_event(GIOCondition revents, void *data)
{
        oom_watch_check(data);
}

static int
watch_events(OomWatch *w)
{
        w->events = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        autofd int control_fd = open(w->control, O_WRONLY | O_CLOEXEC); /* only for the registration */
        if (w->events < 0 || control_fd < 0)
                return -errno;
        char line[32];
        int len = snprintf(line, sizeof line, "%d %d", w->events, w->counters);
        if (write(control_fd, line, (size_t)len) < 0)
                return -errno;
        watch_init(&w->watch, w->events, WATCH_PRIORITY_IO, on_event, w);
        watch_arm(&w->watch, G_IO_IN);
        return 0;
}

static int
start(OomWatch *w, bool from_zero)
{
        w->counters = open(w->path, O_RDONLY | O_CLOEXEC);
        if (w->counters < 0)
                return -errno;
        int r = from_zero ? 0 : read_counts(w, &w->before);
        if (r < 0)
                return r;
        if (!w->control) {
                watch_init(&w->watch, w->counters, WATCH_PRIORITY_IO, on_event, w);
                watch_arm(&w->watch, G_IO_PRI);
                return 0;
        }
        r = watch_events(w);
        if (r < 0) {
                explain(r, w->control);
                fd_close(&w->events);
        }
        return 0;
}

OomWatch *
oom_watch_new_in(const char *dir, bool unified, bool from_zero, OomFunc on_oom, void *data)
{
        OomWatch *w = g_new(OomWatch, 1);
        *w = (OomWatch){
                .path = g_build_filename(dir, unified ? "memory.events" : "memory.oom_control", NULL),
                .control = unified ? NULL : g_build_filename(dir, "cgroup.event_control", NULL),
                .counters = -1,
                .events = -1,
                .on_oom = on_oom,
                .data = data,
        };
        int r = start(w, from_zero);
        if (r == 0)
                return w;
        explain(r, w->path);
        oom_watch_free(w);
        return NULL;
}

OomWatch *
oom_watch_new(pid_t pid, const char *id, bool new_container, OomFunc on_oom, void *data)
{
        CgroupMemory memory = {0};
        int r = cgroup_find_memory(CGROUP_ROOT, pid, id, &memory);
        g_autofree char *dir = memory.dir;
        if (r == 0)
                return oom_watch_new_in(dir, memory.unified, new_container && memory.named, on_oom, data);
        g_autofree char *what = g_strdup_printf("the cgroup of process %d", (int)pid);
        explain(r, what);
        return NULL;
}

void
oom_watch_save(const OomWatch *w, StateWriter *state)
{
        if (!w || !w->on_oom)
                return;
        state_begin(state, "oom");
        state_put_text(state, "path", w->path);
        state_put_text(state, "control", w->control);
        state_put_uint(state, "before", w->before.oom);
        state_put_uint(state, "before-killed", w->before.oom_kill);
        state_put_fd(state, "counters", w->counters);
        state_put_fd(state, "events", w->events);
        state_end(state);
}

OomWatch *
oom_watch_restore(StateReader *r, OomFunc on_oom, void *data)
{
        if (!state_enter_next(r, "oom"))
                return NULL;
        OomWatch *w = g_new0(OomWatch, 1);
        w->on_oom = on_oom;
        w->data = data;
        w->path = state_get_text(r, "path");
        w->control = state_get_text(r, "control");
        w->before.oom = state_get_uint(r, "before", UINT64_MAX);
        w->before.oom_kill = state_get_uint(r, "before-killed", UINT64_MAX);
        w->counters = state_get_fd(r, "counters");
        w->events = state_get_fd(r, "events");
        state_leave(r);
        bool unified = w->control == NULL;
        int fd = unified ? w->counters : w->events;
        if (fd >= 0) {
                watch_init(&w->watch, fd, WATCH_PRIORITY_IO, on_event, w);
                watch_arm(&w->watch, unified ? G_IO_PRI : G_IO_IN);
        }
        return w;
}

void
oom_watch_free(OomWatch *w)
{
        if (!w)
                return;
        stop(w);
        g_free(w->path);
        g_free(w->control);
        g_free(w);
}
