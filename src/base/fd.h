/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Descriptors: ownership, flags, and reads and writes that survive EINTR. */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Closes *fd if it is not negative and sets it to -1. Does not change errno. A signal during close(2) is
 * ignored: Linux has released the descriptor by then. */
void fd_close(int *fd);

/* A descriptor that is closed when it goes out of scope: `autofd int fd = -1;`. */
#define autofd __attribute__((cleanup(fd_close)))

/* Returns the descriptor and sets *fd to -1, to pass on ownership. */
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
 * error is not reported. */
int fd_write_all(int fd, const void *data, size_t len);

/* read(2), repeated after EINTR. Returns the number of bytes, 0 at the end, or -errno. */
ssize_t fd_read(int fd, void *buf, size_t len);

/* Reads a small file as a string that ends with a NUL. The caller frees *ret_text with g_free. `ret_len` may
 * be NULL. Returns 0 or -errno; -EFBIG: it has more than `max` bytes. */
int fd_read_file(const char *path, size_t max, char **ret_text, size_t *ret_len);

/* The same for the rest of what can be read from a descriptor. */
int fd_read_text(int fd, size_t max, char **ret_text, size_t *ret_len);

/* Opens a file in a directory, without following symlinks or ".." (openat2(2): RESOLVE_BENEATH,
 * RESOLVE_NO_SYMLINKS). `name` has one component. `flags` as for open(2), to which O_CLOEXEC is added.
 * Returns the descriptor or -errno; ELOOP or ENOTDIR: there is a symlink. */
int fd_open_beneath(int dirfd, const char *name, int flags);

/* The most descriptors that fd_receive takes from one message. */
#define FD_RECEIVE_MAX 16

/* Receives a message with descriptors (SCM_RIGHTS, unix(7)) from a unix socket, without waiting. Its bytes,
 * up to `size`, are stored in `bytes`; the first of the descriptors, close-on-exec, in `fds`, which has room
 * for FD_RECEIVE_MAX, and *ret_n says how many; the kernel closes further ones. Returns how many bytes were
 * stored, 0 at the end of a stream, or -errno, both without a descriptor. */
ssize_t fd_receive(int sock, void *bytes, size_t size, int *fds, size_t *ret_n);

/* The same for one descriptor, -1 if there is none; further ones are closed. */
ssize_t fd_receive_one(int sock, void *bytes, size_t size, int *ret_fd);

/* Waits for input or the end of file, reads it, and discards it. Returns 0 or -errno. */
int fd_wait_for_input(int fd);

/* The open descriptors, in any order, as /proc/self/fd lists them; empty if it can't be read. The caller
 * unrefs the array of int. */
GArray *fd_list(void);

/* Closes all descriptors from first to last, inclusive (close_range(2), or those in /proc/self/fd). */
void fd_close_range(unsigned int first, unsigned int last);
