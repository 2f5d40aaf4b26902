/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "client.h"

#include "pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENTS_MAX 64
#define BATCH 16
#define PACKET_MAX 8193
#define STREAM_STDOUT 2

typedef struct Batch {
        struct mmsghdr messages[BATCH];
        struct iovec vectors[BATCH];
        char packets[BATCH][PACKET_MAX];
} Batch;

static int
connect_to(const char *path)
{
        struct sockaddr_un to = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        strncpy(to.sun_path, path, sizeof to.sun_path - 1);
        if (fd < 0 || connect(fd, (struct sockaddr *) &to, sizeof to) < 0) {
                perror(path);
                exit(1);
        }
        return fd;
}

static void
batch_init(Batch *b)
{
        memset(b->messages, 0, sizeof b->messages);
        for (int i = 0; i < BATCH; i++) {
                b->vectors[i] = (struct iovec){ .iov_base = b->packets[i], .iov_len = PACKET_MAX };
                b->messages[i].msg_hdr.msg_iov = &b->vectors[i];
                b->messages[i].msg_hdr.msg_iovlen = 1;
        }
}

/* Reads available data. Returns false at the end of the connection. */
static bool
take(int fd, Batch *b, const Pattern *pattern, uint64_t *offset, uint64_t *wrong)
{
        int n = recvmmsg(fd, b->messages, BATCH, MSG_DONTWAIT, NULL);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR;
        for (int i = 0; i < n; i++) {
                size_t len = b->messages[i].msg_len;

                if (len == 0)
                        return false;
                *wrong += b->packets[i][0] != STREAM_STDOUT ||
                          !pattern_matches(pattern, *offset, b->packets[i] + 1, len - 1);
                *offset += len - 1;
        }
        return n > 0;
}

static void
read_all(const int *fds, size_t count, size_t line, ClientResult *ret)
{
        static Batch batch;
        struct pollfd polls[CLIENTS_MAX];
        uint64_t offsets[CLIENTS_MAX] = { 0 };
        size_t open_count = count;
        Pattern pattern;

        pattern_init(&pattern, line, false);
        batch_init(&batch);
        for (size_t i = 0; i < count; i++)
                polls[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
        while (open_count > 0 && poll(polls, count, -1) > 0) {
                for (size_t i = 0; i < count; i++) {
                        if (polls[i].revents == 0 || take(fds[i], &batch, &pattern, &offsets[i], &ret->wrong))
                                continue;
                        polls[i].fd = -1;
                        open_count--;
                }
        }
        for (size_t i = 0; i < count; i++)
                ret->bytes += offsets[i];
}

/* Forks; returns in the child with *ret_to set, in the parent when the child is ready. */
static pid_t
fork_client(Clients *c, int *ret_to)
{
        int fds[2];
        char ready;

        if (pipe2(fds, O_CLOEXEC) < 0 || (c->pid = fork()) < 0) {
                perror("client");
                exit(1);
        }
        if (c->pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                *ret_to = fds[1];
                return 0;
        }
        close(fds[1]);
        c->fd = fds[0];
        if (read(c->fd, &ready, 1) != 1) {
                (void) fprintf(stderr, "an attach client could not connect\n");
                exit(1);
        }
        return c->pid;
}

void
clients_start(Clients *c, const char *path, size_t count, size_t line)
{
        ClientResult result = { 0 };
        int fds[CLIENTS_MAX];
        int to;

        if (fork_client(c, &to) != 0)
                return;
        if (count > CLIENTS_MAX)
                exit(1);
        for (size_t i = 0; i < count; i++)
                fds[i] = connect_to(path);
        if (write(to, "r", 1) != 1)
                exit(1);
        read_all(fds, count, line, &result);
        exit(write(to, &result, sizeof result) != sizeof result);
}

void
clients_start_stalled(Clients *c, const char *path)
{
        int to;

        if (fork_client(c, &to) != 0)
                return;
        (void) connect_to(path);
        if (write(to, "r", 1) != 1)
                exit(1);
        for (;;)
                pause();
}

void
clients_finish(Clients *c, ClientResult *ret)
{
        if (read(c->fd, ret, sizeof *ret) != sizeof *ret)
                *ret = (ClientResult){ .wrong = 1 };
        close(c->fd);
        (void) waitpid(c->pid, NULL, 0);
}

void
clients_kill(Clients *c)
{
        (void) kill(c->pid, SIGKILL);
        (void) waitpid(c->pid, NULL, 0);
        close(c->fd);
}
