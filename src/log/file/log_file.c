/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/file/log_file.h"

#include "base/diag.h"
#include "base/errands.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/stand_in.h"
#include "log/file/file_error.h"
#include "log/file/rotate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_FLAGS (O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

gboolean
log_file_read_limits(const LogDriverConfig *config, const LogFileOptions *o, LogFileLimits *limits,
                     GError **error)
{
        limits->renewed = config->from_log_path;
        if (o->max_size > 0)
                limits->size_max = o->max_size;
        if (o->max_age > 0)
                limits->age_max = o->max_age;
        if (o->max_file > 0)
                limits->backups = (int)o->max_file - 1;
        limits->compress = o->compress;
        bool rotates = (limits->size_max > 0 || limits->age_max > 0) && limits->backups > 0;
        if (o->max_file > 1 && !rotates)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log option max-file=%" G_GINT64_FORMAT
                                 " has no effect without max-size or max-age",
                                 o->max_file);
        if (limits->compress && !rotates)
                return error_set(
                        error, CONMON_ERROR_USAGE,
                        "Log option compress=true needs max-size or max-age, and a max-file of at least 2");
        return TRUE;
}

/* After a failure that may pass, how long it takes to try to create a requested file again. */
#define CREATE_AGAIN_USEC (2 * G_USEC_PER_SEC)

/* ---- calls that stall with the disk ---- */

static StandIn *
lend(const LogFile *f)
{
        return f->regular ? stand_in_lend(f->stand_in) : NULL;
}

static ssize_t
append(const LogFile *f, const char *bytes, size_t len)
{
        StandIn *lent = lend(f);
        ssize_t n = write(f->fd, bytes, len);
        stand_in_take_back(lent);
        return n;
}

static int
shorten(const LogFile *f, off_t size)
{
        StandIn *lent = lend(f);
        int r = ftruncate(f->fd, size);
        stand_in_take_back(lent);
        return r;
}

static int
examine(const LogFile *f, struct stat *ret)
{
        StandIn *lent = lend(f);
        int r = fstat(f->fd, ret);
        stand_in_take_back(lent);
        return r;
}

/* Servers of files may be asked when one is closed. */
static void
close_old(LogFile *f)
{
        StandIn *lent = lend(f);
        fd_close(&f->fd);
        stand_in_take_back(lent);
}

/* ---- opening ---- */

static void
on_again(void *data)
{
        log_sink_ready(((LogFile *)data)->sink);
}

static bool
is_fifo(const char *path)
{
        struct stat st;
        return stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Creation time of a file that is not empty; now, if the file system does not record it. */
static int64_t
find_birth(int fd)
{
        struct statx stx;
        if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &stx) < 0 || !(stx.stx_mask & STATX_BTIME))
                return g_get_real_time();
        return stx.stx_btime.tv_sec * G_USEC_PER_SEC + stx.stx_btime.tv_nsec / 1000;
}

/* Opens the path unchanged. A FIFO without a reader leaves fd at -1. */
static int
open_path(LogFile *f)
{
        do
                f->fd = open(f->path, OPEN_FLAGS, 0640);
        while (f->fd < 0 && errno == EINTR);
        if (f->fd < 0)
                return errno == ENXIO && is_fifo(f->path) ? 0 : -errno;
        struct stat st;
        if (fstat(f->fd, &st) < 0)
                return -errno;
        f->regular = S_ISREG(st.st_mode);
        f->size = f->regular ? st.st_size : 0;
        if (f->limits.age_max > 0 && f->size > 0)
                f->born = find_birth(f->fd);
        return f->regular ? log_rotate_locate(f->path, &f->dirfd, &f->name) : 0;
}

/* Only the kernel resolves names: the meaning of ".." depends on symbolic links. */
static char *
make_absolute(const char *path)
{
        g_autofree char *cwd = g_path_is_absolute(path) ? NULL : g_get_current_dir();
        return cwd ? g_build_filename(cwd, path, NULL) : g_strdup(path);
}

/* Moves what open_path has set. */
static void
adopt(LogFile *f, LogFile *opened)
{
        close_old(f);
        fd_close(&f->dirfd);
        g_free(f->name);
        f->fd = fd_steal(&opened->fd);
        f->dirfd = fd_steal(&opened->dirfd);
        f->name = g_steal_pointer(&opened->name);
        f->regular = opened->regular;
        f->size = opened->size;
        f->born = opened->born;
}

/* A file that another thread opens. */
typedef struct {
        LogFile file;
        int r;
} Opening;

static void
opening_free(void *data)
{
        Opening *o = data;
        fd_close(&o->file.fd);
        fd_close(&o->file.dirfd);
        g_free(o->file.name);
        g_free(o->file.path);
        g_free(o);
}

static void
open_in_thread(void *data)
{
        Opening *o = data;
        o->r = open_path(&o->file);
}

static int
open_elsewhere(LogFile *f, Errands *errands)
{
        Opening *o = g_new0(Opening, 1);
        o->file = (LogFile){.path = g_strdup(f->path), .limits = f->limits, .fd = -1, .dirfd = -1};
        if (!errands_do(errands, open_in_thread, o, opening_free, f->path))
                return -ETIMEDOUT;
        int r = o->r;
        adopt(f, &o->file);
        opening_free(o);
        return r;
}

int
log_file_open(LogFile *f, const char *path, const LogFileLimits *limits, const LogDriverConfig *config)
{
        Errands *errands = config->log->errands;
        *f = (LogFile){
                .path = make_absolute(path),
                .limits = *limits,
                .sink = config->sink,
                .stand_in = log_sink_stand_in(config->sink),
                .fd = -1,
                .dirfd = -1,
        };
        log_archive_init(&f->archive, config->sink);
        timer_init(&f->again, on_again, f);
        int r = errands ? open_elsewhere(f, errands) : open_path(f);
        f->total = f->size;
        return r;
}

static void
save_limits(const LogFileLimits *l, StateWriter *w)
{
        state_begin(w, "limits");
        state_put_int(w, "size", l->size_max);
        state_put_int(w, "global", l->global_max);
        state_put_int(w, "age", l->age_max);
        state_put_int(w, "backups", l->backups);
        state_put_uint(w, "compress", l->compress);
        state_put_uint(w, "renewed", l->renewed);
        state_end(w);
}

/* Sums and differences of two such numbers fit. */
#define SIZE_LIMIT (INT64_MAX / 2)

static void
restore_limits(LogFileLimits *l, StateReader *r)
{
        state_enter(r, "limits");
        l->size_max = state_get_int(r, "size", INT64_MIN, INT64_MAX);
        l->global_max = state_get_int(r, "global", INT64_MIN, INT64_MAX);
        l->age_max = state_get_int(r, "age", INT64_MIN, INT64_MAX);
        l->backups = (int)state_get_int(r, "backups", 0, INT32_MAX);
        l->compress = state_get_bool(r, "compress");
        l->renewed = state_get_bool(r, "renewed");
        state_leave(r);
}

void
log_file_save(const LogFile *f, StateWriter *w)
{
        state_begin(w, "file");
        state_put_text(w, "path", f->path);
        save_limits(&f->limits, w);
        state_put_fd(w, "descriptor", f->fd);
        state_put_fd(w, "directory", f->dirfd);
        state_put_text(w, "name", f->name);
        state_put_uint(w, "regular", f->regular);
        state_put_uint(w, "wants-new", f->wants_new);
        state_put_uint(w, "forgotten", f->forgotten);
        state_put_uint(w, "truncation-reported", f->truncation_reported);
        state_put_uint(w, "reopen-reported", f->reopen_reported);
        state_put_int(w, "size", f->size);
        state_put_int(w, "total", f->total);
        state_put_int(w, "born", f->born);
        log_archive_save(&f->archive, w);
        state_end(w);
}

void
log_file_restore(LogFile *f, LogSink *sink, StateReader *r)
{
        *f = (LogFile){.sink = sink, .stand_in = log_sink_stand_in(sink), .fd = -1, .dirfd = -1};
        log_archive_init(&f->archive, sink);
        timer_init(&f->again, on_again, f);
        state_enter(r, "file");
        f->path = state_get_text(r, "path");
        restore_limits(&f->limits, r);
        f->fd = state_get_fd(r, "descriptor");
        f->dirfd = state_get_fd(r, "directory");
        f->name = state_get_text(r, "name");
        f->regular = state_get_bool(r, "regular");
        f->wants_new = state_get_bool(r, "wants-new");
        f->displaced = f->wants_new; /* unknown; the content of a file that is in place is worth more */
        f->forgotten = state_get_bool(r, "forgotten");
        f->truncation_reported = state_get_bool(r, "truncation-reported");
        f->reopen_reported = state_get_bool(r, "reopen-reported");
        f->size = state_get_int(r, "size", 0, SIZE_LIMIT);
        f->total = state_get_int(r, "total", 0, SIZE_LIMIT);
        f->born = state_get_int(r, "born", -SIZE_LIMIT, INT64_MAX);
        log_archive_restore(&f->archive, r);
        state_leave(r);
        if (!f->path || (f->regular && (!f->name || strchr(f->name, '/'))))
                state_fail(r, "A log file has no name");
}

void
log_file_set_limits(LogFile *f, const LogFileLimits *limits)
{
        if (limits->age_max > 0 && f->limits.age_max <= 0 && f->fd >= 0 && f->size > 0)
                f->born = find_birth(f->fd);
        f->limits = *limits;
}

/* True if the file is smaller than what was written to it: another process has truncated it. */
static bool
was_truncated(LogFile *f)
{
        struct stat st;
        if (examine(f, &st) < 0 || st.st_size >= f->size)
                return false;
        f->size = st.st_size;
        return true;
}

/* Removes a partially written message that can't be finished; it will be written from its start. */
static void
take_back_partial(LogFile *f, LogQueue *q)
{
        struct stat st;
        off_t part = (off_t)q->partially_sent;
        if (part > 0 && f->regular && !was_truncated(f) && examine(f, &st) == 0 &&
            shorten(f, st.st_size - part) == 0) {
                f->size -= part;
                f->total -= part;
        }
        log_queue_rewind(q);
}

/* Compresses remaining old files. */
static void
file_start(void *self)
{
        LogFile *f = self;
        const LogFileLimits *l = &f->limits;
        if (!f->regular || !l->compress)
                return;
        int64_t files = (int64_t)l->backups + 1;
        bool limited = l->size_max > 0 && l->size_max < INT64_MAX / files;
        int64_t budget = limited ? l->size_max * files : INT64_MAX;
        log_archive_start(&f->archive, f->dirfd, f->name, l->backups, budget);
}

static bool
is_same_file(int a, int b)
{
        struct stat sa, sb;
        return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* The path may lead to a different directory by now; if it does not resolve, the known directory is used.
 * Returns true if it is a different one. */
static bool
follow_path(LogFile *f)
{
        autofd int dirfd = -1;
        char *name = NULL;
        if (log_rotate_locate(f->path, &dirfd, &name) < 0)
                return false;
        bool moved = !is_same_file(dirfd, f->dirfd);
        fd_close(&f->dirfd);
        g_free(f->name);
        f->dirfd = fd_steal(&dirfd);
        f->name = name;
        return moved;
}

/* Replaces the old file by a new one. */
static int
renew(LogFile *f, LogQueue *q)
{
        StandIn *lent = lend(f);
        bool moved = follow_path(f);
        int fd = log_rotate(f->dirfd, f->name, f->limits.backups);
        stand_in_take_back(lent);
        if (moved)
                log_archive_stop(&f->archive);
        if (fd < 0)
                return fd;
        take_back_partial(f, q);
        close_old(f);
        f->fd = fd;
        f->size = 0;
        log_archive_shift(&f->archive);
        file_start(f);
        return 0;
}

/* True if the path still leads to the open file. */
static bool
is_in_place(const LogFile *f)
{
        struct stat open, named;
        return f->fd >= 0 && fstat(f->fd, &open) == 0 && stat(f->path, &named) == 0 &&
               open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

static bool
finds_in_place(const LogFile *f)
{
        StandIn *lent = lend(f);
        bool in_place = is_in_place(f);
        stand_in_take_back(lent);
        return in_place;
}

/* A FIFO or device is opened again, unless it is the same one: a reader would see a false end of file. The
 * old one stays open until the new one is. */
static int
open_again(LogFile *f, LogQueue *q)
{
        StandIn *lent = stand_in_lend(f->stand_in);
        bool in_place = is_in_place(f);
        int old = in_place ? -1 : fd_steal(&f->fd);
        int r = in_place ? 0 : open_path(f);
        stand_in_take_back(lent);
        if (in_place)
                return 0;
        if (r < 0) {
                fd_close(&f->fd);
                f->fd = old;
                return r;
        }
        log_queue_rewind(q);
        watch_done(&f->writable);
        fd_close(&old);
        return f->fd < 0 && !log_queue_is_empty(q) ? -ENXIO : 0;
}

/* A permanent error may be temporary after all, while another process moves the file. */
#define REPLACE_TRIES 3

static int
replace(LogFile *f, LogQueue *q)
{
        int r = -EAGAIN;
        for (int i = 0; i < REPLACE_TRIES && (i == 0 || log_file_error_is_permanent(r)); i++)
                r = f->regular ? renew(f, q) : open_again(f, q);
        if (r == 0) {
                f->wants_new = f->reopen_reported = false;
                timer_stop(&f->again);
        }
        return r;
}

/* A new file is requested, and it is time to create it. */
static bool
wants_new_now(const LogFile *f)
{
        return f->wants_new && !timer_is_running(&f->again);
}

/* Writing to a file without a name would lose what is written. */
static bool
has_name(const LogFile *f)
{
        struct stat st;
        return examine(f, &st) == 0 && st.st_nlink > 0;
}

/* The new file can't be created: logging continues in the old one, if there is one. */
static int
keep_old_file(LogFile *f, int error)
{
        bool permanent = log_file_error_is_permanent(error);
        if (f->fd < 0 || (!permanent && !has_name(f)))
                return error;
        if (!f->reopen_reported)
                diag_warn("Failed to create a new log file %s: %s; the old one is kept", f->path,
                          g_strerror(-error));
        f->reopen_reported = true;
        f->wants_new = !permanent;
        f->displaced = !permanent && !finds_in_place(f);
        if (!permanent)
                timer_start(&f->again, CREATE_AGAIN_USEC);
        return 0;
}

/* Who requested the new file has given the old one its name back: a new one would replace its content. */
static bool
is_withdrawn(const LogFile *f)
{
        return f->displaced && f->regular && finds_in_place(f);
}

static int
make_ready(LogFile *f, LogQueue *q)
{
        if (wants_new_now(f) && is_withdrawn(f))
                f->wants_new = f->reopen_reported = false;
        f->wants_new &= !log_sink_is_over(f->sink);
        if (f->fd >= 0 && !wants_new_now(f))
                return 0;
        int r = replace(f, q);
        return r < 0 ? keep_old_file(f, r) : 0;
}

/* The maximum size of the file, less the space reserved for a running compression. Output that a stalled disk
 * held back until after the end goes to the last file. */
static int64_t
size_limit(const LogFile *f)
{
        if (!f->regular || f->limits.size_max <= 0 || log_sink_is_over(f->sink))
                return INT64_MAX;
        return log_archive_is_busy(&f->archive) ? MIN(f->archive.live, f->limits.size_max)
                                                : f->limits.size_max;
}

/* The number of bytes to write now: whole messages within the limits, or one that exceeds them. 0: the
 * file is full. */
static size_t
choose(LogFile *f, LogQueue *q, const char **ret_bytes)
{
        int64_t limit = size_limit(f);
        size_t max = (size_t)MAX(limit - f->size, 0);
        if (f->limits.global_max > 0)
                max = MIN(max, (size_t)(f->limits.global_max - f->total));
        size_t len = log_queue_next(q, max, ret_bytes);
        if (len > 0)
                return len;
        size_t first = log_queue_next_len(q);
        bool fits = f->size == 0 || f->size + (int64_t)first <= limit;
        return fits ? log_queue_next(q, first, ret_bytes) : 0;
}

static void
on_writable(GIOCondition revents, void *data)
{
        LogFile *f = data;
        watch_disarm(&f->writable);
        log_sink_ready(f->sink);
}

/* The server no longer knows the file: the server was restored, or the file replaced. */
static int
open_forgotten(LogFile *f, LogQueue *q)
{
        LogFile again = {.path = f->path, .limits = f->limits, .fd = -1, .dirfd = -1};
        f->forgotten = !f->forgotten;
        if (!f->forgotten || log_sink_is_over(f->sink))
                return -ESTALE;
        StandIn *lent = lend(f);
        int r = open_path(&again);
        stand_in_take_back(lent);
        if (r < 0 || !again.regular) {
                fd_close(&again.fd);
                fd_close(&again.dirfd);
                g_free(again.name);
                return -ESTALE;
        }
        log_archive_stop(&f->archive);
        adopt(f, &again);
        log_queue_rewind(q);
        return 0;
}

static int
handle_write_error(LogFile *f, LogQueue *q, int error)
{
        if (error == EINTR)
                return 0;
        if (error == ESTALE && f->regular)
                return open_forgotten(f, q);
        if (error == EAGAIN) {
                watch_done(&f->writable);
                watch_init(&f->writable, f->fd, WATCH_PRIORITY_IO, on_writable, f);
                watch_arm(&f->writable, G_IO_OUT);
                return LOG_SEND_WAIT;
        }
        if (error == EPIPE && !f->regular) {
                /* The next reader should start with a whole message. */
                watch_done(&f->writable);
                fd_close(&f->fd);
                log_queue_rewind(q);
        }
        return -error;
}

/* Last resort: truncate in place. */
static int
start_over(LogFile *f, int error)
{
        if (shorten(f, 0) < 0)
                return error;
        if (!f->truncation_reported)
                diag_warn("The log %s can't be rotated: %s; its old content is thrown away", f->path,
                          g_strerror(-error));
        f->truncation_reported = true;
        f->size = 0;
        return 0;
}

/* The next message does not fit in the file. */
static int
make_room(LogFile *f, LogQueue *q)
{
        if (was_truncated(f))
                return 0;
        if (size_limit(f) < f->limits.size_max) {
                log_archive_stop(&f->archive);
                return 0;
        }
        int r = replace(f, q);
        return log_file_error_is_permanent(r) ? start_over(f, r) : r;
}

/* Checked when there is something to write, so that no timer wakes up an idle monitor. */
static bool
is_too_old(LogFile *f, const LogQueue *q)
{
        if (f->limits.age_max <= 0 || !f->regular || f->size == 0 || q->partially_sent > 0 || f->wants_new ||
            log_sink_is_over(f->sink))
                return false;
        int64_t now = g_get_real_time();
        f->born = MIN(f->born, now); /* the clock was set back */
        return now - f->born >= f->limits.age_max;
}

/* If there can't be a new file, the old one is not truncated: it is within its limits. */
static int
retire(LogFile *f, LogQueue *q)
{
        int r = replace(f, q);
        if (r == 0)
                return 0;
        r = keep_old_file(f, r);
        if (r == 0)
                f->born = g_get_real_time();
        return r;
}

static int
write_some(LogFile *f, LogQueue *q)
{
        if (f->limits.global_max > 0 && f->total >= f->limits.global_max && q->partially_sent == 0)
                return LOG_SEND_ENDED;
        /* Another process has truncated the file, and the beginning of the message is lost. */
        if (q->partially_sent > 0 && f->regular && was_truncated(f))
                log_queue_rewind(q);
        if (is_too_old(f, q))
                return retire(f, q);
        const char *bytes;
        size_t len = choose(f, q, &bytes);
        if (len == 0)
                return make_room(f, q);
        ssize_t n = append(f, bytes, len);
        if (n < 0)
                return handle_write_error(f, q, errno);
        f->forgotten = false;
        if (f->size == 0 && f->limits.age_max > 0)
                f->born = g_get_real_time();
        f->size += n;
        f->total += n;
        log_queue_wrote(q, (size_t)n);
        /* An earlier truncation must not be mistaken for the loss of the partially sent message. */
        if (q->partially_sent > 0 && f->regular)
                (void)was_truncated(f);
        return 0;
}

static int
file_send(void *self, LogQueue *q)
{
        LogFile *f = self;
        int r = 0;
        while (r == 0 && (wants_new_now(f) || !log_queue_is_empty(q))) {
                r = make_ready(f, q);
                if (r == 0 && !log_queue_is_empty(q))
                        r = write_some(f, q);
        }
        return r;
}

static int
file_reopen(void *self, LogQueue *q)
{
        LogFile *f = self;
        if (!f->limits.renewed && f->regular && finds_in_place(f))
                return 0;
        timer_stop(&f->again);
        f->wants_new = true;
        f->displaced = false;
        return make_ready(f, q);
}

static void
file_finish(void *self, LogQueue *q, gint64 until)
{
        LogFile *f = self;
        if (f->fd >= 0 && f->regular)
                take_back_partial(f, q);
        log_archive_stop(&f->archive);
        timer_stop(&f->again);
}

static void
file_sync(void *self)
{
        const LogFile *f = self;
        if (f->fd >= 0 && f->regular)
                (void)fsync(f->fd);
}

static const char *
file_target(void *self)
{
        return ((const LogFile *)self)->path;
}

static void
file_close(void *self)
{
        LogFile *f = self;
        if (!f->path)
                return;
        log_archive_stop(&f->archive);
        timer_stop(&f->again);
        watch_done(&f->writable);
        /* Of a log that a reload has removed. The loop must not run for others: they are closed because a
         * reload fails, or at the end. */
        if (log_sink_is_over(f->sink))
                close_old(f);
        fd_close(&f->fd);
        fd_close(&f->dirfd);
        g_free(f->name);
        g_free(f->path);
}

const LogTransport log_file_transport = {
        .may_stall = true,
        .start = file_start,
        .send = file_send,
        .reopen = file_reopen,
        .finish = file_finish,
        .sync = file_sync,
        .target = file_target,
        .close = file_close,
};
