#pragma once

/* Descriptors: ownership, flags, and reads and writes that survive EINTR. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Closes *fd if it is not negative and sets it to -1. errno is kept. A signal during close(2) is
 * ignored: Linux has released the number by then. */
void fd_close(int *fd);

/* A descriptor that is closed when it goes out of scope: `autofd int fd = -1;`. */
#define autofd __attribute__((cleanup(fd_close)))

/* Returns the descriptor and leaves -1 behind, for handing ownership on. */
static inline int
fd_steal(int *fd)
{
        int stolen = *fd;
        *fd = -1;
        return stolen;
}

/* Sets or clears FD_CLOEXEC. Returns 0 or -errno. */
int fd_set_cloexec(int fd, bool on);

/* Sets or clears O_NONBLOCK on the open file description, which other processes may share.
 * Returns 0 or -errno. */
int fd_set_nonblock(int fd, bool on);

/* Writes all of it to a blocking descriptor. Returns 0 or -errno; how much was written before an
 * error is not told. */
int fd_write_all(int fd, const void *data, size_t len);

/* read(2) that is repeated after EINTR. Returns the number of bytes, 0 at the end, or -errno. */
ssize_t fd_read(int fd, void *buf, size_t len);

/* Reads a small file, at most `max` bytes, as a string with a NUL behind it. The caller frees
 * *ret_text with g_free. `len` may be NULL. Returns 0 or -errno. */
int fd_read_file(const char *path, size_t max, char **ret_text, size_t *ret_len);

/* Opens what is in a directory, and nothing that a symlink or ".." leads to (openat2(2): RESOLVE_BENEATH,
 * RESOLVE_NO_SYMLINKS). `name` has one component. `flags` as for open(2), to which O_CLOEXEC is added.
 * Returns the descriptor or -errno; ELOOP or ENOTDIR: there is a symlink. */
int fd_open_beneath(int dirfd, const char *name, int flags);

/* Waits until there is something to read or the other end is closed, and reads it;
 * what came is not looked at. */
void fd_wait_for_input(int fd);

/* The descriptors that are open, in any order: what /proc/self/fd lists, nothing if it can't be read. The
 * caller unrefs the array of int. */
GArray *fd_list(void);

/* Closes every descriptor from first to last, both included (close_range(2), or what /proc/self/fd lists). */
void fd_close_range(unsigned int first, unsigned int last);
