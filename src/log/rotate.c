#include "log/rotate.h"

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
        /* Not g_autofree: realpath is libc's. */
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

static char *
backup_name(const char *name, int number)
{
        return g_strdup_printf("%s.%d", name, number);
}

static bool
exists(int dirfd, const char *name)
{
        struct stat st;
        return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool
is_same(int dirfd, const char *a, const char *b)
{
        struct stat sa, sb;
        return fstatat(dirfd, a, &sa, AT_SYMLINK_NOFOLLOW) == 0 && fstatat(dirfd, b, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
               sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* The first number that is free, or the last one, whose file is to go. A gap is where an earlier run stopped. */
static int
find_gap(int dirfd, const char *name, int backups)
{
        for (int i = 1; i < backups; i++) {
                g_autofree char *backup = backup_name(name, i);
                if (!exists(dirfd, backup))
                        return i;
        }
        return backups;
}

static int
shift(int dirfd, const char *name, int backups)
{
        for (int i = find_gap(dirfd, name, backups); i > 1; i--) {
                g_autofree char *from = backup_name(name, i - 1);
                g_autofree char *to = backup_name(name, i);
                if (renameat(dirfd, from, dirfd, to) < 0)
                        return -errno;
        }
        return 0;
}

/* Gives the old file its second name. Where that can't be done the name is missing for a moment. */
static int
keep_old(int dirfd, const char *name, int backups)
{
        g_autofree char *first = backup_name(name, 1);
        if (!exists(dirfd, name) || is_same(dirfd, name, first))
                return 0;
        int r = shift(dirfd, name, backups);
        if (r < 0)
                return r;
        /* With one backup nothing was shifted, and the old one is in the way. */
        if (unlinkat(dirfd, first, 0) < 0 && errno != ENOENT)
                return -errno;
        if (linkat(dirfd, name, dirfd, first, 0) == 0 || renameat(dirfd, name, dirfd, first) == 0)
                return 0;
        return -errno;
}

int
log_rotate(int dirfd, const char *name, int backups)
{
        g_autofree char *temp = g_strconcat(name, backups > 0 ? ".new" : ".tmp", NULL);
        if (unlinkat(dirfd, temp, 0) < 0 && errno != ENOENT)
                return -errno;
        autofd int fd = openat(dirfd, temp, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
        if (fd < 0)
                return -errno;
        int r = backups > 0 ? keep_old(dirfd, name, backups) : 0;
        if (r == 0 && renameat(dirfd, temp, dirfd, name) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlinkat(dirfd, temp, 0);
                return r;
        }
        return fd_steal(&fd);
}
