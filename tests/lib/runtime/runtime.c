/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "runtime.h"
#include "script.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int
connect_console(const char *path)
{
        struct sockaddr_un addr = {.sun_family = AF_UNIX};
        if (strlen(path) >= sizeof addr.sun_path)
                script_fail("console socket path is too long", path);
        strcpy(addr.sun_path, path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
                script_fail("cannot connect to the console socket", path);
        return fd;
}

/* Sends the first `n` of the descriptors, at most two. */
static void
send_descriptors(int socket, const char *name, const int *fds, size_t n)
{
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(2 * sizeof(int))];
        } control = {.space = {0}};
        struct iovec data = {.iov_base = (void *)name, .iov_len = strlen(name)};
        struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
        if (n > 0) {
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n * sizeof *fds);
                struct cmsghdr *header = CMSG_FIRSTHDR(&message);
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                header->cmsg_len = CMSG_LEN(n * sizeof *fds);
                memcpy(CMSG_DATA(header), fds, n * sizeof *fds);
        }
        if (sendmsg(socket, &message, MSG_NOSIGNAL) < 0)
                script_fail("cannot send the console", strerror(errno));
}

static int
open_terminal(int *ret_slave, char *name, size_t size)
{
        int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0, number;
        if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0 || ioctl(master, TIOCGPTN, &number) < 0)
                script_fail("cannot open a terminal", strerror(errno));
        snprintf(name, size, "/dev/pts/%d", number);
        *ret_slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (*ret_slave < 0)
                script_fail("cannot open", name);
        return master;
}

void
runtime_console(struct runtime *self, const char *how)
{
        char name[64];
        if (self->console_socket == NULL)
                return;
        int socket = connect_console(self->console_socket);
        if (strcmp(how, "connect") == 0) {
                close(socket);
                return;
        }
        int master = open_terminal(&self->console, name, sizeof name);
        int fds[2] = {master, -1}, slave;
        if (strcmp(how, "file") == 0)
                fds[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (strcmp(how, "pair") == 0 || strcmp(how, "twice") == 0)
                fds[1] = open_terminal(&slave, name, sizeof name);
        send_descriptors(socket, name, fds, strcmp(how, "nofd") == 0 ? 0 : strcmp(how, "pair") == 0 ? 2 : 1);
        if (strcmp(how, "twice") == 0)
                send_descriptors(socket, name, &fds[1], 1);
        close(master);
        close(socket);
}

static void
take_terminal(int console)
{
        if (ioctl(console, TIOCSCTTY, 0) < 0)
                script_fail("cannot set the controlling terminal", strerror(errno));
        for (int fd = 0; fd < 3; fd++)
                dup2(console, fd);
}

static void
become_container(struct runtime *self, bool leader)
{
        const char *script = getenv("FAKE_CONTAINER");
        if (leader)
                (void)setsid();
        if (self->console >= 0)
                take_terminal(self->console);
        (void)syscall(__NR_close_range, 3 + self->preserved, ~0U, 0);
        script_run(script != NULL ? script : "exit 0", NULL);
}

static pid_t
fork_container(struct runtime *self, bool leader)
{
        pid_t pid = fork();
        if (pid < 0)
                script_fail("cannot fork", strerror(errno));
        if (pid == 0)
                become_container(self, leader);
        return pid;
}

/* The container gets another parent, which reaps it: the monitor notices the end of the container, but can't
 * wait for its exit status. */
static pid_t
fork_fostered(struct runtime *self)
{
        int ends[2];
        pid_t pid = 0;
        if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0)
                script_fail("cannot fork", strerror(errno));
        if (pid == 0) {
                (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
                pid = fork_container(self, true);
                (void)!write(ends[1], &pid, sizeof pid);
                (void)syscall(__NR_close_range, 0, ~0U, 0);
                (void)waitpid(pid, NULL, 0);
                _exit(0);
        }
        if (read(ends[0], &pid, sizeof pid) != sizeof pid)
                script_fail("lost the container", "");
        return pid;
}

void
runtime_container(struct runtime *self, const char *how)
{
        if (strcmp(how, "foster") == 0)
                self->pid = fork_fostered(self);
        else
                self->pid = fork_container(self, strcmp(how, "member") != 0);
        if (strcmp(how, "reap") == 0)
                (void)waitpid(self->pid, NULL, 0);
}

void
runtime_pidfile(struct runtime *self, const char *text)
{
        char number[16];
        snprintf(number, sizeof number, "%d", self->pid);
        if (self->pid_file == NULL)
                script_fail("--pid-file is missing", "");
        if (text == NULL)
                text = number;
        int fd = open(self->pid_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
                script_fail("cannot write", self->pid_file);
        close(fd);
}
