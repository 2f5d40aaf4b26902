#pragma once

/* A FIFO that takes lines of text from anybody who may write to it. The monitor keeps a writer of its own, so
 * that the reader never sees the end of the file. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* A longer line is discarded whole. */
#define LINE_MAX_LEN 199

typedef void (*LineFunc)(const char *line, void *data);

/* Collects bytes into lines. All zero is a valid start. */
typedef struct LineBuffer {
        char line[LINE_MAX_LEN + 1];
        size_t len;
        bool discarding;
} LineBuffer;

/* Calls func for each line that is complete, without its newline. A line with a NUL ends there. */
void line_buffer_feed(LineBuffer *b, const char *bytes, size_t len, LineFunc func, void *data);

typedef struct LineFifo LineFifo;

/* Makes the FIFO dir/name, in place of whatever has that name, mode 0660 less the umask, and opens it. */
LineFifo *line_fifo_new(const char *dir, const char *name, LineFunc func, void *data, GError **error);

/* Lines that were written since line_fifo_new, and new ones, are delivered from now on. */
void line_fifo_start(LineFifo *fifo);

/* The FIFO itself stays in its directory. NULL is fine. */
void line_fifo_free(LineFifo *fifo);
