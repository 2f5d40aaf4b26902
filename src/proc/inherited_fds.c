/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/inherited_fds.h"

#include "base/fd.h"

#include <fcntl.h>
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
        fill_standard_fds();
        f->fds = fd_list();
        f->unknown = f->fds->len == 0;
        for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
                inherited_fds_forget(f, fd);
}

bool
inherited_fds_have(const InheritedFds *f, int fd)
{
        bool found = f->unknown || (fd >= 0 && fd <= STDERR_FILENO);
        for (guint i = 0; i < f->fds->len && !found; i++)
                found = g_array_index(f->fds, int, i) == fd;
        return found;
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
inherited_fds_save(const InheritedFds *f, StateWriter *w)
{
        for (guint i = 0; i < f->fds->len; i++) {
                state_begin(w, "inherited");
                state_put_fd(w, "descriptor", g_array_index(f->fds, int, i));
                state_end(w);
        }
}

void
inherited_fds_restore(InheritedFds *f, StateReader *r)
{
        f->fds = g_array_new(FALSE, FALSE, sizeof(int));
        while (state_enter_next(r, "inherited")) {
                int fd = state_get_fd(r, "descriptor");
                state_leave(r);
                if (fd >= 0)
                        g_array_append_val(f->fds, fd);
        }
}

void
inherited_fds_done(InheritedFds *f)
{
        if (f->fds)
                g_array_unref(f->fds);
        f->fds = NULL;
}
