/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

void
fd_close(int *fd)
{
        int saved = errno;
        if (*fd >= 0)
                (void)close(*fd);
        *fd = -1;
        errno = saved;
}

static int
change_flag(int fd, int get, int set, int flag, bool on)
{
        int flags = fcntl(fd, get);
        if (flags < 0)
                return -errno;
        int wanted = on ? flags | flag : flags & ~flag;
        if (wanted != flags && fcntl(fd, set, wanted) < 0)
                return -errno;
        return 0;
}

int
fd_set_cloexec(int fd, bool on)
{
        return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int
fd_set_nonblock(int fd, bool on)
{
        return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int
fd_write_all(int fd, const void *data, size_t len)
{
        const char *at = data;
        while (len > 0) {
                ssize_t n = write(fd, at, len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                at += n;
                len -= (size_t)n;
        }
        return 0;
}

ssize_t
fd_read(int fd, void *buf, size_t len)
{
        ssize_t n;
        do
                n = read(fd, buf, len);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

int
fd_read_text(int fd, size_t max, char **ret_text, size_t *ret_len)
{
        g_autoptr(GString) text = g_string_new(NULL);
        char part[4096];
        ssize_t n;
        while ((n = fd_read(fd, part, MIN(sizeof part, max + 1 - text->len))) > 0) {
                g_string_append_len(text, part, n);
                if (text->len > max)
                        return -EFBIG;
        }
        if (n < 0)
                return (int)n;
        if (ret_len)
                *ret_len = text->len;
        *ret_text = g_string_free(g_steal_pointer(&text), FALSE);
        return 0;
}

int
fd_read_file(const char *path, size_t max, char **ret_text, size_t *ret_len)
{
        autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : fd_read_text(fd, max, ret_text, ret_len);
}

int
fd_open_beneath(int dirfd, const char *name, int flags)
{
        struct open_how how = {
                .flags = (unsigned)flags | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
        };
        int fd = (int)syscall(__NR_openat2, dirfd, name, &how, sizeof how);
        /* The kernel is old, or a system call filter does not know the call. */
        if (fd < 0 && (errno == ENOSYS || errno == EPERM))
                fd = openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

ssize_t
fd_receive(int sock, void *bytes, size_t size, int *fds, size_t *ret_n)
{
        union {
                struct cmsghdr align;
                char room[CMSG_SPACE(FD_RECEIVE_MAX * sizeof(int))];
        } control;
        struct iovec iov = {.iov_base = bytes, .iov_len = size};
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        *ret_n = 0;
        ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0)
                return -errno;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
                size_t len = c->cmsg_len - CMSG_LEN(0);
                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                memcpy(fds + *ret_n, CMSG_DATA(c), len);
                *ret_n += len / sizeof(int);
        }
        return n;
}

ssize_t
fd_receive_one(int sock, void *bytes, size_t size, int *ret_fd)
{
        int fds[FD_RECEIVE_MAX];
        size_t n_fds;
        ssize_t n = fd_receive(sock, bytes, size, fds, &n_fds);
        *ret_fd = n_fds > 0 ? fds[0] : -1;
        for (size_t i = 1; i < n_fds; i++)
                fd_close(&fds[i]);
        return n;
}

int
fd_wait_for_input(int fd)
{
        char discarded[4096];
        ssize_t n;
        while ((n = fd_read(fd, discarded, sizeof discarded)) == -EAGAIN) {
                struct pollfd p = {.fd = fd, .events = POLLIN};
                (void)poll(&p, 1, -1);
        }
        return (int)MIN(n, 0);
}

/* The kernel's struct (getdents(2)), which not every C library declares. */
typedef struct {
        uint64_t inode;
        int64_t next;
        unsigned short len;
        unsigned char type;
        char name[];
} DirEntry;

GArray *
fd_list(void)
{
        GArray *fds = g_array_new(FALSE, FALSE, sizeof(int));
        autofd int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        /* Not readdir(3): its buffer would stay in the heap of every monitor. */
        char entries[2048] __attribute__((aligned(__alignof__(DirEntry))));
        long n;
        while (dir >= 0 && (n = syscall(SYS_getdents64, dir, entries, sizeof entries)) > 0)
                for (long at = 0; at < n;) {
                        const DirEntry *entry = (const DirEntry *)(entries + at);
                        int fd = entry->name[0] == '.' ? dir : atoi(entry->name);
                        if (fd != dir)
                                g_array_append_val(fds, fd);
                        at += entry->len;
                }
        return fds;
}

static void
close_listed(unsigned int first, unsigned int last)
{
        g_autoptr(GArray) fds = fd_list();
        for (guint i = 0; i < fds->len; i++) {
                int fd = g_array_index(fds, int, i);
                if ((unsigned int)fd >= first && (unsigned int)fd <= last)
                        (void)close(fd);
        }
}

void
fd_close_range(unsigned int first, unsigned int last)
{
        /* The kernel is old, or a system call filter does not know the call. */
        if (first <= last && syscall(__NR_close_range, first, last, 0) < 0)
                close_listed(first, last);
}
