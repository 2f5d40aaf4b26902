/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Small files that are replaced atomically: pid files, exit files, status files. */

#include <glib.h>
#include <stddef.h>

/* Writes `len` bytes to a temporary file `<path>.XXXXXX` in the same directory and renames it to `path`,
 * so that a watcher never sees an incomplete file. Mode 0644 if the file system has modes. Nothing is left
 * on failure. */
gboolean atomic_file_write(const char *path, const void *data, size_t len, GError **error);

/* The same, and the file stays open. Returns its descriptor, which is close-on-exec and writable, or -1. */
int atomic_file_create(const char *path, const void *data, size_t len, GError **error);
