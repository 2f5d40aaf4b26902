#include "proc/oom_watch.h"

#include "base/diag.h"
#include "base/fd.h"
#include "base/watch.h"
#include "proc/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#define COUNTS_TEXT_MAX 4096

struct OomWatch {
        char *counters; /* memory.events, or memory.oom_control of version 1 */
        char *control;  /* cgroup.event_control of version 1; NULL with version 2 */
        OomCounts before;
        int fd; /* inotify, or the eventfd of version 1; -1: only the last look is left */
        Watch watch;
        OomFunc on_oom; /* NULL once there is nothing more to notice */
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

static int
read_counts(const char *path, OomCounts *ret)
{
        g_autofree char *text = NULL;
        int r = fd_read_file(path, COUNTS_TEXT_MAX, &text, NULL);
        if (r < 0)
                return r;
        *ret = oom_counts_parse(text);
        return 0;
}

/* Says why there is no watch. Most reasons are how a machine is set up: no memory controller, a cgroup of
 * somebody else (rootless), a kernel without the interface, a container that is gone already. */
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
        fd_close(&w->fd);
}

static void
report(OomWatch *w)
{
        OomFunc on_oom = w->on_oom;
        void *data = w->data;
        stop(w);
        on_oom(data);
}

/* Version 1: the eventfd also fires, once, when the cgroup is removed. Returns true if it told of an OOM. */
static bool
event_came(OomWatch *w)
{
        uint64_t events = 0;
        if (!w->control || fd_read(w->fd, &events, sizeof events) != sizeof events)
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
        OomCounts now;
        int r = read_counts(w->counters, &now);
        if (r == -ENOENT || r == -ENODEV) {
                diag_debug("Cgroup appears to have been removed: %s", w->counters);
                stop(w);
        } else if (r < 0) {
                diag_warn("Stopped watching for OOM, cannot read %s: %s", w->counters, strerror(-r));
                stop(w);
        } else if (now.oom != w->before.oom || now.oom_kill != w->before.oom_kill) {
                report(w);
        }
}

static void
on_inotify(GIOCondition revents, void *data)
{
        OomWatch *w = data;
        /* Less room than one event with its name may need is EINVAL, again and again (inotify(7)). What the
         * events say does not matter: the file is read in any case. */
        char events[sizeof(struct inotify_event) + NAME_MAX + 1];
        (void)fd_read(w->fd, events, sizeof events);
        oom_watch_check(w);
}

static void
on_eventfd(GIOCondition revents, void *data)
{
        oom_watch_check(data);
}

static int
notify_of_changes(OomWatch *w)
{
        w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (w->fd < 0 || inotify_add_watch(w->fd, w->counters, IN_MODIFY) < 0)
                return -errno;
        watch_init(&w->watch, w->fd, WATCH_PRIORITY_IO, on_inotify, w);
        watch_arm(&w->watch, G_IO_IN);
        return 0;
}

static int
notify_of_events(OomWatch *w)
{
        w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        /* Both are needed for the registration only. */
        autofd int oom_fd = open(w->counters, O_RDONLY | O_CLOEXEC);
        autofd int control_fd = open(w->control, O_WRONLY | O_CLOEXEC);
        if (w->fd < 0 || oom_fd < 0 || control_fd < 0)
                return -errno;
        char line[32];
        int len = snprintf(line, sizeof line, "%d %d", w->fd, oom_fd);
        if (write(control_fd, line, (size_t)len) < 0)
                return -errno;
        watch_init(&w->watch, w->fd, WATCH_PRIORITY_IO, on_eventfd, w);
        watch_arm(&w->watch, G_IO_IN);
        return 0;
}

OomWatch *
oom_watch_new_in(const char *dir, bool unified, OomFunc on_oom, void *data)
{
        OomWatch *w = g_new0(OomWatch, 1);
        w->fd = -1;
        w->counters = g_build_filename(dir, unified ? "memory.events" : "memory.oom_control", NULL);
        w->control = unified ? NULL : g_build_filename(dir, "cgroup.event_control", NULL);
        w->on_oom = on_oom;
        w->data = data;

        int r = read_counts(w->counters, &w->before);
        if (r < 0) {
                explain(r, w->counters);
                oom_watch_free(w);
                return NULL;
        }
        r = unified ? notify_of_changes(w) : notify_of_events(w);
        if (r < 0) {
                explain(r, unified ? w->counters : w->control);
                fd_close(&w->fd);
        }
        return w;
}

OomWatch *
oom_watch_new(pid_t pid, OomFunc on_oom, void *data)
{
        bool unified;
        g_autofree char *dir = NULL;
        int r = cgroup_memory_dir(CGROUP_ROOT, pid, &unified, &dir);
        if (r < 0) {
                g_autofree char *what = g_strdup_printf("the cgroup of process %d", (int)pid);
                explain(r, what);
                return NULL;
        }
        return oom_watch_new_in(dir, unified, on_oom, data);
}

void
oom_watch_free(OomWatch *w)
{
        if (!w)
                return;
        stop(w);
        g_free(w->counters);
        g_free(w->control);
        g_free(w);
}
