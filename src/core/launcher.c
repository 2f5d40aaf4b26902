/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/launcher.h"

#include "base/atomic_file.h"
#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "core/monitor.h"
#include "core/setup.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void
leave_at_once(int signal)
{
        _exit(1);
}

static void
set_signals(void)
{
        (void)signal(SIGPIPE, SIG_IGN);
        /* a log file that reaches ulimit -f is an ordinary write error */
        (void)signal(SIGXFSZ, SIG_IGN);
        /* if the caller ignored it, the exit statuses of children would be lost */
        (void)signal(SIGCHLD, SIG_DFL);
        (void)signal(SIGTERM, leave_at_once);
}

/* Everything that can fail with a message on stderr, up to the message on the start pipe. */
static gboolean
prepare(Monitor *m, GError **error)
{
        if (!monitor_set_up(m, error))
                return FALSE;
        oom_score_protect(&m->caller.score);
        set_signals();
        if (!caller_open_start_pipe(&m->caller, error))
                return FALSE;
        /* The caller moves this process to its cgroup before it writes: nothing may be forked earlier. */
        int r = m->caller.start_fd < 0 ? 0 : fd_wait_for_input(m->caller.start_fd);
        if (r < 0)
                return error_set(error, CONMON_ERROR_FAILED, "start-pipe read failed %s", strerror(-r));
        if (!m->options->exec_attach)
                fd_close(&m->caller.start_fd);
        return TRUE;
}

gboolean
launcher_write_pidfile(const Options *o, pid_t pid, GError **error)
{
        if (!o->conmon_pidfile)
                return TRUE;
        g_autofree char *text = g_strdup_printf("%d", pid);
        return atomic_file_write(o->conmon_pidfile, text, strlen(text), error);
}

/* Returns the exit status of the launcher. */
static int
finish(const Options *o, pid_t monitor_pid)
{
        g_autoptr(GError) error = NULL;
        if (launcher_write_pidfile(o, monitor_pid, &error))
                return 0;
        diag_error("Failed to write conmon pidfile: %s", error->message);
        return 1;
}

int
launcher_run(const Options *o, const InheritedFds *inherited)
{
        Monitor m = {.options = o};
        g_autoptr(GError) error = NULL;
        caller_init(&m.caller, inherited);
        m.stand_in = monitor_make_stand_in(&m);
        if (!prepare(&m, &error)) {
                diag_error("%s", error->message);
                log_free(m.log);
                stand_in_free(m.stand_in);
                return 1;
        }
        pid_t pid = o->sync ? 0 : fork();
        if (pid < 0) {
                diag_error("Failed to start the monitor's process: %s", strerror(errno));
                log_free(m.log);
                stand_in_free(m.stand_in);
                return 1;
        }
        if (pid > 0)
                _exit(finish(o, pid));
        if (o->sync)
                (void)finish(o, getpid());
        return monitor_run(&m);
}
