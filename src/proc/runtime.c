#include "proc/runtime.h"

#include "base/fd.h"

#include <errno.h>
#include <stdio.h>
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

/* The child shares the monitor's memory until it executes the runtime (vfork(2)): nothing but system calls
 * and its own stack here. In particular not base/diag.h, whose syslog connection would be the monitor's. */
static void
child_error(const char *what, const char *detail, int errnum)
{
        char text[512];
        int len = snprintf(text, sizeof text, "[conmon:e]: %s %.300s%s%s\n", what, detail, errnum ? ": " : "",
                           errnum ? strerror(errnum) : "");
        (void)fd_write_all(STDERR_FILENO, text, MIN((size_t)len, sizeof text - 1));
}

#define LISTEN_PID "LISTEN_PID="

/* A copy of the environment in which there is room for the child's pid in LISTEN_PID; *ret_room is where it
 * goes. NULL if LISTEN_PID is not to change: it is set for another process, or not at all. */
static char **
make_environment(bool replace, char **ret_room)
{
        const char *text = getenv("LISTEN_PID");
        if (!text || (!replace && atoi(text) != getpid()))
                return NULL;
        char **env = g_environ_setenv(g_strdupv(environ), "LISTEN_PID", "4294967295", TRUE);
        for (char **e = env; *e; e++)
                if (g_str_has_prefix(*e, LISTEN_PID))
                        *ret_room = *e + strlen(LISTEN_PID);
        return env;
}

static void
check_listen_pid(void)
{
        const char *text = getenv("LISTEN_PID");
        if (!text)
                return;
        char *end = NULL;
        char detail[64];
        errno = 0;
        long pid = strtol(text, &end, 10);
        if (!errno && end != text && !*end && pid > 0 && pid <= G_MAXINT)
                return;
        (void)snprintf(detail, sizeof detail, "%.10s %s", text, strerror(errno ? errno : EINVAL));
        child_error("Invalid LISTEN_PID", detail, 0);
        _exit(1);
}

static void
take_stdio(const int stdio[3])
{
        for (int i = 0; i < 3; i++)
                if (stdio[i] >= 0 && dup2(stdio[i], i) < 0)
                        _exit(1);
}

G_NORETURN static void
run_child(const RuntimeProcess *p, pid_t monitor, char **env, char *listen_pid)
{
        take_stdio(p->stdio);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                child_error("Failed to tie the life of the runtime to the monitor's:", p->argv[0], errno);
        if (getppid() != monitor)
                _exit(1); /* the monitor died before prctl */
        (void)signal(SIGPIPE, SIG_DFL);
        (void)signal(SIGXFSZ, SIG_DFL);
        (void)sigprocmask(SIG_SETMASK, p->mask, NULL);
        oom_score_restore(p->score);
        check_listen_pid();
        if (listen_pid)
                (void)sprintf(listen_pid, "%d", getpid());
        (void)execve(p->argv[0], p->argv, env);
        child_error("Failed to execute the runtime", p->argv[0], errno);
        _exit(127);
}

/* Not inlined: nothing of the caller's may live in registers across vfork(2). */
__attribute__((noinline)) static pid_t
spawn(const RuntimeProcess *p, pid_t monitor, char **env, char *listen_pid)
{
        pid_t pid = vfork();
        if (pid == 0)
                run_child(p, monitor, env, listen_pid);
        return pid < 0 ? -errno : pid;
}

pid_t
runtime_spawn(const RuntimeProcess *p)
{
        char *listen_pid = NULL;
        g_auto(GStrv) env = make_environment(p->replace_listen_pid, &listen_pid);
        return spawn(p, getpid(), env ? env : environ, listen_pid);
}
