#include "core/monitor.h"

#include "base/fd.h"
#include "base/rights.h"
#include "ctl/ctl_message.h"
#include "ctl/parent_pipe.h"
#include "io/terminal.h"
#include "proc/exit_files.h"
#include "proc/orphans.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
        pid_t pid;
        int status;
} EarlyEnd;

/* Of more than that nobody looks for the container's. It takes a runtime that is held up while
 * processes end by the thousand. */
#define EARLY_ENDS_MAX 65536

const char *
monitor_sync_key(const Monitor *m)
{
        if (m->options->api_version)
                return "data";
        return m->options->exec ? "exit_code" : "pid";
}

static void
set_state(Monitor *m, MonitorState state)
{
        m->state = state;
        if (state == MONITOR_ENDED || state == MONITOR_FAILED)
                g_main_loop_quit(m->loop);
}

void
monitor_fail(Monitor *m, const char *text)
{
        parent_pipe_send(&m->sync_fd, monitor_sync_key(m), -1, text);
        set_state(m, MONITOR_FAILED);
}

static void
on_container_end(bool known, int status, void *data)
{
        Monitor *m = data;
        if (m->timed_out)
                return; /* the code is settled; this is the end that the timeout brought about */
        if (!known) {
                diag_warn("The container's process %d has ended, but its parent was another process: its "
                          "exit code is unknown",
                          m->container.pid);
                m->exit_code = -1;
        } else if (WIFSIGNALED(status)) {
                m->exit_code = 128 + WTERMSIG(status);
        } else {
                m->exit_code = WEXITSTATUS(status);
        }
        if (m->exit_code != 0)
                diag_info("container %d exited with status %d", m->container.pid, m->exit_code);
        set_state(m, MONITOR_ENDED);
}

static void
on_timeout(void *data)
{
        Monitor *m = data;
        container_process_check(&m->container);
        if (m->container.ended)
                return;
        diag_info("Timed out, killing main loop");
        m->timed_out = true;
        m->exit_code = EXIT_CODE_UNKNOWN;
        container_process_kill_group(&m->container);
        set_state(m, MONITOR_ENDED);
}

static void
on_oom(void *data)
{
        Monitor *m = data;
        diag_info("OOM received");
        oom_files_write(m->options->persist_dir, m->options->bundle);
}

/* Takes the status of a child that ended before it was known to be the container. */
static const EarlyEnd *
find_early_end(const Monitor *m, pid_t pid)
{
        for (guint i = 0; i < m->early_ends->len; i++) {
                const EarlyEnd *e = &g_array_index(m->early_ends, EarlyEnd, i);
                if (e->pid == pid)
                        return e;
        }
        return NULL;
}

/* What is left to do with a container that runs: files of any owner, signals to any user's processes, and
 * limits (of pipes, of OOM scores) that hold for everybody else. */
#define RIGHTS_TO_RUN                                                               \
        (RIGHT(CAP_DAC_OVERRIDE) | RIGHT(CAP_DAC_READ_SEARCH) | RIGHT(CAP_FOWNER) | \
         RIGHT(CAP_MAC_OVERRIDE) | RIGHT(CAP_KILL) | RIGHT(CAP_SYS_RESOURCE))

/* From here on the monitor deals with what untrusted programs send. Plugins that answer system calls may need
 * everything; the exit command, what the caller's user may do. */
static void
lower_rights(const Monitor *m)
{
        if (m->seccomp)
                return;
        rights_lower(RIGHTS_TO_RUN);
        if (!m->options->exit_command)
                rights_seal();
}

static void
on_container_started(Monitor *m, pid_t pid)
{
        const Options *o = m->options;
        m->state = MONITOR_RUNNING;
        if (!o->exec || o->api_version)
                parent_pipe_send(&m->sync_fd, monitor_sync_key(m), pid, NULL);
        relay_release(m);
        const EarlyEnd *early = find_early_end(m, pid);
        container_process_init(&m->container, pid, on_container_end, m);
        if (early)
                container_process_reaped(&m->container, early->status);
        else
                container_process_watch(&m->container);
        g_clear_pointer(&m->early_ends, g_array_unref);
        if (m->state != MONITOR_RUNNING)
                return;
        m->oom = oom_watch_new(pid, on_oom, m);
        lower_rights(m);
        if (o->timeout > 0)
                timer_start(&m->timeout, (gint64)o->timeout * G_USEC_PER_SEC);
}

/* The runtime's own words if it had any, else ours. With passthrough they went to the caller's stderr. */
static void
fail_in_words(Monitor *m, const char *own)
{
        const char *said = m->runtime_stderr->str;
        if (*said)
                diag_warn("runtime stderr: %s", said);
        monitor_fail(m, *said || log_is_passthrough(m->log) ? said : own);
        orphans_kill();
}

static char *
describe_failure(const Monitor *m, int status)
{
        const char *runtime = m->options->runtime;
        if (WIFSIGNALED(status))
                return g_strdup_printf("The runtime %s was killed by signal %d and gave no reason", runtime,
                                       WTERMSIG(status));
        return g_strdup_printf("The runtime %s ended with exit status %d and gave no reason", runtime,
                               WEXITSTATUS(status));
}

static void
on_runtime_end(Monitor *m, int status)
{
        g_autoptr(GError) error = NULL;
        m->runtime_pid = 0;
        if (m->console)
                console_socket_check(m->console);
        g_clear_pointer(&m->console, console_socket_free);
        output_stream_drain(&m->output[STREAM_STDERR]);
        output_stream_drain(&m->output[STREAM_STDOUT]);

        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                g_autofree char *own = describe_failure(m, status);
                fail_in_words(m, own);
                diag_error("Failed to create container: exit status %d",
                           WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
                return;
        }
        if (m->options->terminal && !m->have_terminal) {
                fail_in_words(m, "Runtime did not set up terminal");
                return;
        }
        pid_t pid = pid_file_read(m->options->container_pidfile, &error);
        if (pid == 0)
                fail_in_words(m, error->message);
        else
                on_container_started(m, pid);
}

static void
on_child_end(Monitor *m, pid_t pid, int status)
{
        EarlyEnd end = {pid, status};
        if (pid == m->runtime_pid)
                on_runtime_end(m, status);
        else if (m->early_ends && m->early_ends->len < EARLY_ENDS_MAX)
                g_array_append_val(m->early_ends, end);
        else if (pid == m->container.pid)
                container_process_reaped(&m->container, status);
}

/* The runtime is looked at last, so that the end of a container that was faster than its
 * runtime is known by then. */
static void
reap_children(Monitor *m)
{
        int status = 0, runtime_status = 0;
        bool runtime_ended = false;
        pid_t pid;
        while ((pid = TEMP_FAILURE_RETRY(waitpid(-1, &status, WNOHANG))) > 0) {
                if (pid == m->runtime_pid) {
                        runtime_ended = true;
                        runtime_status = status;
                } else {
                        on_child_end(m, pid, status);
                }
        }
        if (runtime_ended)
                on_child_end(m, m->runtime_pid, runtime_status);
        container_process_check(&m->container);
}

static void
forward_signal(Monitor *m, int signal)
{
        int r = -ESRCH;
        if (m->container.pid)
                r = container_process_signal(&m->container, signal);
        else if (m->runtime_pid)
                r = kill(m->runtime_pid, signal) < 0 ? -errno : 0;
        else if (m->state == MONITOR_CREATING) {
                g_autofree char *text =
                        g_strdup_printf("Signal %d came before the process was started", signal);
                monitor_fail(m, text);
                return;
        }
        if (r < 0 && r != -ESRCH)
                diag_warn("Failed to pass signal %d on to the container: %s", signal, strerror(-r));
        if (r < 0)
                reap_children(m);
}

void
monitor_on_signal(int signal, void *data)
{
        Monitor *m = data;
        if (signal_is_for_container(signal))
                forward_signal(m, signal);
        else
                reap_children(m);
}

static void
resize(Monitor *m, int rows, int columns)
{
        m->rows = rows;
        m->columns = columns;
        if (m->have_terminal && m->output[STREAM_STDOUT].fd >= 0)
                terminal_resize(m->output[STREAM_STDOUT].fd, rows, columns);
}

void
monitor_on_console(int fd, void *data)
{
        Monitor *m = data;
        if (fd < 0)
                return;
        m->have_terminal = true;
        terminal_set_up(fd);
        int input = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        output_stream_start(&m->output[STREAM_STDOUT], fd, true);
        if (m->rows >= 0)
                resize(m, m->rows, m->columns);
        if (input >= 0)
                container_stdin_open(&m->input, input);
        else
                diag_warn("Failed to open the terminal for input: %s", strerror(errno));
}

void
monitor_on_ctl_line(const char *line, void *data)
{
        Monitor *m = data;
        CtlMessage message;
        if (!ctl_message_parse(line, &message))
                diag_warn("Ignoring the invalid control message “%s”", line);
        else if (message.type == CTL_RESIZE)
                resize(m, message.rows, message.columns);
        else if (message.type == CTL_REOPEN_LOGS)
                log_reopen(m->log);
        else
                log_write_status(m->log, false);
}

void
monitor_on_winsz_line(const char *line, void *data)
{
        int rows, columns;
        if (ctl_winsz_parse(line, &rows, &columns))
                resize(data, rows, columns);
        else
                diag_warn("Ignoring the invalid window size “%s”", line);
}

void
monitor_loop(Monitor *m)
{
        timer_init(&m->timeout, on_timeout, m);
        if (m->state == MONITOR_CREATING || m->state == MONITOR_RUNNING)
                g_main_loop_run(m->loop);
        timer_stop(&m->timeout);
}
