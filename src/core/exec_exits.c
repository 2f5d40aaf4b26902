/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/exec_exits.h"

#include <fcntl.h>
#include <sys/stat.h>

static bool
accepts(const char *words, size_t len, void *data)
{
        const Monitor *m = data;
        return exit_queue_accepts(m->exits.queue, words, len);
}

static void
take(const char *words, size_t len, gint64 due_usec, void *data)
{
        Monitor *m = data;
        exit_queue_add(m->exits.queue, words, len, due_usec);
}

static void
touch(void *data)
{
        (void)utimensat(AT_FDCWD, data, NULL, 0);
}

/* A name must not be created later, when the disk responds: by then it may be another container's. */
static bool
bundle_has_stalled(Monitor *m)
{
        if (errands_pending(m->errands) > 0)
                return true;
        char *path = g_build_filename(m->options->bundle, ".", NULL);
        errands_grant(m->errands, WHILE_RUNNING_USEC);
        if (!errands_do(m->errands, touch, path, g_free, path))
                return true;
        g_free(path);
        return false;
}

void
exec_exits_listen(Monitor *m)
{
        const Options *o = m->options;
        /* without an exit command, it has set no_new_privs and can't run other commands with full rights */
        if (m->exits.socket || o->exec || !o->bundle || !o->exit_command)
                return;
        if (m->state == MONITOR_RUNNING && bundle_has_stalled(m)) {
                diag_warn("Not listening for exit commands of exec sessions: a disk has stalled");
                return;
        }
        m->exits.socket = exit_socket_new(o->bundle, o->cid, &(ExitSocketEvents){accepts, take, m});
        if (!m->exits.queue)
                m->exits.queue = exit_queue_new(&m->caller.mask, &m->caller.score);
}

bool
exec_exits_hand_over(const Monitor *m, const ExitCommand *command)
{
        const Options *o = m->options;
        if (!o->exec || !o->bundle || o->exit_delay == 0)
                return false;
        g_autoptr(GByteArray) words = exit_words_new(command);
        return exit_socket_hand_over(o->bundle, o->cid, (const char *)words->data, words->len,
                                     command->due_usec);
}

void
exec_exits_continue_in_copy(const Monitor *m)
{
        exit_queue_lose_children(m->exits.queue);
        if (m->exits.socket)
                exit_socket_claim(m->exits.socket);
}

void
exec_exits_save(const Monitor *m, StateWriter *w)
{
        if (!m->exits.queue)
                return;
        state_begin(w, "exec-exits");
        exit_queue_save(m->exits.queue, w);
        if (m->exits.socket)
                exit_socket_save(m->exits.socket, w);
        state_end(w);
}

void
exec_exits_restore(Monitor *m, StateReader *r)
{
        if (!state_enter_next(r, "exec-exits"))
                return;
        m->exits.queue = exit_queue_new(&m->caller.mask, &m->caller.score);
        exit_queue_restore(m->exits.queue, r);
        if (state_enter_next(r, "socket")) {
                m->exits.socket = exit_socket_restore(r, &(ExitSocketEvents){accepts, take, m});
                state_leave(r);
        }
        state_leave(r);
}
