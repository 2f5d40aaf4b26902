#pragma once

/* Small files that appear whole or not at all: pid files, exit files, status files. */

#include <glib.h>
#include <stddef.h>

/* Writes `len` bytes to a temporary file `<path>.XXXXXX` in the same directory and renames it to `path`,
 * so that a watcher never sees a part. Mode 0644 where the file system has modes. Nothing is left behind on
 * failure. */
gboolean atomic_file_write(const char *path, const void *data, size_t len, GError **error);
