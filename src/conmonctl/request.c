/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "conmonctl/request.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATUS_LINE "3 0 0\n"
#define STATUS_MAX  (4 << 20)

/* How often it is checked whether a status has appeared. */
#define POLL_USEC 2000

/* More than are needed besides those that are kept. */
#define OTHER_DESCRIPTORS 64

/* The status file before the request, which is kept open so that no later one gets its inode, and whether the
 * answer is still awaited. */
typedef struct {
        MonitorInfo *monitor;
        struct stat before;
        int before_fd; /* -1: none */
        bool waiting;
} Request;

static int
open_own(const MonitorInfo *m, const char *directory, const char *name, int flags, mode_t type)
{
        g_autofree char *path = g_build_filename(directory, name, NULL);
        return monitor_info_open(m, path, flags, type);
}

static void
stat_status(const MonitorInfo *m, struct stat *st)
{
        g_autofree char *path = g_build_filename(m->directory, "log-status.json", NULL);
        if (lstat(path, st) < 0)
                *st = (struct stat){0};
}

/* Each status is a new file under the same name. */
static bool
has_changed(const Request *r)
{
        struct stat now;
        stat_status(r->monitor, &now);
        return now.st_ino != 0 &&
               (now.st_ino != r->before.st_ino || now.st_mtim.tv_sec != r->before.st_mtim.tv_sec ||
                now.st_mtim.tv_nsec != r->before.st_mtim.tv_nsec);
}

static int
read_status(MonitorInfo *m, const char *directory)
{
        size_t len;
        g_autofree char *text = NULL;
        autofd int fd = open_own(m, directory, "log-status.json", O_RDONLY, S_IFREG);
        if (fd < 0)
                return fd;
        int r = fd_read_text(fd, STATUS_MAX, &text, &len);
        if (r < 0)
                return r;
        m->status = monitor_status_parse(text, len, NULL);
        return m->status ? 0 : -EBADMSG;
}

/* Returns 0 or -errno. Writes of up to PIPE_BUF bytes are atomic. */
static int
send_lines(const MonitorInfo *m, const char *line)
{
        g_autofree char *text = g_strconcat(line ? line : "", line ? "\n" : "", STATUS_LINE, NULL);
        if (!m->directory)
                return -ENOENT;
        autofd int fd = open_own(m, m->directory, "ctl", O_WRONLY, S_IFIFO);
        if (fd < 0)
                return fd;
        ssize_t n = write(fd, text, strlen(text));
        return n < 0 ? -errno : (size_t)n < strlen(text) ? -EAGAIN : 0;
}

/* No process reads the FIFO: if the container has exited, the monitor has written its final status. */
static void
read_last_status(MonitorInfo *m)
{
        const char *const places[] = {m->persist_directory, m->directory};
        g_autofree char *own = g_strdup_printf("%d", (int)m->pid);
        for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
                if (!places[i] || read_status(m, places[i]) < 0)
                        continue;
                if (m->status->ended &&
                    g_strcmp0(monitor_status_member(m->status->others, "monitor.pid"), own) == 0) {
                        m->error = 0;
                        return;
                }
                g_clear_pointer(&m->status, monitor_status_free);
        }
}

/* If the container ends before the request is handled, nobody reads the FIFO any more. The final status comes
 * a little later, unless everything is removed already. A copy that continues after a failed upgrade is a
 * reader, too. */
static void
look(Request *r)
{
        MonitorInfo *m = r->monitor;
        if (!r->waiting)
                return;
        autofd int fifo = open_own(m, m->directory, "ctl", O_WRONLY, S_IFIFO);
        if (has_changed(r)) {
                r->waiting = false;
                m->error = read_status(m, m->directory);
        } else if (fifo == -ENXIO || fifo == -ENOENT) {
                m->error = -ENXIO;
                read_last_status(m);
                r->waiting = m->error != 0 && fifo == -ENXIO && kill(m->pid, 0) == 0;
        }
}

/* Returns the number of descriptors up to which files may be kept open. */
static int
raise_limit(void)
{
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 0;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        return (int)MIN(limit.rlim_max, G_MAXINT) - OTHER_DESCRIPTORS;
}

/* Keeps the status of before open if its descriptor is below `kept`. */
static void
begin(Request *r, MonitorInfo *m, const char *line, int kept)
{
        *r = (Request){.monitor = m, .before_fd = -1};
        if (m->directory) {
                r->before_fd = open_own(m, m->directory, "log-status.json", O_RDONLY, S_IFREG);
                if (r->before_fd >= kept)
                        fd_close(&r->before_fd);
                stat_status(m, &r->before);
        }
        m->error = send_lines(m, line);
        r->waiting = m->error == 0;
        if (r->waiting)
                m->error = -ETIMEDOUT;
        else if (m->error == -ENXIO)
                read_last_status(m);
}

void
request_status(GPtrArray *monitors, const char *line, gint64 timeout_usec)
{
        int kept = raise_limit();
        g_autofree Request *requests = g_new0(Request, monitors->len + 1);
        for (guint i = 0; i < monitors->len; i++)
                begin(&requests[i], monitors->pdata[i], line, kept);
        gint64 deadline = g_get_monotonic_time() + timeout_usec;
        for (bool waiting = true; waiting;) {
                waiting = false;
                for (guint i = 0; i < monitors->len; i++) {
                        look(&requests[i]);
                        waiting = waiting || requests[i].waiting;
                }
                if (g_get_monotonic_time() >= deadline)
                        break;
                if (waiting)
                        g_usleep(POLL_USEC);
        }
        for (guint i = 0; i < monitors->len; i++)
                fd_close(&requests[i].before_fd);
}

const char *
request_describe(int error)
{
        switch (-error) {
        case ENOENT:
                return "it has no ctl FIFO: its log driver is passthrough, it monitors an exec session, or "
                       "its directory is gone";
        case ENXIO:
                return "its ctl FIFO has no reader: the monitor is about to exit";
        case ETIMEDOUT:
                return "it did not answer: the monitor is stopped or busy, or its version has no status";
        case EPERM:
                return "its ctl FIFO or log-status.json belongs to another user";
        case EBADMSG:
                return "its log-status.json can't be read as JSON";
        default:
                return g_strerror(-error);
        }
}
