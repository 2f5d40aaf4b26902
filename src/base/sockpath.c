#include "base/sockpath.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static int
set_address(SockPath *sp, const char *path, size_t len)
{
        if (len >= sizeof sp->addr.sun_path)
                return -ENAMETOOLONG;
        memcpy(sp->addr.sun_path, path, len);
        sp->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
        return 0;
}

int
sockpath_init(SockPath *sp, const char *path)
{
        *sp = (SockPath){.addr.sun_family = AF_UNIX, .dirfd = -1};
        size_t len = strlen(path);
        if (path[0] == '@') {
                int r = set_address(sp, path, len);
                sp->addr.sun_path[0] = '\0';
                sp->len--; /* an abstract name has no NUL at its end */
                return r;
        }
        if (len < sizeof sp->addr.sun_path)
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
