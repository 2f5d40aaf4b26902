/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/monitor.h"

#include "base/clock.h"
#include "base/rights.h"
#include "base/stack.h"
#include "core/creation.h"
#include "core/exec_exits.h"
#include "core/relay.h"
#include "core/setup.h"
#include "core/shutdown.h"
#include "core/start.h"
#include "core/status_file.h"
#include "core/upgrade.h"
#include "ctl/ctl_message.h"
#include "ctl/parent_pipe.h"
#include "io/terminal.h"
#include "proc/exit_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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
        if (state == MONITOR_ENDED) {
                m->container.ended_ns = clock_realtime_ns();
                m->container.ended_usec = g_get_monotonic_time();
        }
}

void
monitor_fail(Monitor *m, const char *text)
{
        errands_grant(m->errands, END_BUDGET_USEC);
        shutdown_remove_names(m);
        parent_pipe_send(&m->caller.sync_fd, monitor_sync_key(m), -1, text);
        set_state(m, MONITOR_FAILED);
}

static void
on_container_end(bool known, int status, void *data)
{
        Monitor *m = data;
        if (m->container.timed_out)
                return; /* the timeout caused this exit, and has set the code already */
        m->container.status = known ? status : -1;
        if (!known) {
                diag_warn(
                        "The container's process %d was reaped by another process: its exit code is unknown",
                        m->container.process.pid);
                m->container.exit_code = -1;
        } else if (WIFSIGNALED(status)) {
                m->container.exit_code = 128 + WTERMSIG(status);
        } else {
                m->container.exit_code = WEXITSTATUS(status);
        }
        if (m->container.exit_code != 0)
                diag_info("container %d exited with status %d", m->container.process.pid,
                          m->container.exit_code);
        set_state(m, MONITOR_ENDED);
}

static void
on_timeout(void *data)
{
        Monitor *m = data;
        container_process_check(&m->container.process);
        if (m->container.process.ended)
                return;
        diag_info("Timed out, killing main loop");
        m->container.timed_out = true;
        m->container.status = -1;
        m->container.exit_code = EXIT_CODE_UNKNOWN;
        orphans_kill_tree(m->container.process.pid);
        container_process_kill_group(&m->container.process);
        orphans_kill(&m->bystanders, false);
        set_state(m, MONITOR_ENDED);
}

static void
on_oom(void *data)
{
        Monitor *m = data;
        diag_info("OOM received");
        m->container.out_of_memory = true;
        if (m->state == MONITOR_RUNNING)
                errands_grant(m->errands, WHILE_RUNNING_USEC);
        oom_files_add(m->errands, m->options->persist_dir, m->options->bundle);
        errands_run(m->errands);
}

/* What a running container requires: files of any owner, signals to processes of any user, and exceeding
 * limits of pipes and OOM scores. */
#define RIGHTS_TO_RUN                                                               \
        (RIGHT(CAP_DAC_OVERRIDE) | RIGHT(CAP_DAC_READ_SEARCH) | RIGHT(CAP_FOWNER) | \
         RIGHT(CAP_MAC_OVERRIDE) | RIGHT(CAP_KILL) | RIGHT(CAP_SYS_RESOURCE))

void
monitor_lower_rights(void)
{
        rights_lower(RIGHTS_TO_RUN);
}

/* From here on the monitor processes untrusted data. Plugins that answer system calls may need all rights,
 * the exit command those of the caller's user. */
static void
lower_rights(const Monitor *m)
{
        if (m->endpoints.seccomp)
                return;
        monitor_lower_rights();
        if (!m->options->exit_command)
                rights_seal();
}

static HealthCheckConfig
describe_health_checks(const Monitor *m)
{
        const Options *o = m->options;
        return (HealthCheckConfig){
                .path = o->exit_command,
                .args = o->exit_command_args,
                .cid = o->cid,
                .container = m->container.process.pid,
                .mask = &m->caller.mask,
                .score = &m->caller.score,
        };
}

static void
start_health_checks(Monitor *m)
{
        HealthCheckConfig config = describe_health_checks(m);
        if (m->health_checks)
                m->health = health_check_new(&config);
}

static void
watch_limits(Monitor *m)
{
        const Options *o = m->options;
        m->container.oom = oom_watch_new(m->container.process.pid, o->cid, !o->exec, on_oom, m);
        oom_watch_check(m->container.oom);
        lower_rights(m);
        start_health_checks(m);
        if (o->timeout > 0)
                timer_start(&m->container.timeout, (gint64)o->timeout * G_USEC_PER_SEC);
}

static void reap_children(Monitor *m);

static void
forward_signal(Monitor *m, int signal)
{
        int r = -ESRCH;
        if (m->container.process.pid)
                r = container_process_signal(&m->container.process, signal);
        else if (m->runtime.pid) {
                m->runtime.signals |= 1u << signal;
                r = kill(m->runtime.pid, signal) < 0 ? -errno : 0;
        } else if (m->state == MONITOR_CREATING) {
                g_autofree char *text =
                        g_strdup_printf("Signal %d arrived before the process was started", signal);
                monitor_fail(m, text);
                return;
        }
        if (r == 0 && m->container.process.pid)
                m->container.stop_signal = signal;
        if (r < 0 && r != -ESRCH)
                diag_warn("Failed to pass signal %d on to the container: %s", signal, strerror(-r));
        if (r < 0)
                reap_children(m);
}

/* The runtime has ignored them, or had already exited. */
static void
forward_early_signals(Monitor *m)
{
        for (int signal = 1; signal < 32 && m->state == MONITOR_RUNNING; signal++)
                if (m->runtime.signals & 1u << signal)
                        forward_signal(m, signal);
}

void
monitor_container_started(Monitor *m, pid_t pid, int status)
{
        const Options *o = m->options;
        m->state = MONITOR_RUNNING;
        /* Before the caller is informed: it may stop the container, and another parent may reap it
         * immediately. */
        container_process_init(&m->container.process, pid, on_container_end, m);
        if (status >= 0)
                container_process_reaped(&m->container.process, status);
        else
                container_process_watch(&m->container.process);
        if (!o->exec || o->api_version)
                parent_pipe_send(&m->caller.sync_fd, monitor_sync_key(m), pid, NULL);
        if (m->state == MONITOR_RUNNING)
                watch_limits(m);
        forward_early_signals(m);
        /* From here on a stalled log file blocks nothing else. */
        stand_in_allow(m->stand_in, true);
        relay_release(m);
        stack_trim(); /* memory used while starting */
}

static void
on_child_end(Monitor *m, pid_t pid, int status)
{
        if (pid == m->runtime.pid)
                creation_on_runtime_end(m, status);
        else if (exit_queue_on_child_end(m->exits.queue, pid, status) ||
                 health_check_on_child_end(m->health, pid, status))
                return;
        else if (m->state == MONITOR_CREATING)
                creation_note_end(&m->runtime, pid, status);
        else if (pid == m->container.process.pid)
                container_process_reaped(&m->container.process, status);
}

/* The runtime is handled last, so that the exit of a container that ended before its runtime is already
 * known. */
static void
reap_children(Monitor *m)
{
        int status = 0, runtime_status = 0;
        bool runtime_ended = false;
        pid_t pid;
        while ((pid = process_reap(-1, &status)) > 0) {
                if (pid == m->runtime.pid) {
                        runtime_ended = true;
                        runtime_status = status;
                } else {
                        on_child_end(m, pid, status);
                }
        }
        if (runtime_ended)
                on_child_end(m, m->runtime.pid, runtime_status);
        container_process_check(&m->container.process);
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
        m->terminal.rows = rows;
        m->terminal.columns = columns;
        if (m->terminal.received && m->output[STREAM_STDOUT].fd >= 0)
                terminal_resize(m->output[STREAM_STDOUT].fd, rows, columns);
}

void
monitor_on_console(int fd, void *data)
{
        Monitor *m = data;
        if (fd < 0)
                return;
        m->terminal.received = true;
        terminal_set_up(fd);
        int input = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        output_stream_start(&m->output[STREAM_STDOUT], fd, true);
        if (m->terminal.rows >= 0)
                resize(m, m->terminal.rows, m->terminal.columns);
        if (input >= 0)
                container_stdin_open(&m->input, input);
        else
                diag_warn("Failed to open the terminal for input: %s", strerror(errno));
}

static void
write_status(Monitor *m)
{
        errands_grant(m->errands, WHILE_RUNNING_USEC);
        status_file_write(m);
}

static void
run_reload(void *data)
{
        g_autoptr(GError) error = NULL;
        bool done = setup_reload(data, &error);
        request_answer(data, done ? NULL : g_strdup(error->message));
        relay_update(data);
}

void
monitor_on_ctl_line(const char *line, void *data)
{
        Monitor *m = data;
        CtlMessage message;
        if (!ctl_message_parse(line, &message))
                diag_warn("Ignoring the invalid control message '%s'", line);
        else if (message.type == CTL_RESIZE)
                resize(m, message.rows, message.columns);
        else if (message.type == CTL_REOPEN_LOGS)
                log_reopen(m->log);
        else if (message.type == CTL_UPGRADE)
                request_begin(m, "upgrade", upgrade_run);
        else if (message.type == CTL_RELOAD)
                request_begin(m, "reload", run_reload);
        else if (message.type == CTL_LISTEN_FOR_EXITS)
                exec_exits_listen(m);
        else
                write_status(m);
}

void
monitor_on_winsz_line(const char *line, void *data)
{
        int rows, columns;
        if (ctl_winsz_parse(line, &rows, &columns))
                resize(data, rows, columns);
        else
                diag_warn("Ignoring the invalid window size '%s'", line);
}

/* The main thread is blocked on a log file; this one runs the loop instead. */
static void
stand_in(void *data)
{
        Monitor *m = data;
        relay_go_on(m);
        while (m->state == MONITOR_RUNNING && !stand_in_is_over(m->stand_in))
                loop_iterate(true);
        if (m->state == MONITOR_RUNNING)
                timer_start(&m->catch_up, 0);
        else
                shutdown_record(m);
}

static void
catch_up(void *data)
{
        log_flush(((Monitor *)data)->log);
}

StandIn *
monitor_make_stand_in(Monitor *m)
{
        return stand_in_new(stand_in, m);
}

static void
init(Monitor *m)
{
        m->state = MONITOR_CREATING;
        m->signals.fd = -1;
        m->terminal.rows = m->terminal.columns = -1;
        m->errands = errands_new();
        creation_init(&m->runtime);
        for (StreamId id = 0; id < N_STREAMS; id++)
                output_stream_init(&m->output[id], id, relay_output, m);
        container_stdin_init(&m->input, relay_on_stdin_wants, m);
        timer_init(&m->container.timeout, on_timeout, m);
        timer_init(&m->catch_up, catch_up, m);
}

static void
run_loop(const Monitor *m)
{
        while (m->state == MONITOR_CREATING || m->state == MONITOR_RUNNING)
                loop_iterate(true);
}

static int
finish(Monitor *m)
{
        timer_stop(&m->container.timeout);
        int status = monitor_shut_down(m);
        request_done(&m->request);
        creation_done(&m->runtime);
        bystanders_done(&m->bystanders);
        errands_free(m->openings);
        timer_stop(&m->catch_up);
        stand_in_free(m->stand_in);
        g_clear_pointer(&m->program, g_free);
        return status;
}

int
monitor_run(Monitor *m)
{
        g_autoptr(GError) error = NULL;
        init(m);
        bystanders_record(&m->bystanders);
        signals_block(&m->caller.mask);
        if (!monitor_start(m, &error)) {
                diag_error("%s", error->message);
                monitor_fail(m, error->message);
        }
        run_loop(m);
        return finish(m);
}

/* ---- live upgrade ---- */

static void
save_container(const Container *c, StateWriter *w)
{
        state_begin(w, "container");
        container_process_save(&c->process, w);
        state_put_uint(w, "out-of-memory", c->out_of_memory);
        state_put_int(w, "stop-signal", c->stop_signal);
        timer_save(&c->timeout, w, "timeout");
        oom_watch_save(c->oom, w);
        state_end(w);
}

static void
restore_container(Monitor *m, StateReader *r)
{
        Container *c = &m->container;
        state_enter(r, "container");
        container_process_restore(&c->process, r, on_container_end, m);
        c->out_of_memory = state_get_bool(r, "out-of-memory");
        c->stop_signal = (int)state_get_int(r, "stop-signal", 0, 64);
        timer_restore(&c->timeout, r, "timeout");
        c->oom = oom_watch_restore(r, on_oom, m);
        state_leave(r);
}

void
monitor_save(Monitor *m, StateWriter *w)
{
        if (m->state != MONITOR_RUNNING || m->container.process.ended)
                state_refuse(w, "the container is being created, or has ended");
        if (stand_in_serves(m->stand_in) || m->unsent.len > 0)
                state_refuse(w, "a log file has stalled");
        if (errands_pending(m->errands) > 0 || errands_pending(m->openings) > 0)
                state_refuse(w, "a disk has stalled, and file operations are pending");
        options_save(m->options, w);
        caller_save(&m->caller, w);
        bystanders_save(&m->bystanders, w);
        signal_watch_save(&m->signals, w);
        save_container(&m->container, w);
        state_begin(w, "terminal");
        state_put_uint(w, "received", m->terminal.received);
        state_put_int(w, "rows", m->terminal.rows);
        state_put_int(w, "columns", m->terminal.columns);
        state_end(w);
        for (StreamId id = 0; id < N_STREAMS; id++)
                output_stream_save(&m->output[id], w);
        container_stdin_save(&m->input, w);
        endpoints_save(m, w);
        exec_exits_save(m, w);
        if (m->health)
                health_check_save(m->health, w);
        log_save(m->log, w);
}

static void
restore_health_checks(Monitor *m, StateReader *r)
{
        HealthCheckConfig config = describe_health_checks(m);
        if (!state_enter_next(r, "health"))
                return;
        m->health = health_check_restore(r, &config);
        state_leave(r);
}

void
monitor_restore(Monitor *m, StateReader *r)
{
        init(m);
        m->state = MONITOR_RUNNING;
        m->runtime.launched = true;
        m->stand_in = monitor_make_stand_in(m);
        creation_over(&m->runtime);
        caller_restore(&m->caller, r);
        bystanders_restore(&m->bystanders, r);
        signal_watch_restore(&m->signals, monitor_on_signal, m, r);
        restore_container(m, r);
        state_enter(r, "terminal");
        m->terminal.received = state_get_bool(r, "received");
        m->terminal.rows = (int)state_get_int(r, "rows", -1, CTL_VALUE_MAX);
        m->terminal.columns = (int)state_get_int(r, "columns", -1, CTL_VALUE_MAX);
        state_leave(r);
        for (StreamId id = 0; id < N_STREAMS; id++)
                output_stream_restore(&m->output[id], r);
        container_stdin_restore(&m->input, r);
        endpoints_restore(m, r);
        exec_exits_restore(m, r);
        restore_health_checks(m, r);
        m->log = log_restore(r, m->stand_in);
}

int
monitor_go_on(Monitor *m)
{
        stand_in_allow(m->stand_in, true);
        log_resume(m->log, relay_update, m);
        relay_update(m);
        relay_on_stdin_wants(container_stdin_wants(&m->input), m);
        /* in case the old program has read a SIGCHLD, but has not reaped the child */
        reap_children(m);
        run_loop(m);
        return finish(m);
}
