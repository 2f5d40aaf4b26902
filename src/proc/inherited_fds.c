#include "proc/inherited_fds.h"

#include "base/fd.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void
fill_standard_fds(void)
{
        for (;;) {
                int fd = open("/dev/null", O_RDWR);
                if (fd > STDERR_FILENO || fd < 0) {
                        fd_close(&fd);
                        return;
                }
        }
}

void
inherited_fds_record(InheritedFds *f)
{
        f->fds = g_array_new(FALSE, FALSE, sizeof(int));
        fill_standard_fds();
        autofd int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
                return;
        /* Not readdir(3): its buffer would stay in the heap of every monitor. */
        char entries[2048] __attribute__((aligned(__alignof__(struct dirent64))));
        ssize_t n;
        while ((n = getdents64(dir, entries, sizeof entries)) > 0)
                for (ssize_t at = 0; at < n;) {
                        const struct dirent64 *entry = (const struct dirent64 *)(entries + at);
                        int fd = atoi(entry->d_name); /* 0 for "." and ".." */
                        if (fd > STDERR_FILENO && fd != dir)
                                g_array_append_val(f->fds, fd);
                        at += entry->d_reclen;
                }
}

void
inherited_fds_forget(InheritedFds *f, int fd)
{
        for (guint i = 0; i < f->fds->len; i++)
                if (g_array_index(f->fds, int, i) == fd) {
                        g_array_remove_index_fast(f->fds, i);
                        return;
                }
}

void
inherited_fds_close(InheritedFds *f)
{
        for (guint i = 0; i < f->fds->len; i++)
                fd_close(&g_array_index(f->fds, int, i));
        g_array_set_size(f->fds, 0);
}

void
inherited_fds_done(InheritedFds *f)
{
        if (f->fds)
                g_array_unref(f->fds);
        f->fds = NULL;
}
