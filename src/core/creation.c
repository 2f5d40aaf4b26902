/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/creation.h"

#include <string.h>
#include <sys/wait.h>

typedef struct {
        pid_t pid;
        int status;
} EarlyEnd;

/* The most exits that are recorded. It is only reached if thousands of processes exit while the runtime
 * hangs. */
#define EARLY_ENDS_MAX 65536

void
creation_init(Runtime *r)
{
        for (int i = 0; i < 3; i++)
                r->stdio[i] = -1;
        r->early_ends = g_array_new(FALSE, FALSE, sizeof(EarlyEnd));
        r->said = g_string_new(NULL);
        for (StreamId id = 0; id < N_STREAMS; id++)
                r->held[id] = g_byte_array_new();
}

void
creation_over(Runtime *r)
{
        g_clear_pointer(&r->early_ends, g_array_unref);
        for (StreamId id = 0; id < N_STREAMS; id++)
                g_clear_pointer(&r->held[id], g_byte_array_unref);
}

void
creation_done(Runtime *r)
{
        creation_over(r);
        g_string_free(r->said, TRUE);
}

void
creation_note_end(Runtime *r, pid_t pid, int status)
{
        EarlyEnd end = {pid, status};
        if (r->early_ends && r->early_ends->len < EARLY_ENDS_MAX)
                g_array_append_val(r->early_ends, end);
}

/* Returns the status of a child that exited before it was known to be the container, or -1. */
static int
find_early_end(const Runtime *r, pid_t pid)
{
        for (guint i = 0; i < r->early_ends->len; i++) {
                const EarlyEnd *e = &g_array_index(r->early_ends, EarlyEnd, i);
                if (e->pid == pid)
                        return e->status;
        }
        return -1;
}

static void
start_container(Monitor *m, pid_t pid)
{
        int status = find_early_end(&m->runtime, pid);
        g_clear_pointer(&m->runtime.early_ends, g_array_unref);
        monitor_container_started(m, pid, status);
}

/* Reports the runtime's own message if there is one, else ours. With passthrough the runtime wrote to the
 * caller's stderr. */
static void
fail_with_reason(Monitor *m, const char *own)
{
        const char *said = m->runtime.said->str;
        if (*said)
                diag_warn("runtime stderr: %s", said);
        monitor_fail(m, *said || log_is_passthrough(m->log) ? said : own);
        orphans_kill(&m->bystanders, true);
}

/* The runtime has exited with status 0 nevertheless. */
static void
fail_incomplete(Monitor *m, const char *text)
{
        fail_with_reason(m, text);
        diag_error("%s", text);
}

static char *
describe_failure(const Monitor *m, int status)
{
        const char *runtime = m->options->runtime;
        if (WIFSIGNALED(status))
                return g_strdup_printf("The runtime %s was killed by signal %d and gave no reason", runtime,
                                       WTERMSIG(status));
        return g_strdup_printf("The runtime %s exited with status %d and gave no reason", runtime,
                               WEXITSTATUS(status));
}

void
creation_on_runtime_end(Monitor *m, int status)
{
        g_autoptr(GError) error = NULL;
        m->runtime.pid = 0;
        if (m->terminal.socket)
                console_socket_check(m->terminal.socket);
        g_clear_pointer(&m->terminal.socket, console_socket_free);
        output_stream_drain(&m->output[STREAM_STDERR]);
        output_stream_drain(&m->output[STREAM_STDOUT]);

        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                g_autofree char *own = describe_failure(m, status);
                fail_with_reason(m, own);
                diag_error("Failed to create container: exit status %d",
                           WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
                return;
        }
        if (m->options->terminal && !m->terminal.received) {
                fail_incomplete(m, "Runtime did not set up terminal");
                return;
        }
        pid_t pid = pid_file_read(m->options->container_pidfile, &error);
        if (pid == 0)
                fail_incomplete(m, error->message);
        else
                start_container(m, pid);
}
