/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A FIFO for lines of text. The monitor keeps it open for writing, too, so that it never reads end of
 * file. */

#include "base/state.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* Longer lines are discarded. */
#define LINE_MAX_LEN 199

typedef void (*LineFunc)(const char *line, void *data);

/* Collects bytes into lines. All zero is valid. */
typedef struct LineBuffer {
        char line[LINE_MAX_LEN + 1];
        size_t len;
        bool discarding;
} LineBuffer;

/* Calls func for each complete line, without its newline. A NUL ends the text of a line. */
void line_buffer_feed(LineBuffer *b, const char *bytes, size_t len, LineFunc func, void *data);

typedef struct LineFifo LineFifo;

/* Creates the FIFO dir/name, replacing any file of that name, with mode 0660 minus the umask, and opens
 * it. */
LineFifo *line_fifo_new(const char *dir, const char *name, LineFunc func, void *data, GError **error);

/* Starts to deliver lines, including those that were written since line_fifo_new. LineFunc may run the main
 * loop, which then delivers the next lines. */
void line_fifo_start(LineFifo *fifo);

/* Delivers no lines until line_fifo_resume, which delivers held input first. May be called in
 * LineFunc. */
void line_fifo_hold(LineFifo *fifo);
void line_fifo_resume(LineFifo *fifo);

/* Live upgrade. The caller enters the group of that name before restoring. */
void line_fifo_save(const LineFifo *fifo, StateWriter *w, const char *name);
LineFifo *line_fifo_restore(StateReader *r, LineFunc func, void *data);

/* Closes both ends: nothing is read any more. Also from LineFunc. */
void line_fifo_stop(LineFifo *fifo);

/* Closes the FIFO, which stays in its directory. NULL is allowed. */
void line_fifo_free(LineFifo *fifo);
