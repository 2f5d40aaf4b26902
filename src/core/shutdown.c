/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/shutdown.h"

#include "base/fd.h"
#include "base/rights.h"
#include "core/exec_exits.h"
#include "core/status_file.h"
#include "ctl/parent_pipe.h"
#include "proc/exit_command.h"
#include "proc/exit_files.h"
#include "seccomp/notify_listener.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The part of the budget for clients that read. */
#define CLIENT_GRACE_USEC (G_USEC_PER_SEC / 4)

/* Pending exit commands of sessions run before the container's own, for at most this time; the others run
 * after it, so that a command that hangs does not block it. */
#define SESSIONS_FIRST_USEC (5 * G_USEC_PER_SEC)
#define SESSIONS_LAST_USEC  (60 * G_USEC_PER_SEC)

static void
on_timer(void *data)
{
        *(bool *)data = true;
}

/* Clients read the rest of the output before they see its end; one that does not read must not delay the exit
 * files. */
static void
wait_for_clients(Monitor *m)
{
        Timer timer;
        bool over = false;
        gint64 start = g_get_monotonic_time();
        timer_init(&timer, on_timer, &over);
        timer_start(&timer, MIN(CLIENT_GRACE_USEC, errands_budget(m->errands) / 2));
        while (!over && attach_server_is_behind(m->endpoints.attach))
                loop_iterate(true);
        timer_stop(&timer);
        errands_spend(m->errands, g_get_monotonic_time() - start);
}

static void
remove_name(void *data)
{
        g_autofree char *path = data;
        if (unlink(path) < 0 && errno != ENOENT)
                diag_warn("Failed to remove %s: %s", path, strerror(errno));
}

static void
add_removal(Errands *e, char *path)
{
        if (path)
                errands_add(e, remove_name, path, path);
}

/* From here on a new log file or a status could be another container's. */
static void
stop_requests(Monitor *m)
{
        timer_stop(&m->request.start);
        if (m->endpoints.ctl)
                line_fifo_stop(m->endpoints.ctl);
        if (m->endpoints.winsz)
                line_fifo_stop(m->endpoints.winsz);
}

void
shutdown_remove_names(Monitor *m)
{
        Endpoints *p = &m->endpoints;
        stop_requests(m);
        if (p->attach) {
                attach_server_accept(p->attach);
                add_removal(m->errands, attach_server_steal_path(p->attach));
        }
        add_removal(m->errands, g_steal_pointer(&p->link_path));
        if (p->seccomp)
                add_removal(m->errands, seccomp_listener_steal_path(p->seccomp));
        if (m->exits.socket)
                add_removal(m->errands, exit_socket_steal_path(m->exits.socket));
        errands_run(m->errands);
        if (p->attach)
                attach_server_stop_listening(p->attach);
        g_clear_pointer(&m->exits.socket, exit_socket_free);
}

/* For callers the container is gone when their client sees the end of the output; by then ports must be
 * free and the socket's name removed. */
static void
close_attach(Monitor *m)
{
        if (!m->endpoints.attach)
                return;
        if (attach_server_is_behind(m->endpoints.attach))
                wait_for_clients(m);
        if (attach_server_is_behind(m->endpoints.attach)) {
                (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
                attach_server_hand_over_slow_clients(m->endpoints.attach);
        }
        g_clear_pointer(&m->endpoints.attach, attach_server_free);
}

static void
drain_output(Monitor *m)
{
        if (m->container.timed_out)
                return;
        if (m->endpoints.attach)
                attach_server_accept(m->endpoints.attach);
        output_stream_drain(&m->output[STREAM_STDOUT]);
        output_stream_drain(&m->output[STREAM_STDERR]);
}

static void
close_streams(Monitor *m)
{
        container_stdin_done(&m->input);
        for (StreamId id = 0; id < N_STREAMS; id++)
                output_stream_done(&m->output[id]);
}

static void
on_drained(void *data)
{
        *(bool *)data = true;
}

/* Returns false if there was nothing left to send. */
static bool
drain_log(Monitor *m)
{
        bool done = false;
        log_drain(m->log, on_drained, &done);
        if (done)
                return false;
        while (!done)
                loop_iterate(true);
        return true;
}

/* Delivers the rest of the output, as far as possible without blocking. */
static void
finish_streams(Monitor *m)
{
        drain_output(m);
        close_streams(m);
        gint64 start = g_get_monotonic_time();
        log_finish_local(m->log, start + errands_budget(m->errands) / 2);
        errands_spend(m->errands, g_get_monotonic_time() - start);
}

static void
run_exit_command(Monitor *m)
{
        const Options *o = m->options;
        if (!o->exit_command || !m->runtime.launched || m->command_done)
                return;
        m->command_done = true;
        ExitCommand command = {
                .path = o->exit_command,
                .args = o->exit_command_args,
                .due_usec = g_get_monotonic_time() + (gint64)o->exit_delay * G_USEC_PER_SEC,
                .mask = &m->caller.mask,
                .score = &m->caller.score,
        };
        if (exec_exits_hand_over(m, &command))
                return;
        exit_queue_flush(m->exits.queue, SESSIONS_FIRST_USEC);
        exit_command_run(&command);
        exit_queue_flush(m->exits.queue, SESSIONS_LAST_USEC);
        exit_queue_start_all(m->exits.queue);
}

/* Until the exit files are written, everything that may block shares one budget. */
static void
record_end(Monitor *m)
{
        const Options *o = m->options;
        errands_grant(m->errands, END_BUDGET_USEC);
        oom_watch_check(m->container.oom);
        g_clear_pointer(&m->health, health_check_free);
        finish_streams(m);
        if (m->recorded)
                return; /* the stand-in has done it while a log file stalled */
        m->recorded = true;
        stand_in_allow(m->stand_in, false);
        caller_add_closing(&m->caller, m->errands);
        shutdown_remove_names(m);
        close_attach(m);
        /* callers may remove the directory as soon as there is an exit file */
        m->status = status_file_add(m);
        exit_files_add(m->errands, o->persist_dir, o->exit_dir, o->cid, m->container.exit_code);
        errands_run(m->errands);
        if (o->exec)
                parent_pipe_send(&m->caller.sync_fd, monitor_sync_key(m), m->container.exit_code,
                                 m->container.timed_out ? "command timed out" : NULL);
        fd_close(&m->caller.sync_fd);
}

void
shutdown_record(Monitor *m)
{
        if (m->recorded)
                return;
        (void)rights_raise(); /* resources reserved for root (memory, open files) are used for the record */
        record_end(m);
        if (!stand_in_serves(m->stand_in))
                return;
        /* The log waits for its disk, possibly forever. */
        m->log_unfinished = true;
        (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
        run_exit_command(m);
}

/* Slow operations: only the exit command waits for them. */
static void
finish_log(Monitor *m)
{
        /* The stand-in could not finish the stalled file. */
        log_finish_local(m->log, g_get_monotonic_time());
        if (drain_log(m) || m->log_unfinished)
                status_file_update(m->status, m);
        log_sync(m->log);
}

/* Nothing may be open below the bundle when the exit command runs, and the caller, which it may be waiting
 * for, must have seen the end of the sync pipe. */
static void
close_everything(Monitor *m)
{
        loop_close(); /* all at once instead of each watch */
        oom_watch_free(m->container.oom);
        notify_relay_free(m->endpoints.notify);
        seccomp_listener_free(m->endpoints.seccomp);
        watch_done(&m->runtime.permission);
        console_socket_free(m->terminal.socket);
        attach_server_free(m->endpoints.attach);
        line_fifo_free(m->endpoints.ctl);
        line_fifo_free(m->endpoints.winsz);
        close_streams(m);
        log_free(m->log);
        container_process_done(&m->container.process);
        signal_watch_done(&m->signals);
        g_clear_pointer(&m->refusal, g_free);
        caller_close_pipes(&m->caller);
        /* A step that has stalled still uses its descriptors. */
        if (errands_pending(m->errands) == 0 && errands_pending(m->openings) == 0)
                fd_close_range(3, ~0U);
}

int
monitor_shut_down(Monitor *m)
{
        bool ended = m->state == MONITOR_ENDED;
        if (ended) {
                shutdown_record(m);
                finish_log(m);
        }
        close_everything(m);
        (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
        run_exit_command(m);
        exit_queue_free(m->exits.queue);
        errands_free(m->errands);
        status_file_free(m->status);
        return ended ? m->container.exit_code & 255 : 1;
}
