/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Operations on files that may stall (a frozen file system, a file server that does not respond), for a
 * caller that must not block. Steps run in other threads, in order, while the caller waits. If a step takes
 * too long, the next ones start without it, and the caller continues. It still finishes when the disk
 * responds.
 *
 * The threads exist only while there are unfinished steps. Steps on file systems in memory, as most
 * directories of callers are, are run by the caller itself: a thread would cost more than they do. */

#include <glib.h>
#include <stdbool.h>

typedef struct Errands Errands;

/* There is no budget until errands_grant. */
Errands *errands_new(void);

/* Sets the budget: the total time for which all further calls of errands_run may block the caller. */
void errands_grant(Errands *e, gint64 usec);

/* Checks whether the directory is on a file system in memory (tmpfs(5)), while that can't stall yet; NULL
 * is allowed. The name is copied. */
void errands_learn(Errands *e, const char *dir);

/* Adds a step that accesses the file `path`, and nothing else that could stall; NULL: no file at all. `func`
 * is called with `data`, in another thread unless the directory of `path` is known to be in memory. Therefore
 * `data` belongs to this step: the caller neither uses nor frees it. */
void errands_add(Errands *e, void (*func)(void *data), void *data, const char *path);

/* Runs one step of the same kind, of which the caller needs the result. Returns true if it is done. Otherwise
 * it has used up its share of the budget, and `data` is passed to `free_data` when it is done. */
bool errands_do(Errands *e, void (*func)(void *data), void *data, GDestroyNotify free_data, const char *path);

/* As fd_read_file, but `ret_len` is not NULL, and within the budget; -ETIMEDOUT: it is used up. Without
 * errands (NULL) there is no limit. */
int errands_read_file(Errands *e, const char *path, size_t max, char **ret_text, size_t *ret_len);

/* Runs the steps that were added. Returns when all are done, or have used up their share of the budget. Each
 * step that stalls gets half of the remaining budget, so that the next one always has some. */
void errands_run(Errands *e);

/* The remaining budget, for other waits that are part of it; and to report how long these took. */
gint64 errands_budget(const Errands *e);
void errands_spend(Errands *e, gint64 usec);

/* Waits for the end of threads whose steps are done, so that the process can be copied. NULL is allowed. */
void errands_rest(Errands *e);

/* The number of unfinished steps. NULL is allowed. */
guint errands_pending(Errands *e);

/* Waits for the steps that stalled, without a time limit, and frees. NULL is allowed. */
void errands_free(Errands *e);
