/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/file/rotate.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int
log_rotate_locate(const char *path, int *ret_dirfd, char **ret_name)
{
        /* Not g_autofree: realpath allocates with malloc. */
        char *real = realpath(path, NULL);
        struct stat st;
        if (!real && (errno != ENOENT || (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))))
                return -errno;
        g_autofree char *dir = g_path_get_dirname(real ? real : path);
        int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = fd < 0 ? -errno : 0;
        if (r == 0) {
                *ret_dirfd = fd;
                *ret_name = g_path_get_basename(real ? real : path);
        }
        free(real);
        return r;
}

char *
log_rotate_name(const char *name, int number, bool compressed)
{
        return g_strdup_printf("%s.%d%s", name, number, compressed ? ".gz" : "");
}

static bool
exists(int dirfd, const char *name)
{
        struct stat st;
        return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static bool
is_same(int dirfd, const char *a, const char *b)
{
        struct stat sa, sb;
        return fstatat(dirfd, a, &sa, AT_SYMLINK_NOFOLLOW) == 0 &&
               fstatat(dirfd, b, &sb, AT_SYMLINK_NOFOLLOW) == 0 && sa.st_dev == sb.st_dev &&
               sa.st_ino == sb.st_ino;
}

/* Returns 0 also if there was nothing to remove. */
static int
remove_file(int dirfd, const char *name)
{
        return unlinkat(dirfd, name, 0) == 0 || errno == ENOENT ? 0 : -errno;
}

bool
log_rotate_is_taken(int dirfd, const char *name, int number)
{
        g_autofree char *plain = log_rotate_name(name, number, false);
        g_autofree char *compressed = log_rotate_name(name, number, true);
        return exists(dirfd, plain) || exists(dirfd, compressed);
}

/* The first free number, or the last one, whose file is removed. A gap is where an earlier run stopped. */
static int
find_gap(int dirfd, const char *name, int backups)
{
        int i = 1;
        while (i < backups && log_rotate_is_taken(dirfd, name, i))
                i++;
        return i;
}

static int
free_number(int dirfd, const char *name, int number)
{
        g_autofree char *plain = log_rotate_name(name, number, false);
        g_autofree char *compressed = log_rotate_name(name, number, true);
        int r = remove_file(dirfd, plain);
        return r < 0 ? r : remove_file(dirfd, compressed);
}

/* Gives a file the next number, which is free. It has one of the two names. */
static int
move_up(int dirfd, const char *name, int number)
{
        for (int compressed = 0; compressed < 2; compressed++) {
                g_autofree char *from = log_rotate_name(name, number, compressed);
                g_autofree char *to = log_rotate_name(name, number + 1, compressed);
                if (renameat(dirfd, from, dirfd, to) < 0 && errno != ENOENT)
                        return -errno;
        }
        return 0;
}

/* Frees number 1. */
static int
shift(int dirfd, const char *name, int backups)
{
        int gap = find_gap(dirfd, name, backups);
        int r = free_number(dirfd, name, gap);
        for (int i = gap - 1; i >= 1 && r == 0; i--)
                r = move_up(dirfd, name, i);
        return r;
}

/* Links the old file to its new name. If hard links are not possible, the name is missing for a moment. */
static int
keep_old(int dirfd, const char *name, int backups)
{
        g_autofree char *first = log_rotate_name(name, 1, false);
        if (!exists(dirfd, name) || is_same(dirfd, name, first))
                return 0;
        int r = shift(dirfd, name, backups);
        if (r < 0)
                return r;
        if (linkat(dirfd, name, dirfd, first, 0) == 0 || renameat(dirfd, name, dirfd, first) == 0)
                return 0;
        return -errno;
}

static int64_t
file_size(int dirfd, const char *name)
{
        struct stat st;
        return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_size : 0;
}

int64_t
log_rotate_sum(int dirfd, const char *name, int backups)
{
        int64_t sum = 0;
        for (int i = 1; i <= backups && log_rotate_is_taken(dirfd, name, i); i++) {
                g_autofree char *plain = log_rotate_name(name, i, false);
                g_autofree char *compressed = log_rotate_name(name, i, true);
                sum += file_size(dirfd, plain) + file_size(dirfd, compressed);
        }
        return sum;
}

int
log_rotate(int dirfd, const char *name, int backups)
{
        g_autofree char *temp = g_strconcat(name, backups > 0 ? ".new" : ".tmp", NULL);
        int r = remove_file(dirfd, temp);
        if (r < 0)
                return r;
        autofd int fd =
                openat(dirfd, temp, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
        if (fd < 0)
                return -errno;
        r = backups > 0 ? keep_old(dirfd, name, backups) : 0;
        if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlinkat(dirfd, temp, 0);
                return r;
        }
        return fd_steal(&fd);
}
