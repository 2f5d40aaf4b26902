/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Replaces the log file by a new, empty one, so that the name always exists. After every step the whole
 * can be repeated, by the same process or a later one. */

#include <stdbool.h>
#include <stdint.h>

/* Opens the directory that the path's file is in, symbolic links followed, and returns the file's name
 * there. The file need not exist, but a symbolic link must lead to one. The caller closes and frees.
 * Returns 0 or -errno. */
int log_rotate_locate(const char *path, int *ret_dirfd, char **ret_name);

/* The name of an old file: name.N, compressed name.N.gz. The caller frees it. */
char *log_rotate_name(const char *name, int number, bool compressed);

/* True if there is an old file of this number. */
bool log_rotate_is_taken(int dirfd, const char *name, int number);

/* Creates the new file with mode 0640. The old one, if any, becomes name.1, the previous one name.2 and so
 * on to name.<backups>; with 0 backups it is removed. Returns the descriptor of the new file, open for
 * appending, or -errno: then the name is still that of the old file. */
int log_rotate(int dirfd, const char *name, int backups);

/* The total size of all old files, up to the first free number. */
int64_t log_rotate_sum(int dirfd, const char *name, int backups);
