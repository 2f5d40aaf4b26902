#pragma once

/* Putting a new, empty log file in the place of the old one, so that the name exists at every moment. Every
 * step leaves a state from which the whole can be done again, by the same process or a later one. */

#include <stdbool.h>
#include <stdint.h>

/* Opens the directory that the path's file is in, symbolic links followed, and tells the file's
 * name there. The file need not exist, but a symbolic link must lead to one. The caller closes and
 * frees. Returns 0 or -errno. */
int log_rotate_locate(const char *path, int *ret_dirfd, char **ret_name);

/* The name of an old file: name.N, compressed name.N.gz. The caller frees it. */
char *log_rotate_name(const char *name, int number, bool compressed);

/* True if there is an old file of this number. */
bool log_rotate_is_taken(int dirfd, const char *name, int number);

/* Makes the new file with mode 0640. The old one, if there is one, becomes name.1, what is there name.2 and
 * so on to name.<backups>; with 0 backups it goes away. Returns the descriptor of the new file, open for
 * appending, or -errno: then the name is still the old file. */
int log_rotate(int dirfd, const char *name, int backups);

/* The bytes of all old files, up to a number that is free. */
int64_t log_rotate_sum(int dirfd, const char *name, int backups);
