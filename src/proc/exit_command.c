#include "proc/exit_command.h"

#include "base/diag.h"
#include "proc/signals.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

G_NORETURN static void
run_child(const ExitCommand *c)
{
        GPtrArray *argv = g_ptr_array_new();
        g_ptr_array_add(argv, (gpointer)c->path);
        for (char **arg = c->args; arg && *arg; arg++)
                g_ptr_array_add(argv, *arg);
        g_ptr_array_add(argv, NULL);
        (void)signal(SIGPIPE, SIG_DFL);
        (void)signal(SIGXFSZ, SIG_DFL);
        (void)sigprocmask(SIG_SETMASK, c->mask, NULL);
        oom_score_restore(c->score);
        (void)execv(c->path, (char **)argv->pdata);
        diag_error("Failed to execute the exit command %s: %s", c->path, strerror(errno));
        _exit(1);
}

static void
tell_status(const char *path, int status)
{
        if (WIFSIGNALED(status))
                diag_warn("The exit command %s was killed by signal %d", path, WTERMSIG(status));
        else if (WEXITSTATUS(status) != 0)
                diag_warn("The exit command %s ended with status %d", path, WEXITSTATUS(status));
}

/* Without it callers know nothing of the end: the lack of memory or of process ids may pass. */
#define TRIES          50
#define TRY_AGAIN_USEC (100 * 1000)

static pid_t
start(const ExitCommand *c)
{
        pid_t child = fork();
        for (int i = 1; child < 0 && i < TRIES; i++) {
                g_usleep(TRY_AGAIN_USEC);
                child = fork();
        }
        if (child == 0)
                run_child(c);
        if (child < 0)
                diag_error("Failed to start the exit command %s: %s", c->path, strerror(errno));
        return child;
}

void
exit_command_run(const ExitCommand *c)
{
        if (c->delay > 0)
                signals_sleep(c->delay);
        pid_t child = start(c);
        for (;;) {
                int status = 0;
                pid_t pid = waitpid(-1, &status, 0);
                if (pid == child && pid > 0)
                        tell_status(c->path, status);
                else if (pid < 0 && errno != EINTR)
                        return;
        }
}
