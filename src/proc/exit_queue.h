/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Exit commands of exec sessions that have ended, which the container's monitor runs after their delay
 * (--exit-delay), or when the container ends.
 *
 * A command is a list of words, each terminated by a NUL: the working directory (empty: the monitor's), the
 * number of arguments, the arguments, of which the first is the program, and the environment. There may be
 * thousands that differ only in the session's name: of words with the same length as others the queue only
 * stores the differences.
 */

#include "base/state.h"
#include "proc/exit_command.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct ExitQueue ExitQueue;

/* The words of a command. The caller frees them with g_byte_array_unref. */
GByteArray *exit_words_new(const ExitCommand *command);

/* `mask` and `score` are those of all commands, and stay the caller's. */
ExitQueue *exit_queue_new(const sigset_t *mask, const OomScore *score);

/* True if the words are well formed, and the queue is not full. */
bool exit_queue_accepts(const ExitQueue *q, const char *words, size_t len);

/* Adds a command that is accepted; `due_usec` is a time of g_get_monotonic_time. */
void exit_queue_add(ExitQueue *q, const char *words, size_t len, gint64 due_usec);

/* A child has exited, with this status of waitpid(2). Returns true if it was a command, whose failure is
 * reported. NULL is allowed. */
bool exit_queue_on_child_end(ExitQueue *q, pid_t pid, int status);

/* For a copy of the process, which is not the parent of running commands: nothing waits for them any more.
 * NULL is allowed. */
void exit_queue_lose_children(ExitQueue *q);

/* Without the main loop: runs all commands, due or not, a few at a time, and waits up to `usec` for them.
 * Other children are also reaped. SIGCHLD must be blocked. NULL is allowed. */
void exit_queue_flush(ExitQueue *q, gint64 usec);

/* Calls the function for each command that waits; the words are valid during the call. */
void exit_queue_each(const ExitQueue *q,
                     void (*func)(const char *words, size_t len, gint64 due_usec, void *data), void *data);

/* Live upgrade; running commands remain children. Restoring starts with an empty queue. */
void exit_queue_save(const ExitQueue *q, StateWriter *w);
void exit_queue_restore(ExitQueue *q, StateReader *r);

/* Starts all commands at once, without waiting. NULL is allowed. */
void exit_queue_start_all(ExitQueue *q);

/* Frees it without running commands. NULL is allowed. */
void exit_queue_free(ExitQueue *q);
