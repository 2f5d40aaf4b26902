/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/exit_command.h"

#include "base/diag.h"
#include "base/process.h"
#include "proc/signals.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

void
exit_command_report(const char *name, int status)
{
        if (WIFSIGNALED(status))
                diag_warn("The exit command %s was killed by signal %d", name, WTERMSIG(status));
        else if (WEXITSTATUS(status) != 0) /* common: podman, if the exec session is gone */
                diag_info("The exit command %s ended with status %d", name, WEXITSTATUS(status));
}

/* Without the exit command, callers never learn of the end. A lack of memory or pids may be temporary. */
#define TRIES          50
#define TRY_AGAIN_USEC (100 * 1000)

pid_t
exit_command_start(const ExitCommand *c, int *ret_error)
{
        g_autoptr(GPtrArray) argv = g_ptr_array_new();
        g_ptr_array_add(argv, (gpointer)c->path);
        for (char **arg = c->args; arg && *arg; arg++)
                g_ptr_array_add(argv, *arg);
        g_ptr_array_add(argv, NULL);
        ProcessSpec spec = {
                .argv = (char **)argv->pdata,
                .environment = c->environment,
                .directory = c->directory,
                .stdio = {PROCESS_STDIO_KEEP, PROCESS_STDIO_KEEP, PROCESS_STDIO_KEEP},
                .mask = c->mask,
                .oom_score = oom_score_text(c->score),
        };
        return process_start(&spec, ret_error);
}

/* Returns the pid, or 0 after a failure that was reported. */
static pid_t
start(const ExitCommand *c)
{
        int error = 0;
        pid_t child = exit_command_start(c, &error);
        for (int i = 1; child < 0 && i < TRIES; i++) {
                g_usleep(TRY_AGAIN_USEC);
                child = exit_command_start(c, &error);
        }
        if (child > 0 && !error)
                return child;
        if (child < 0)
                diag_error("Failed to start the exit command %s: %s", c->path, strerror(-child));
        else
                diag_error("Failed to execute the exit command %s: %s", c->path, strerror(error));
        return 0;
}

void
exit_command_run(const ExitCommand *c)
{
        signals_sleep_until(c->due_usec);
        pid_t child = start(c);
        while (child > 0) {
                int status = 0;
                /* Of all children: the command may wait until the container's orphans are reaped. */
                pid_t pid = waitpid(-1, &status, 0);
                if (pid == child)
                        exit_command_report(c->path, status);
                if (pid == child || (pid < 0 && errno != EINTR))
                        return;
        }
}
