#include "core/monitor.h"

#include "base/fd.h"
#include "base/rights.h"
#include "ctl/parent_pipe.h"
#include "proc/exit_command.h"
#include "proc/exit_files.h"
#include "seccomp/notify_listener.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* How long clients that read may delay the exit files. */
#define CLIENT_GRACE_USEC (G_USEC_PER_SEC / 4)

static void
on_timer(void *data)
{
        *(bool *)data = true;
}

/* Clients read the rest of the output before they see its end; one that does not read must
 * not delay the exit files. */
static void
wait_for_clients(Monitor *m)
{
        Timer timer;
        bool over = false;
        timer_init(&timer, on_timer, &over);
        timer_start(&timer, CLIENT_GRACE_USEC);
        while (!over && attach_server_is_behind(m->attach))
                g_main_context_iteration(NULL, TRUE);
        timer_stop(&timer);
}

/* Not after the exit files: whoever starts the container anew when they are there makes a link of the same
 * name, and the log may still take a while. */
static void
remove_link(Monitor *m)
{
        if (m->link_path && unlink(m->link_path) < 0 && errno != ENOENT)
                diag_warn("Failed to remove the symlink %s: %s", m->link_path, strerror(errno));
        g_clear_pointer(&m->link_path, g_free);
}

/* Callers know that the container is gone when their client sees the end of the output; then ports must be
 * free and the socket's name gone. */
static void
close_attach(Monitor *m)
{
        if (!m->attach)
                return;
        attach_server_stop_listening(m->attach);
        if (attach_server_is_behind(m->attach))
                wait_for_clients(m);
        if (attach_server_is_behind(m->attach)) {
                (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
                attach_server_hand_over_slow_clients(m->attach);
        }
        g_clear_pointer(&m->attach, attach_server_free);
}

static void
drain_output(Monitor *m)
{
        if (m->timed_out)
                return;
        if (m->attach)
                attach_server_accept(m->attach);
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

static void
drain_log(Monitor *m)
{
        bool done = false;
        log_drain(m->log, on_drained, &done);
        if (done)
                return;
        while (!done)
                g_main_context_iteration(NULL, TRUE);
        log_write_status(m->log, true);
}

/* The container has run and has ended. */
static void
record_end(Monitor *m)
{
        const Options *o = m->options;
        oom_watch_check(m->oom);
        drain_output(m);
        close_streams(m);
        log_finish_local(m->log);
        fd_close(&m->start_fd);
        fd_close(&m->attach_fd);
        inherited_fds_close(&m->inherited);
        close_attach(m);
        remove_link(m);
        /* callers may remove the directory as soon as there is an exit file */
        log_write_status(m->log, true);
        exit_files_write(o->persist_dir, o->exit_dir, o->cid, m->exit_code);
        if (o->exec)
                parent_pipe_send(&m->sync_fd, monitor_sync_key(m), m->exit_code,
                                 m->timed_out ? "command timed out" : NULL);
        drain_log(m);
}

/* Nothing may be open below the bundle when the exit command runs, and the caller, which it may be waiting
 * for, must have seen the end of the sync pipe. */
static void
close_everything(Monitor *m)
{
        oom_watch_free(m->oom);
        notify_relay_free(m->notify);
        seccomp_listener_free(m->seccomp);
        watch_done(&m->start_watch);
        console_socket_free(m->console);
        attach_server_free(m->attach);
        line_fifo_free(m->ctl);
        line_fifo_free(m->winsz);
        close_streams(m);
        log_free(m->log);
        container_process_done(&m->container);
        signal_watch_done(&m->signals);
        g_clear_pointer(&m->refusal, g_free);
        fd_close_range(3, ~0U);
}

int
monitor_shut_down(Monitor *m)
{
        const Options *o = m->options;
        bool ended = m->state == MONITOR_ENDED;
        rights_raise(); /* what the kernel reserves for root (memory, open files) is for the record */
        if (ended)
                record_end(m);
        close_everything(m);
        remove_link(m);
        (void)prctl(PR_SET_CHILD_SUBREAPER, 0);
        if (o->exit_command && m->launched)
                exit_command_run(&(ExitCommand){
                        .path = o->exit_command,
                        .args = o->exit_command_args,
                        .delay = o->exit_delay,
                        .mask = &m->caller_mask,
                        .score = &m->caller_score,
                });
        return ended ? m->exit_code & 255 : 1;
}
