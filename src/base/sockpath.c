/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/sockpath.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* The length of the name that a temporary name begins with; it fits into an address in any directory. */
#define PREFIX_MAX 64

#define NAME_TRIES 100

/* An abstract address may fill the array, because it has no NUL at its end. */
static int
set_address(SockPath *sp, const char *path, size_t len)
{
        bool abstract = path[0] == '@';
        size_t size = abstract ? len : len + 1;
        if (size > sizeof sp->addr.sun_path)
                return -ENAMETOOLONG;
        memcpy(sp->addr.sun_path, path, len);
        if (abstract)
                sp->addr.sun_path[0] = '\0';
        sp->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
        return 0;
}

int
sockpath_init(SockPath *sp, const char *path)
{
        *sp = (SockPath){.addr.sun_family = AF_UNIX, .dirfd = -1};
        size_t len = strlen(path);
        if (path[0] == '@' || len < sizeof sp->addr.sun_path)
                return set_address(sp, path, len);

        g_autofree char *dir = g_path_get_dirname(path);
        g_autofree char *name = g_path_get_basename(path);
        sp->dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (sp->dirfd < 0)
                return -errno;
        g_autofree char *via = g_strdup_printf("/proc/self/fd/%d/%s", sp->dirfd, name);
        int r = set_address(sp, via, strlen(via));
        if (r < 0)
                sockpath_done(sp);
        return r;
}

void
sockpath_done(SockPath *sp)
{
        fd_close(&sp->dirfd);
}

int
sockpath_probe(const char *path)
{
        SockPath sp;
        int r = sockpath_init(&sp, path);
        if (r < 0)
                return r;
        autofd int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        r = fd < 0 || connect(fd, (const struct sockaddr *)&sp.addr, sp.len) < 0 ? -errno : 0;
        sockpath_done(&sp);
        return r == -EPROTOTYPE ? 0 : r;
}

char *
sockpath_random_name(const char *prefix)
{
        unsigned int random;
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
                random = g_random_int();
        return g_strdup_printf("%s.%06X", prefix, random & 0xffffff);
}

static int
bind_to(int fd, const char *path)
{
        SockPath sp;
        int r = sockpath_init(&sp, path);
        if (r < 0)
                return r;
        (void)fchmod(fd, 0700); /* bind(2) gives this mode to the file */
        if (bind(fd, (struct sockaddr *)&sp.addr, sp.len) < 0)
                r = -errno;
        sockpath_done(&sp);
        return r;
}

static int
bind_beside(int fd, const char *path, char **ret_temp)
{
        g_autofree char *dir = g_path_get_dirname(path);
        g_autofree char *name = g_path_get_basename(path);
        g_autofree char *prefix = g_strdup_printf("%s/%.*s", dir, PREFIX_MAX, name);
        int r = -EADDRINUSE;
        for (int i = 0; i < NAME_TRIES && r == -EADDRINUSE; i++) {
                g_free(*ret_temp);
                *ret_temp = sockpath_random_name(prefix);
                r = bind_to(fd, *ret_temp);
        }
        return r;
}

int
sockpath_listen(int type, const char *path, int backlog)
{
        g_autofree char *temp = NULL;
        autofd int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        int r = path[0] == '@' ? bind_to(fd, path) : bind_beside(fd, path, &temp);
        if (r < 0)
                return r;
        if (listen(fd, backlog) < 0 || (temp && rename(temp, path) < 0)) {
                r = -errno;
                if (temp)
                        (void)unlink(temp);
        }
        return r < 0 ? r : fd_steal(&fd);
}
