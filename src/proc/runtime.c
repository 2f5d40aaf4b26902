#include "proc/runtime.h"

#include "base/diag.h"
#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static void
add(GPtrArray *argv, const char *word)
{
        g_ptr_array_add(argv, (gpointer)word);
}

static void
add_pair(GPtrArray *argv, const char *option, const char *value)
{
        add(argv, option);
        add(argv, value);
}

static void
add_all(GPtrArray *argv, char **words)
{
        for (; words && *words; words++)
                add(argv, *words);
}

static void
add_create_or_restore(GPtrArray *argv, const RuntimeCommand *c)
{
        bool restore = c->action == RUNTIME_RESTORE;
        add(argv, restore ? "restore" : "create");
        add_pair(argv, "--bundle", c->bundle);
        add_pair(argv, "--pid-file", c->pidfile);
        if (c->no_pivot)
                add(argv, "--no-pivot");
        if (c->no_new_keyring)
                add(argv, "--no-new-keyring");
        if (restore) {
                add(argv, "--detach");
                add_pair(argv, "--image-path", c->restore_path);
                add_pair(argv, "--work-path", c->bundle);
        }
}

GPtrArray *
runtime_argv(const RuntimeCommand *c)
{
        GPtrArray *argv = g_ptr_array_new();
        add(argv, c->runtime);
        if (c->systemd_cgroup && c->action != RUNTIME_EXEC)
                add(argv, "--systemd-cgroup");
        add_all(argv, c->args);
        if (c->action == RUNTIME_EXEC) {
                add(argv, "exec");
                add_pair(argv, "--pid-file", c->pidfile);
                add_pair(argv, "--process", c->process_spec);
                add(argv, "--detach");
        } else {
                add_create_or_restore(argv, c);
        }
        add_all(argv, c->opts);
        if (c->console_socket)
                add_pair(argv, "--console-socket", c->console_socket);
        add(argv, c->cid);
        add(argv, NULL);
        return argv;
}

/* LISTEN_PID of the monitor's environment was meant for the monitor itself if it has the monitor's pid. */
static void
adjust_listen_pid(bool replace)
{
        const char *text = getenv("LISTEN_PID");
        if (!text)
                return;
        char *end = NULL;
        errno = 0;
        long pid = strtol(text, &end, 10);
        if (errno || end == text || *end || pid <= 0 || pid > G_MAXINT) {
                diag_error("Invalid LISTEN_PID %.10s %s", text, strerror(errno ? errno : EINVAL));
                _exit(1);
        }
        if (replace || pid == getppid()) {
                g_autofree char *own = g_strdup_printf("%d", getpid());
                (void)setenv("LISTEN_PID", own, 1);
        }
}

static void
take_stdio(const int stdio[3])
{
        for (int i = 0; i < 3; i++)
                if (stdio[i] >= 0 && dup2(stdio[i], i) < 0)
                        _exit(1);
}

G_NORETURN static void
run_child(const RuntimeProcess *p, pid_t monitor)
{
        take_stdio(p->stdio);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                diag_error("Failed to tie the runtime's life to the monitor's: %s", strerror(errno));
        if (getppid() != monitor)
                _exit(1); /* the monitor died before prctl */
        (void)signal(SIGPIPE, SIG_DFL);
        (void)sigprocmask(SIG_SETMASK, p->mask, NULL);
        oom_score_restore(p->score);
        if (p->start_fd >= 0)
                fd_wait_for_input(p->start_fd);
        adjust_listen_pid(p->replace_listen_pid);
        (void)execv(p->argv[0], p->argv);
        diag_error("Failed to execute the runtime %s: %s", p->argv[0], strerror(errno));
        _exit(127);
}

pid_t
runtime_spawn(const RuntimeProcess *p)
{
        pid_t monitor = getpid();
        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                run_child(p, monitor);
        return pid;
}
