/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/caller.h"

#include "base/error.h"
#include "base/fd.h"
#include "ctl/parent_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

void
caller_init(Caller *c, const InheritedFds *inherited)
{
        *c = (Caller){.inherited = *inherited, .start_fd = -1, .sync_fd = -1, .attach_fd = -1};
}

/* Standard output and error are about to be replaced. What replaces them is not closed. */
static int
keep_stream(int fd)
{
        if (fd != STDOUT_FILENO && fd != STDERR_FILENO)
                return fd;
        (void)fd_set_cloexec(fd, false);
        return fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

/* A variable that the caller inherited from an outer monitor names a descriptor that the caller does not
 * have. The number now belongs to a file of this monitor. */
static gboolean
open_pipe(Caller *c, const char *variable, int *ret_fd, GError **error)
{
        int fd = -1;
        if (!parent_pipe_open(variable, &fd, error))
                return FALSE;
        if (fd >= 0 && fd != c->start_fd && fd != c->sync_fd && !inherited_fds_have(&c->inherited, fd))
                return error_set(error, CONMON_ERROR_USAGE, "unable to make %s CLOEXEC %s", variable,
                                 strerror(EBADF));
        inherited_fds_forget(&c->inherited, fd);
        *ret_fd = keep_stream(fd);
        return *ret_fd >= 0 || fd < 0 || error_set_errno(error, errno, "Failed to duplicate %s", variable);
}

gboolean
caller_open_start_pipe(Caller *c, GError **error)
{
        return open_pipe(c, PARENT_PIPE_START, &c->start_fd, error);
}

gboolean
caller_open_pipes(Caller *c, bool exec_attach, GError **error)
{
        if (!open_pipe(c, PARENT_PIPE_SYNC, &c->sync_fd, error))
                return FALSE;
        if (!exec_attach)
                return TRUE;
        if (!open_pipe(c, PARENT_PIPE_ATTACH, &c->attach_fd, error))
                return FALSE;
        if (c->attach_fd < 0)
                return error_set(error, CONMON_ERROR_USAGE, "--attach specified but %s was not set",
                                 PARENT_PIPE_ATTACH);
        return TRUE;
}

static void
close_fd(void *data)
{
        int fd = GPOINTER_TO_INT(data);
        fd_close(&fd);
}

static void
add_closing(Errands *e, int fd, const char *path)
{
        if (fd >= 0)
                errands_add(e, close_fd, GINT_TO_POINTER(fd), path);
}

void
caller_add_closing(Caller *c, Errands *e)
{
        add_closing(e, c->start_fd, NULL);
        add_closing(e, c->attach_fd, NULL);
        c->start_fd = c->attach_fd = -1;
        for (guint i = 0; i < c->inherited.fds->len; i++)
                add_closing(e, g_array_index(c->inherited.fds, int, i), "unknown");
        g_array_set_size(c->inherited.fds, 0);
}

void
caller_close_pipes(Caller *c)
{
        fd_close(&c->start_fd);
        fd_close(&c->sync_fd);
        fd_close(&c->attach_fd);
}

/* Signal number n is bit n - 1. */
static uint64_t
pack_mask(const sigset_t *mask)
{
        uint64_t bits = 0;
        for (int i = 1; i <= 64; i++)
                if (sigismember(mask, i) == 1)
                        bits |= UINT64_C(1) << (i - 1);
        return bits;
}

static void
unpack_mask(uint64_t bits, sigset_t *ret)
{
        sigemptyset(ret);
        for (int i = 1; i <= 64; i++)
                if (bits >> (i - 1) & 1)
                        (void)sigaddset(ret, i);
}

void
caller_save(const Caller *c, StateWriter *w)
{
        state_begin(w, "caller");
        state_put_text(w, "oom-score", c->score.text);
        state_put_uint(w, "signal-mask", pack_mask(&c->mask));
        state_put_fd(w, "start", c->start_fd);
        state_put_fd(w, "sync", c->sync_fd);
        state_put_fd(w, "attach", c->attach_fd);
        inherited_fds_save(&c->inherited, w);
        state_end(w);
}

void
caller_restore(Caller *c, StateReader *r)
{
        state_enter(r, "caller");
        g_autofree char *score = state_get_text(r, "oom-score");
        if (score)
                (void)g_strlcpy(c->score.text, score, sizeof c->score.text);
        unpack_mask(state_get_uint(r, "signal-mask", UINT64_MAX), &c->mask);
        c->start_fd = state_get_fd(r, "start");
        c->sync_fd = state_get_fd(r, "sync");
        c->attach_fd = state_get_fd(r, "attach");
        inherited_fds_restore(&c->inherited, r);
        state_leave(r);
}
