/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/runtime.h"

#include "base/fd.h"
#include "base/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
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

#define LISTEN_PID "LISTEN_PID="

/* A copy of the environment with one LISTEN_PID, which has space for the child's pid; *ret_room is
 * where it goes. NULL if LISTEN_PID is not to change: it is set for another process, or not at all. */
static char **
make_environment(bool replace, char **ret_room)
{
        const char *text = getenv("LISTEN_PID");
        if (!text || (!replace && atoi(text) != getpid()))
                return NULL;
        GPtrArray *env = g_ptr_array_new();
        for (char **e = environ; *e; e++)
                if (!g_str_has_prefix(*e, LISTEN_PID))
                        g_ptr_array_add(env, g_strdup(*e));
        char *own = g_strdup(LISTEN_PID "4294967295");
        g_ptr_array_add(env, own);
        g_ptr_array_add(env, NULL);
        *ret_room = own + strlen(LISTEN_PID);
        return (char **)g_ptr_array_free(env, FALSE);
}

/* Returns an error message about LISTEN_PID, or NULL. */
static char *
check_listen_pid(void)
{
        const char *text = getenv("LISTEN_PID");
        if (!text)
                return NULL;
        errno = 0;
        long pid = strtol(text, NULL, 10);
        if (!errno && pid > 0 && pid <= G_MAXINT)
                return NULL;
        return g_strdup_printf("Invalid LISTEN_PID %.10s %s", text, strerror(errno ? errno : EINVAL));
}

/* Callers find the reason in what the runtime wrote to its stderr. */
static void
report(const RuntimeProcess *p, const char *reason)
{
        g_autofree char *text = g_strdup_printf("[conmon:e]: %s\n", reason);
        (void)fd_write_all(p->stdio[2] >= 0 ? p->stdio[2] : STDERR_FILENO, text, strlen(text));
}

static int
refuse(const void *arg)
{
        return 1;
}

pid_t
runtime_spawn(const RuntimeProcess *p)
{
        char *listen_pid = NULL;
        int error = 0;
        g_autofree char *wrong = check_listen_pid();
        g_auto(GStrv) env = make_environment(p->replace_listen_pid, &listen_pid);
        ProcessSpec spec = {
                .argv = wrong ? NULL : p->argv,
                .environment = env,
                .pid_text = listen_pid,
                .run = refuse,
                .inherit_fds = true,
                .mask = p->mask,
                .dies_with_parent = true,
                .oom_score = oom_score_text(p->score),
        };
        memcpy(spec.stdio, p->stdio, sizeof spec.stdio);
        if (wrong)
                report(p, wrong);
        pid_t pid = process_start(&spec, &error);
        if (error) {
                g_autofree char *reason = g_strdup_printf("Failed to execute the runtime %.300s: %s",
                                                          p->argv[0], strerror(error));
                report(p, reason);
        }
        return pid;
}
