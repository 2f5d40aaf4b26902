/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/start.h"

#include "base/error.h"
#include "base/fd.h"
#include "core/exec_exits.h"
#include "core/relay.h"
#include "ctl/parent_pipe.h"
#include "proc/runtime.h"
#include "seccomp/notify_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static void
point_stdio_at_null(void)
{
        autofd int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
        autofd int out = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (in < 0 || out < 0) {
                diag_warn("Failed to open /dev/null: %s; the caller's stdin, stdout and stderr stay open",
                          strerror(errno));
                return;
        }
        (void)dup2(in, STDIN_FILENO);
        (void)dup2(out, STDOUT_FILENO);
        (void)dup2(out, STDERR_FILENO);
}

/* All users of the container may reopen /dev/stdout and /dev/stderr, which are these pipes. */
static gboolean
make_pipe(int *ret_read, int *ret_write, GError **error)
{
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_set_errno(error, errno, "Failed to create a pipe for the container");
        if (fchmod(fds[0], 0777) < 0 && errno != EINVAL)
                diag_warn("Failed to open the container's pipes for all its users: %s", strerror(errno));
        *ret_read = fds[0];
        *ret_write = fds[1];
        return TRUE;
}

static gboolean
make_console(Monitor *m, GError **error)
{
        m->terminal.socket = console_socket_new(m->options->bundle, monitor_on_console, m, error);
        if (!m->terminal.socket)
                return FALSE;
        console_socket_start(m->terminal.socket);
        container_stdin_expect(&m->input);
        return TRUE;
}

static gboolean
make_pipes(Monitor *m, GError **error)
{
        int out = -1, in = -1;
        if (m->options->stdin_open) {
                if (!make_pipe(&m->runtime.stdio[0], &in, error))
                        return FALSE;
                container_stdin_open(&m->input, in);
        }
        if (!make_pipe(&out, &m->runtime.stdio[1], error))
                return FALSE;
        output_stream_start(&m->output[STREAM_STDOUT], out, false);
        return TRUE;
}

/* With passthrough nothing reads the terminal, but the runtime can't start such a container without one. */
static gboolean
make_stdio(Monitor *m, GError **error)
{
        int err = -1;
        if (m->options->terminal && !make_console(m, error))
                return FALSE;
        if (log_is_passthrough(m->log))
                return TRUE;
        if (!m->options->terminal && !make_pipes(m, error))
                return FALSE;
        if (!make_pipe(&err, &m->runtime.stdio[2], error))
                return FALSE;
        output_stream_start(&m->output[STREAM_STDERR], err, false);
        return TRUE;
}

static AttachServerConfig
describe_attach(Monitor *m)
{
        const Options *o = m->options;
        return (AttachServerConfig){
                .bundle = o->bundle,
                .link_path = m->endpoints.link_path,
                .client = m->endpoints.client,
                .input_end_closes_stdin = o->stdin_open && !o->leave_stdin_open,
                .half_close_types_eof = o->terminal && !o->leave_stdin_open,
                .input = &m->input,
                .on_wants = relay_update,
                .data = m,
        };
}

static gboolean
make_attach(Monitor *m, GError **error)
{
        const Options *o = m->options;
        if (!o->bundle || log_is_passthrough(m->log))
                return TRUE;
        if (!o->full_attach && o->cuuid)
                m->endpoints.link_path = g_build_filename(o->socket_dir_path, o->cuuid, NULL);
        AttachServerConfig config = describe_attach(m);
        m->endpoints.attach = attach_server_new(&config, error);
        if (!m->endpoints.attach)
                return FALSE;
        m->endpoints.ctl = line_fifo_new(o->bundle, "ctl", monitor_on_ctl_line, m, error);
        if (!m->endpoints.ctl)
                return FALSE;
        m->endpoints.winsz = line_fifo_new(o->bundle, "winsz", monitor_on_winsz_line, m, error);
        if (!m->endpoints.winsz)
                return FALSE;
        line_fifo_start(m->endpoints.ctl);
        line_fifo_start(m->endpoints.winsz);
        return TRUE;
}

static gboolean
make_relays(Monitor *m, GError **error)
{
        const Options *o = m->options;
        if (o->sdnotify_socket && o->bundle) {
                m->endpoints.notify = notify_relay_new(o->bundle, o->sdnotify_socket, error);
                if (!m->endpoints.notify)
                        return FALSE;
        }
        if (!o->seccomp_notify_socket)
                return TRUE;
        SeccompConfig config = {
                .socket_path = o->seccomp_notify_socket,
                .plugins = o->seccomp_notify_plugins,
                .name = o->name,
                .bundle = o->bundle,
        };
        m->endpoints.seccomp = seccomp_listener_new(&config, error);
        return m->endpoints.seccomp != NULL;
}

static GPtrArray *
make_argv(const Monitor *m)
{
        const Options *o = m->options;
        RuntimeCommand command = {
                .action = o->exec      ? RUNTIME_EXEC
                          : o->restore ? RUNTIME_RESTORE
                                       : RUNTIME_CREATE,
                .runtime = o->runtime,
                .args = o->runtime_args,
                .opts = o->runtime_opts,
                .cid = o->cid,
                .bundle = o->bundle,
                .pidfile = o->container_pidfile,
                .restore_path = o->restore,
                .process_spec = o->exec_process_spec,
                .console_socket = m->terminal.socket ? console_socket_path(m->terminal.socket) : NULL,
                .systemd_cgroup = o->systemd_cgroup,
                .no_pivot = o->no_pivot,
                .no_new_keyring = o->no_new_keyring,
        };
        return runtime_argv(&command);
}

static gboolean
start_runtime(Monitor *m, GError **error)
{
        g_autoptr(GPtrArray) argv = make_argv(m);
        RuntimeProcess process = {
                .argv = (char **)argv->pdata,
                .mask = &m->caller.mask,
                .score = &m->caller.score,
                .replace_listen_pid = m->options->replace_listen_pid,
        };
        /* -1: inherited from the monitor, /dev/null or, with passthrough, the caller's streams. */
        memcpy(process.stdio, m->runtime.stdio, sizeof process.stdio);
        if (diag_level() >= DIAG_TRACE) {
                g_autofree char *words = g_strjoinv(" ", process.argv);
                diag_trace("Running the runtime: %s", words);
        }
        pid_t pid = runtime_spawn(&process);
        for (int i = 0; i < 3; i++)
                fd_close(&m->runtime.stdio[i]);
        if (log_is_passthrough(m->log))
                point_stdio_at_null();
        if (pid < 0)
                return error_set_errno(error, pid, "Failed to start a process for the runtime %s",
                                       m->options->runtime);
        m->runtime.pid = pid;
        return TRUE;
}

static void
on_start(GIOCondition revents, void *data)
{
        Monitor *m = data;
        g_autoptr(GError) error = NULL;
        watch_done(&m->runtime.permission);
        if (!start_runtime(m, &error)) {
                diag_error("%s", error->message);
                monitor_fail(m, error->message);
        }
}

/* With exec-attach the caller connects its client first, and then writes to the start pipe again or closes
 * it. */
static gboolean
start_when_allowed(Monitor *m, GError **error)
{
        if (!m->options->exec_attach || m->caller.start_fd < 0)
                return start_runtime(m, error);
        watch_init(&m->runtime.permission, m->caller.start_fd, WATCH_PRIORITY_IO, on_start, m);
        watch_arm(&m->runtime.permission, G_IO_IN);
        return TRUE;
}

static void
learn_directories(Monitor *m)
{
        const Options *o = m->options;
        errands_learn(m->errands, o->bundle);
        errands_learn(m->errands, o->exit_dir);
        errands_learn(m->errands, o->persist_dir);
        if (!o->full_attach)
                errands_learn(m->errands, o->socket_dir_path);
}

gboolean
monitor_start(Monitor *m, GError **error)
{
        if (!caller_open_pipes(&m->caller, m->options->exec_attach, error))
                return FALSE;
        if (log_is_tee(m->log) && !m->options->terminal && !m->options->stdin_open)
                m->runtime.stdio[0] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
        if (!log_is_passthrough(m->log))
                point_stdio_at_null();
        (void)setsid();
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                diag_warn("Failed to become the parent of the container's orphans: %s", strerror(errno));
        if (m->refusal)
                return error_set(error, CONMON_ERROR_USAGE, "%s", m->refusal);
        if (!make_relays(m, error) || !make_stdio(m, error) || !make_attach(m, error))
                return FALSE;
        if (log_is_passthrough(m->log))
                exec_exits_listen(m); /* there is no FIFO to request it later */
        learn_directories(m);
        log_start(m->log, relay_update, m);
        if (!signal_watch_start(&m->signals, monitor_on_signal, m, error))
                return FALSE;
        parent_pipe_send(&m->caller.attach_fd, "data", 0, NULL);
        m->runtime.launched = start_when_allowed(m, error);
        return m->runtime.launched;
}

void
endpoints_save(Monitor *m, StateWriter *w)
{
        Endpoints *p = &m->endpoints;
        if (p->seccomp)
                state_refuse(w, "plugins that answer system calls can't be carried over to another program");
        state_begin(w, "endpoints");
        state_put_uint(w, "queue-max", p->client.queue_max);
        state_put_int(w, "stall-timeout", p->client.stall_usec);
        state_put_text(w, "link", p->link_path);
        if (p->attach)
                attach_server_save(p->attach, w);
        if (p->ctl)
                line_fifo_save(p->ctl, w, "ctl");
        if (p->winsz)
                line_fifo_save(p->winsz, w, "winsz");
        if (p->notify)
                notify_relay_save(p->notify, w);
        state_end(w);
}

void
endpoints_restore(Monitor *m, StateReader *r)
{
        Endpoints *p = &m->endpoints;
        state_enter(r, "endpoints");
        p->client.queue_max = state_get_uint(r, "queue-max", SIZE_MAX);
        p->client.stall_usec = state_get_int(r, "stall-timeout", 0, INT64_MAX);
        p->link_path = state_get_text(r, "link");
        if (state_enter_next(r, "attach")) {
                AttachServerConfig config = describe_attach(m);
                p->attach = attach_server_restore(r, &config);
                state_leave(r);
        }
        if (state_enter_next(r, "ctl")) {
                p->ctl = line_fifo_restore(r, monitor_on_ctl_line, m);
                state_leave(r);
        }
        if (state_enter_next(r, "winsz")) {
                p->winsz = line_fifo_restore(r, monitor_on_winsz_line, m);
                state_leave(r);
        }
        if (state_enter_next(r, "notify")) {
                p->notify = notify_relay_restore(r);
                state_leave(r);
        }
        state_leave(r);
}
