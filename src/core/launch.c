#include "core/monitor.h"

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/fd.h"
#include "ctl/parent_pipe.h"
#include "proc/runtime.h"
#include "seccomp/notify_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>


/* ---- the monitor's own process ---- */

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

/* A variable that the caller inherited from a monitor around it names a descriptor that is not its own. What
 * has the number now is a file of this monitor. */
static gboolean
open_caller_pipe(Monitor *m, const char *variable, int *ret_fd, GError **error)
{
        int fd = -1;
        if (!parent_pipe_open(variable, &fd, error))
                return FALSE;
        if (fd >= 0 && fd != m->start_fd && fd != m->sync_fd && !inherited_fds_have(&m->inherited, fd))
                return error_set(error, CONMON_ERROR_USAGE, "unable to make %s CLOEXEC %s", variable,
                                 strerror(EBADF));
        inherited_fds_forget(&m->inherited, fd);
        *ret_fd = fd;
        return TRUE;
}

static gboolean
open_caller_pipes(Monitor *m, GError **error)
{
        if (!open_caller_pipe(m, PARENT_PIPE_SYNC, &m->sync_fd, error))
                return FALSE;
        if (!m->options->exec_attach)
                return TRUE;
        if (!open_caller_pipe(m, PARENT_PIPE_ATTACH, &m->attach_fd, error))
                return FALSE;
        if (m->attach_fd < 0)
                return error_set(error, CONMON_ERROR_USAGE, "--attach specified but %s was not set",
                                 PARENT_PIPE_ATTACH);
        return TRUE;
}

/* Any user of the container may open /dev/stdout and /dev/stderr, which are these pipes, again. */
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
        m->console = console_socket_new(monitor_on_console, m, error);
        if (!m->console)
                return FALSE;
        console_socket_start(m->console);
        container_stdin_expect(&m->input);
        return TRUE;
}

static gboolean
make_pipes(Monitor *m, GError **error)
{
        int out = -1, in = -1;
        if (m->options->stdin_open) {
                if (!make_pipe(&m->container_stdio[0], &in, error))
                        return FALSE;
                container_stdin_open(&m->input, in);
        }
        if (!make_pipe(&out, &m->container_stdio[1], error))
                return FALSE;
        output_stream_start(&m->output[STREAM_STDOUT], out, false);
        return TRUE;
}

/* With passthrough a terminal has nobody who reads it, but the runtime can't start
 * such a container without. */
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
        if (!make_pipe(&err, &m->container_stdio[2], error))
                return FALSE;
        output_stream_start(&m->output[STREAM_STDERR], err, false);
        return TRUE;
}

static gboolean
make_attach(Monitor *m, GError **error)
{
        const Options *o = m->options;
        if (!o->bundle || log_is_passthrough(m->log))
                return TRUE;
        if (!o->full_attach && o->cuuid)
                m->link_path = g_build_filename(o->socket_dir_path, o->cuuid, NULL);
        AttachServerConfig config = {
                .bundle = o->bundle,
                .link_path = m->link_path,
                .client = m->attach_client,
                .input_end_closes_stdin = o->stdin_open && !o->leave_stdin_open,
                .input = &m->input,
                .on_wants = relay_update,
                .data = m,
        };
        m->attach = attach_server_new(&config, error);
        if (!m->attach)
                return FALSE;
        m->ctl = line_fifo_new(o->bundle, "ctl", monitor_on_ctl_line, m, error);
        if (!m->ctl)
                return FALSE;
        m->winsz = line_fifo_new(o->bundle, "winsz", monitor_on_winsz_line, m, error);
        if (!m->winsz)
                return FALSE;
        attach_server_start(m->attach);
        line_fifo_start(m->ctl);
        line_fifo_start(m->winsz);
        return TRUE;
}

static gboolean
make_relays(Monitor *m, GError **error)
{
        const Options *o = m->options;
        if (o->sdnotify_socket && o->bundle) {
                m->notify = notify_relay_new(o->bundle, o->sdnotify_socket, error);
                if (!m->notify)
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
        m->seccomp = seccomp_listener_new(&config, error);
        return m->seccomp != NULL;
}

static GPtrArray *
make_argv(const Monitor *m)
{
        const Options *o = m->options;
        RuntimeCommand command = {
                .action = o->exec ? RUNTIME_EXEC : o->restore ? RUNTIME_RESTORE : RUNTIME_CREATE,
                .runtime = o->runtime,
                .args = o->runtime_args,
                .opts = o->runtime_opts,
                .cid = o->cid,
                .bundle = o->bundle,
                .pidfile = o->container_pidfile,
                .restore_path = o->restore,
                .process_spec = o->exec_process_spec,
                .console_socket = m->console ? console_socket_path(m->console) : NULL,
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
                .mask = &m->caller_mask,
                .score = &m->caller_score,
                .replace_listen_pid = m->options->replace_listen_pid,
        };
        /* What is -1 stays the monitor's own: /dev/null, or with passthrough what the caller gave. */
        memcpy(process.stdio, m->container_stdio, sizeof process.stdio);
        if (diag_level() >= DIAG_TRACE) {
                g_autofree char *words = g_strjoinv(" ", process.argv);
                diag_trace("Running the runtime: %s", words);
        }
        pid_t pid = runtime_spawn(&process);
        for (int i = 0; i < 3; i++)
                fd_close(&m->container_stdio[i]);
        if (log_is_passthrough(m->log))
                point_stdio_at_null();
        if (pid < 0)
                return error_set_errno(error, pid, "Failed to start a process for the runtime %s",
                                       m->options->runtime);
        m->runtime_pid = pid;
        return TRUE;
}

static void
on_start(GIOCondition revents, void *data)
{
        Monitor *m = data;
        g_autoptr(GError) error = NULL;
        watch_done(&m->start_watch);
        if (!start_runtime(m, &error)) {
                diag_error("%s", error->message);
                monitor_fail(m, error->message);
        }
}

/* With exec-attach the caller connects its client first, and then writes to the
 * start pipe again or closes it. */
static gboolean
start_when_told(Monitor *m, GError **error)
{
        if (!m->options->exec_attach || m->start_fd < 0)
                return start_runtime(m, error);
        watch_init(&m->start_watch, m->start_fd, WATCH_PRIORITY_IO, on_start, m);
        watch_arm(&m->start_watch, G_IO_IN);
        return TRUE;
}

gboolean
monitor_launch(Monitor *m, GError **error)
{
        if (!open_caller_pipes(m, error))
                return FALSE;
        if (log_is_tee(m->log) && !m->options->terminal && !m->options->stdin_open)
                m->container_stdio[0] = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
        if (!log_is_passthrough(m->log))
                point_stdio_at_null();
        (void)setsid();
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                diag_warn("Failed to become the parent of the container's orphans: %s", strerror(errno));
        if (m->refusal)
                return error_set(error, CONMON_ERROR_USAGE, "%s", m->refusal);
        if (!make_relays(m, error) || !make_stdio(m, error) || !make_attach(m, error))
                return FALSE;
        log_start(m->log, relay_on_log_wants, m);
        if (!signal_watch_start(&m->signals, monitor_on_signal, m, error))
                return FALSE;
        parent_pipe_send(&m->attach_fd, "data", 0, NULL);
        m->launched = start_when_told(m, error);
        return m->launched;
}

static void
init(Monitor *m)
{
        m->state = MONITOR_CREATING;
        m->sync_fd = m->attach_fd = m->signals.fd = -1;
        m->rows = m->columns = -1;
        for (int i = 0; i < 3; i++)
                m->container_stdio[i] = -1;
        m->loop = g_main_loop_new(NULL, FALSE);
        m->early_ends = g_array_new(FALSE, FALSE, 2 * sizeof(int));
        m->runtime_stderr = g_string_new(NULL);
        for (StreamId id = 0; id < N_STREAMS; id++) {
                output_stream_init(&m->output[id], id, relay_output, m);
                m->held[id] = g_byte_array_new();
        }
        container_stdin_init(&m->input, relay_on_stdin_wants, m);
}

static void
done(Monitor *m)
{
        g_main_loop_unref(m->loop);
        g_clear_pointer(&m->early_ends, g_array_unref);
        g_string_free(m->runtime_stderr, TRUE);
        for (StreamId id = 0; id < N_STREAMS; id++)
                g_clear_pointer(&m->held[id], g_byte_array_unref);
}

/* In the process that stays. */
static int
monitor(Monitor *m)
{
        g_autoptr(GError) error = NULL;
        /* The main loop takes its context anyway; having it earlier spares a
         * write(2) for each event source. */
        (void)g_main_context_acquire(NULL);
        signals_block(&m->caller_mask);
        if (!monitor_launch(m, &error)) {
                diag_error("%s", error->message);
                monitor_fail(m, error->message);
        }
        monitor_loop(m);
        return monitor_shut_down(m);
}

/* ---- the process that the caller waits for ---- */

static void
leave_at_once(int signal)
{
        _exit(1);
}

static gboolean
write_pidfile(const Options *o, pid_t pid, GError **error)
{
        if (!o->conmon_pidfile)
                return TRUE;
        g_autofree char *text = g_strdup_printf("%d", pid);
        return atomic_file_write(o->conmon_pidfile, text, strlen(text), error);
}

/* Returns the exit status of the launcher. */
static int
finish_launcher(const Options *o, pid_t monitor_pid)
{
        g_autoptr(GError) error = NULL;
        if (write_pidfile(o, monitor_pid, &error))
                return 0;
        diag_error("Failed to write conmon pidfile: %s", error->message);
        return 1;
}

static int
detach(Monitor *m)
{
        pid_t pid = m->options->sync ? 0 : fork();
        if (pid < 0) {
                diag_error("Failed to start the monitor's process: %s", strerror(errno));
                m->state = MONITOR_FAILED;
                return monitor_shut_down(m);
        }
        if (pid > 0)
                _exit(finish_launcher(m->options, pid));
        if (m->options->sync)
                (void)finish_launcher(m->options, getpid());
        return monitor(m);
}

int
monitor_run(const Options *o, InheritedFds *inherited)
{
        Monitor m = {.inherited = *inherited, .start_fd = -1, .sync_fd = -1};
        g_autoptr(GError) error = NULL;
        m.options = o;
        if (!monitor_set_up(&m, &error)) {
                diag_error("%s", error->message);
                log_free(m.log);
                return 1;
        }
        oom_score_protect(&m.caller_score);
        (void)signal(SIGPIPE, SIG_IGN);
        /* a log that has reached the limit of ulimit -f is an error like others */
        (void)signal(SIGXFSZ, SIG_IGN);
        /* if the caller ignores it, nobody would get to know how children ended */
        (void)signal(SIGCHLD, SIG_DFL);
        (void)signal(SIGTERM, leave_at_once);
        if (!open_caller_pipe(&m, PARENT_PIPE_START, &m.start_fd, &error)) {
                diag_error("%s", error->message);
                log_free(m.log);
                return 1;
        }
        /* The caller moves this process to its cgroup before it writes: nothing may be forked earlier. */
        if (m.start_fd >= 0)
                fd_wait_for_input(m.start_fd);
        if (!o->exec_attach)
                fd_close(&m.start_fd);
        init(&m);
        int status = detach(&m);
        done(&m);
        return status;
}
