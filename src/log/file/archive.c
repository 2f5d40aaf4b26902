/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/file/archive.h"

#include "base/diag.h"
#include "base/fd.h"
#include "log/file/rotate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_compressed(const char *error, void *data);

void
log_archive_init(LogArchive *a, LogSink *sink)
{
        *a = (LogArchive){
                .compressor = {.func = on_compressed, .data = a},
                .dirfd = -1,
                .sink = sink,
        };
}

/* Around everything that accesses files, and nothing else. */
static StandIn *
lend(const LogArchive *a)
{
        return stand_in_lend(log_sink_stand_in(a->sink));
}

static void
remove_temp(const LogArchive *a)
{
        StandIn *lent = lend(a);
        (void)unlinkat(a->dirfd, a->temp, 0);
        stand_in_take_back(lent);
}

static void
forget(LogArchive *a)
{
        if (a->temp)
                remove_temp(a);
        g_clear_pointer(&a->temp, g_free);
        g_clear_pointer(&a->name, g_free);
        fd_close(&a->dirfd);
}

bool
log_archive_is_busy(const LogArchive *a)
{
        return a->compressor.worker.busy;
}

void
log_archive_stop(LogArchive *a)
{
        log_compressor_stop(&a->compressor);
        forget(a);
}

static void
set_live(LogArchive *a)
{
        a->live = a->budget - a->room - log_rotate_sum(a->dirfd, a->name, a->backups);
}

/* Finds the current number of the file that is being compressed. False if it no longer exists. */
static bool
find_again(LogArchive *a)
{
        for (int i = 1; i <= a->backups && log_rotate_is_taken(a->dirfd, a->name, i); i++) {
                g_autofree char *plain = log_rotate_name(a->name, i, false);
                struct stat st;
                a->number = i;
                if (fstatat(a->dirfd, plain, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == a->dev &&
                    st.st_ino == a->ino)
                        return true;
        }
        return false;
}

void
log_archive_shift(LogArchive *a)
{
        if (!log_archive_is_busy(a))
                return;
        StandIn *lent = lend(a);
        set_live(a);
        bool found = find_again(a);
        stand_in_take_back(lent);
        if (a->live <= 0 || !found)
                log_archive_stop(a);
}

/* The last rotation was not finished: the most recent old file is still the current one as well. */
static bool
is_current(const LogArchive *a, const struct stat *st)
{
        struct stat current;
        return fstatat(a->dirfd, a->name, &current, AT_SYMLINK_NOFOLLOW) == 0 &&
               current.st_dev == st->st_dev && current.st_ino == st->st_ino;
}

/* Opens the most recent old file that is not compressed. One with a compressed copy has only not been
 * removed yet. */
static int
open_next(LogArchive *a, struct stat *ret_st)
{
        for (a->number = 1; a->number <= a->backups && log_rotate_is_taken(a->dirfd, a->name, a->number);
             a->number++) {
                g_autofree char *plain = log_rotate_name(a->name, a->number, false);
                g_autofree char *compressed = log_rotate_name(a->name, a->number, true);
                autofd int fd = openat(a->dirfd, plain, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
                if (fd < 0 || fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode) || is_current(a, ret_st))
                        continue;
                if (faccessat(a->dirfd, compressed, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
                        return fd_steal(&fd);
                (void)unlinkat(a->dirfd, plain, 0);
        }
        return -ENOENT;
}

/* Opens the file to compress, and the one that replaces it. */
static int
open_files(LogArchive *a, int *ret_in, int *ret_out)
{
        struct stat st;
        autofd int in = open_next(a, &st);
        if (in < 0)
                return in;
        a->dev = st.st_dev;
        a->ino = st.st_ino;
        /* Saving less than half is not worth a file that other tools can't read directly. */
        a->room = st.st_size / 2;
        set_live(a);
        if (a->live <= 0)
                return -ENOSPC;
        g_autofree char *temp = g_strconcat(a->name, ".gz.tmp", NULL);
        (void)unlinkat(a->dirfd, temp, 0);
        autofd int out = openat(a->dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
        if (out < 0)
                return -errno;
        a->temp = g_steal_pointer(&temp);
        *ret_in = fd_steal(&in);
        *ret_out = fd_steal(&out);
        return 0;
}

static int
start_next(LogArchive *a)
{
        autofd int in = -1, out = -1;
        StandIn *lent = lend(a);
        int r = open_files(a, &in, &out);
        stand_in_take_back(lent);
        if (r < 0)
                return r;
        return log_sink_is_over(a->sink) ? -ECANCELED
                                         : log_compressor_start(&a->compressor, in, out, a->room);
}

void
log_archive_start(LogArchive *a, int dirfd, const char *name, int backups, int64_t budget)
{
        if (log_archive_is_busy(a) || log_sink_is_over(a->sink))
                return;
        a->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
        a->name = g_strdup(name);
        a->backups = backups;
        a->budget = budget;
        if (a->dirfd < 0 || start_next(a) < 0)
                forget(a);
}

/* Replaces the old file by the compressed one. */
static int
exchange(LogArchive *a)
{
        if (!find_again(a))
                return -ENOENT;
        g_autofree char *plain = log_rotate_name(a->name, a->number, false);
        g_autofree char *compressed = log_rotate_name(a->name, a->number, true);
        if (renameat(a->dirfd, a->temp, a->dirfd, compressed) < 0)
                return -errno;
        g_clear_pointer(&a->temp, g_free);
        return unlinkat(a->dirfd, plain, 0) < 0 ? -errno : 0;
}

/* The disk has stalled, perhaps while the old files were being renamed. They stay as they are, and so does
 * the compressed one, which the next start replaces. */
static void
leave(LogArchive *a)
{
        g_clear_pointer(&a->temp, g_free);
        forget(a);
}

static void
on_compressed(const char *error, void *data)
{
        LogArchive *a = data;
        if (stand_in_serves(log_sink_stand_in(a->sink))) {
                leave(a);
                return;
        }
        StandIn *lent = lend(a);
        int r = error ? 0 : exchange(a);
        stand_in_take_back(lent);
        if (r < 0)
                error = g_strerror(-r);
        if (error && !a->failure_reported)
                diag_warn("Failed to compress %s.%d: %s", a->name, a->number, error);
        a->failure_reported |= error != NULL;
        if (error || log_sink_is_over(a->sink) || start_next(a) < 0)
                forget(a);
}

void
log_archive_save(const LogArchive *a, StateWriter *w)
{
        state_begin(w, "archive");
        state_put_uint(w, "failure-reported", a->failure_reported);
        log_compressor_save(&a->compressor, w);
        if (log_archive_is_busy(a)) {
                state_put_fd(w, "directory", a->dirfd);
                state_put_text(w, "name", a->name);
                state_put_text(w, "temporary", a->temp);
                state_put_uint(w, "device", a->dev);
                state_put_uint(w, "inode", a->ino);
                state_put_int(w, "number", a->number);
                state_put_int(w, "backups", a->backups);
                state_put_int(w, "budget", a->budget);
                state_put_int(w, "room", a->room);
                state_put_int(w, "live", a->live);
        }
        state_end(w);
}

void
log_archive_restore(LogArchive *a, StateReader *r)
{
        state_enter(r, "archive");
        a->failure_reported = state_get_bool(r, "failure-reported");
        log_compressor_restore(&a->compressor, r);
        if (log_archive_is_busy(a)) {
                a->dirfd = state_get_fd(r, "directory");
                a->name = state_get_text(r, "name");
                a->temp = state_get_text(r, "temporary");
                a->dev = (dev_t)state_get_uint(r, "device", UINT64_MAX);
                a->ino = (ino_t)state_get_uint(r, "inode", UINT64_MAX);
                a->number = (int)state_get_int(r, "number", 0, INT32_MAX);
                a->backups = (int)state_get_int(r, "backups", 0, INT32_MAX);
                a->budget = state_get_int(r, "budget", 0, INT64_MAX);
                a->room = state_get_int(r, "room", 0, INT64_MAX / 2);
                a->live = state_get_int(r, "live", INT64_MIN, INT64_MAX);
                if (!a->name || !a->temp || strchr(a->name, '/') || strchr(a->temp, '/'))
                        state_fail(r, "Nobody knows what is being compressed");
        }
        state_leave(r);
}
