/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/resume.h"

#include "base/fd.h"
#include "core/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* State of the process rather than of the monitor. */
typedef struct {
        char *name;
        bool dumpable;
        int done; /* for reporting success to the guard */
} Shell;

static gboolean
restore(Monitor *m, Options *options, Shell *shell, StateReader *r, GError **error)
{
        m->program = state_get_text(r, "program");
        shell->name = state_get_text(r, "process-name");
        shell->dumpable = state_get_bool(r, "dumpable");
        shell->done = state_get_fd(r, "done");
        if (!m->program || !shell->name)
                state_fail(r, "The process has no name or no program");
        options_restore(options, r);
        m->options = options;
        if (!state_failed(r))
                monitor_restore(m, r);
        m->request.kind = "upgrade";
        return state_reader_finish(r, error);
}

static int
parse_fd(const char *text)
{
        guint64 fd = 0;
        return g_ascii_string_to_unsigned(text, 10, 3, G_MAXINT, &fd, NULL) ? (int)fd : -1;
}

/* ---- the check ---- */

/* Restores everything, without any descriptor. The process exits without freeing it. */
G_GNUC_NORETURN static void
check(int fd)
{
        Monitor m = {0};
        Options options = {0};
        Shell shell = {0};
        g_autoptr(GError) error = NULL;
        StateReader *r = state_reader_new(fd, true, &error);
        bool good = r && restore(&m, &options, &shell, r, &error);
        puts(good ? UPGRADE_CHECKED : error->message);
        _exit(fflush(stdout) == 0 && good ? 0 : 1);
}

/* ---- the takeover ---- */

/* The guard continues when this process exits, which frees nothing. */
G_GNUC_NORETURN static void
give_up(const Shell *shell, const char *why)
{
        if (shell->done >= 0)
                (void)fd_write_all(shell->done, why, strlen(why));
        diag_error("%s", why);
        _exit(1);
}

static int
take_over(int fd)
{
        Monitor m = {0};
        Options options = {0};
        const char done = UPGRADE_DONE;
        Shell shell = {.done = -1};
        g_autoptr(GError) error = NULL;
        StateReader *r = state_reader_new(fd, false, &error);
        if (!r || !restore(&m, &options, &shell, r, &error))
                give_up(&shell, error->message);
        state_reader_free(r);
        fd_close(&fd);
        (void)prctl(PR_SET_NAME, shell.name);
        (void)prctl(PR_SET_DUMPABLE, shell.dumpable);
        /* From here on this process is the only monitor. EPIPE means that the guard has been killed; after
         * any other error it lives, and continues when the pipe is closed. */
        int result = fd_write_all(shell.done, &done, 1);
        if (result < 0 && result != -EPIPE)
                give_up(&shell, "could not tell the old program that this one continues");
        fd_close(&shell.done);
        g_free(shell.name);
        request_answer(&m, NULL);
        int status = monitor_go_on(&m);
        inherited_fds_done(&m.caller.inherited);
        options_clear(&options);
        return status;
}

bool
resume_run(int argc, char **argv, int *ret_status)
{
        if (argc == 3 && strcmp(argv[1], UPGRADE_CHECK) == 0)
                check(parse_fd(argv[2]));
        const char *text = getenv(UPGRADE_VARIABLE);
        if (!text)
                return false;
        /* The state may contain secrets, and execve(2) has restored all permitted capabilities. */
        (void)prctl(PR_SET_DUMPABLE, 0);
        monitor_lower_rights();
        int fd = parse_fd(text);
        (void)unsetenv(UPGRADE_VARIABLE);
        *ret_status = take_over(fd);
        return true;
}
