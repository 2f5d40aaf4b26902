#include "log/log_file.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "log/rotate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_FLAGS (O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

gboolean
log_file_read_limits(const LogDriverConfig *config, LogFileLimits *limits, GError **error)
{
        const LogOptions *o = config->options;
        limits->renewed = config->from_log_path;
        if (log_options_has(o, "max-size"))
                limits->size_max = log_options_number(o, "max-size");
        if (log_options_has(o, "max-file"))
                limits->backups = (int)log_options_number(o, "max-file") - 1;
        limits->compress = log_options_number(o, "compress");
        bool rotates = limits->size_max > 0 && limits->backups > 0;
        if (log_options_has(o, "max-file") && limits->backups > 0 && !rotates)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log option max-file=%s has no effect without max-size",
                                 log_options_string(o, "max-file"));
        if (limits->compress && !rotates)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log option compress=true needs max-size, and a max-file of at least 2");
        return TRUE;
}

static bool
is_fifo(const char *path)
{
        struct stat st;
        return stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Opens the path as it is. A FIFO that nobody reads leaves fd at -1. */
static int
open_path(LogFile *f)
{
        f->fd = open(f->path, OPEN_FLAGS, 0640);
        if (f->fd < 0)
                return errno == ENXIO && is_fifo(f->path) ? 0 : -errno;
        struct stat st;
        if (fstat(f->fd, &st) < 0)
                return -errno;
        f->regular = S_ISREG(st.st_mode);
        f->size = f->regular ? st.st_size : 0;
        return f->regular ? log_rotate_locate(f->path, &f->dirfd, &f->name) : 0;
}

int
log_file_open(LogFile *f, const char *path, const LogFileLimits *limits, LogSink *sink)
{
        *f = (LogFile){
                .path = g_canonicalize_filename(path, NULL),
                .limits = *limits,
                .sink = sink,
                .fd = -1,
                .dirfd = -1,
        };
        log_archive_init(&f->archive);
        int r = open_path(f);
        if (r < 0)
                log_file_close(f);
        f->total = f->size;
        return r;
}

void
log_file_close(LogFile *f)
{
        log_archive_stop(&f->archive);
        watch_done(&f->writable);
        fd_close(&f->fd);
        fd_close(&f->dirfd);
        g_clear_pointer(&f->name, g_free);
        g_clear_pointer(&f->path, g_free);
}

/* True if the file is smaller than was written to it: somebody truncated it. */
static bool
was_truncated(LogFile *f)
{
        struct stat st;
        if (fstat(f->fd, &st) < 0 || st.st_size >= f->size)
                return false;
        f->size = st.st_size;
        return true;
}

/* What was written of a message that can't be finished goes away again; it will be written from its start. */
static void
take_back_torn(LogFile *f, LogQueue *q)
{
        struct stat st;
        off_t torn = (off_t)q->torn;
        if (torn > 0 && f->regular && !was_truncated(f) && fstat(f->fd, &st) == 0 &&
            ftruncate(f->fd, st.st_size - torn) == 0) {
                f->size -= torn;
                f->total -= torn;
        }
        log_queue_rewind(q);
}

void
log_file_start(LogFile *f)
{
        const LogFileLimits *l = &f->limits;
        if (!f->regular || !l->compress)
                return;
        int64_t files = (int64_t)l->backups + 1;
        int64_t budget = l->size_max < INT64_MAX / files ? l->size_max * files : INT64_MAX;
        log_archive_start(&f->archive, f->dirfd, f->name, l->backups, budget);
}

static bool
is_same_file(int a, int b)
{
        struct stat sa, sb;
        return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* The path may lead to another directory by now; if it leads nowhere, the known directory still serves. */
static void
follow_path(LogFile *f)
{
        autofd int dirfd = -1;
        char *name = NULL;
        if (log_rotate_locate(f->path, &dirfd, &name) < 0)
                return;
        if (!is_same_file(dirfd, f->dirfd))
                log_archive_stop(&f->archive);
        fd_close(&f->dirfd);
        g_free(f->name);
        f->dirfd = fd_steal(&dirfd);
        f->name = name;
}

/* Puts a new file in the place of the old one. */
static int
renew(LogFile *f, LogQueue *q)
{
        follow_path(f);
        int fd = log_rotate(f->dirfd, f->name, f->limits.backups);
        if (fd < 0)
                return fd;
        take_back_torn(f, q);
        fd_close(&f->fd);
        f->fd = fd;
        f->size = 0;
        log_archive_shift(&f->archive);
        log_file_start(f);
        return 0;
}

/* A FIFO or device is opened again, unless it is the same one: a reader would see
 * an end that there is not. */
static int
open_again(LogFile *f, LogQueue *q)
{
        struct stat there, open;
        if (f->fd >= 0 && stat(f->path, &there) == 0 && fstat(f->fd, &open) == 0 &&
            there.st_dev == open.st_dev && there.st_ino == open.st_ino)
                return 0;
        log_queue_rewind(q);
        watch_done(&f->writable);
        fd_close(&f->fd);
        int r = open_path(f);
        return r == 0 && f->fd < 0 && !log_queue_is_empty(q) ? -ENXIO : r;
}

static int
make_ready(LogFile *f, LogQueue *q)
{
        if (f->fd >= 0 && !f->wants_new)
                return 0;
        int r = f->regular ? renew(f, q) : open_again(f, q);
        if (r == 0)
                f->wants_new = false;
        return r;
}

/* How long the file may become. While an old file is being compressed, its result takes some of the room. */
static int64_t
size_limit(const LogFile *f)
{
        if (!f->regular || f->limits.size_max <= 0)
                return INT64_MAX;
        return log_archive_is_busy(&f->archive) ? MIN(f->archive.live, f->limits.size_max)
                                                : f->limits.size_max;
}

/* What can be written now: whole messages within the limits, or one that is longer than they
 * are. 0: the file is full. */
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

static int
handle_write_error(LogFile *f, LogQueue *q, int error)
{
        if (error == EINTR)
                return 0;
        if (error == EAGAIN) {
                if (!f->writable.source)
                        watch_init(&f->writable, f->fd, WATCH_PRIORITY_IO, on_writable, f);
                watch_arm(&f->writable, G_IO_OUT);
                return LOG_SEND_WAIT;
        }
        if (error == EPIPE && !f->regular) {
                /* The next reader is to begin with a whole message. */
                watch_done(&f->writable);
                fd_close(&f->fd);
                log_queue_rewind(q);
        }
        return -error;
}

/* True if a new file can't be made here and never will: in a directory that belongs to somebody else or is
 * read-only, for a file that is mounted by itself, or where there is no name for it. */
static bool
is_fixed(int error)
{
        return error == -EACCES || error == -EPERM || error == -EROFS || error == -EBUSY || error == -EXDEV ||
               error == -ENAMETOOLONG || error == -EISDIR;
}

/* What keeps a file from being renamed or removed may have been a matter of a moment. */
#define RENEW_TRIES 3

/* The last resort: what is new is worth more than what is old. */
static int
start_over(LogFile *f, int error)
{
        if (ftruncate(f->fd, 0) < 0)
                return error;
        if (!f->told)
                diag_warn("The log %s can't be rotated: %s; its old content is thrown away", f->path,
                          g_strerror(-error));
        f->told = true;
        f->size = 0;
        return 0;
}

/* The file has no room for the next message. */
static int
make_room(LogFile *f, LogQueue *q)
{
        if (was_truncated(f))
                return 0;
        if (size_limit(f) < f->limits.size_max) {
                log_archive_stop(&f->archive);
                return 0;
        }
        int r = renew(f, q);
        for (int i = 1; i < RENEW_TRIES && is_fixed(r); i++)
                r = renew(f, q);
        return is_fixed(r) ? start_over(f, r) : r;
}

static int
write_some(LogFile *f, LogQueue *q)
{
        if (f->limits.global_max > 0 && f->total >= f->limits.global_max && q->torn == 0)
                return LOG_SEND_ENDED;
        /* Somebody has made room, and the beginning of the message is gone. */
        if (q->torn > 0 && f->regular && was_truncated(f))
                log_queue_rewind(q);
        const char *bytes;
        size_t len = choose(f, q, &bytes);
        if (len == 0)
                return make_room(f, q);
        ssize_t n = write(f->fd, bytes, len);
        if (n < 0)
                return handle_write_error(f, q, errno);
        f->size += n;
        f->total += n;
        log_queue_wrote(q, (size_t)n);
        /* What was truncated before is not to be taken for what happens to the torn message. */
        if (q->torn > 0 && f->regular)
                (void)was_truncated(f);
        return 0;
}

int
log_file_send(LogFile *f, LogQueue *q)
{
        int r = 0;
        while (r == 0 && (f->wants_new || !log_queue_is_empty(q))) {
                r = make_ready(f, q);
                if (r == 0 && !log_queue_is_empty(q))
                        r = write_some(f, q);
        }
        return r;
}

/* True if the name still is that of the open file. */
static bool
is_in_place(const LogFile *f)
{
        struct stat open, named;
        return f->fd >= 0 && f->regular && fstat(f->fd, &open) == 0 && stat(f->path, &named) == 0 &&
               open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

int
log_file_reopen(LogFile *f, LogQueue *q)
{
        if (!f->limits.renewed && is_in_place(f))
                return 0;
        f->wants_new = true;
        return make_ready(f, q);
}

void
log_file_finish(LogFile *f, LogQueue *q, bool sync)
{
        if (f->fd < 0)
                return;
        if (f->regular)
                take_back_torn(f, q);
        if (f->regular && sync)
                (void)fsync(f->fd);
}
