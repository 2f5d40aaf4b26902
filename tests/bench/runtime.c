/* The cheapest OCI runtime there can be: a static binary that forks a container, writes its pid file and ends.
 * What remains of a measurement that uses it is the monitor. The container is writer.c, in the same program.
 *
 *     bench-runtime create|exec … --pid-file FILE [--console-socket SOCKET] … ID
 *     bench-runtime write                     the container alone, for a loop that isn't a monitor */

#include "writer.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void
fail(const char *what)
{
        perror(what);
        _exit(1);
}

static const char *
option(char **argv, const char *name)
{
        for (; *argv != NULL; argv++)
                if (strcmp(*argv, name) == 0)
                        return argv[1];
        return NULL;
}

static void
send_fd(const char *path, int fd)
{
        struct sockaddr_un to = { .sun_family = AF_UNIX };
        char control[CMSG_SPACE(sizeof(int))] = { 0 };
        char text[] = "pty";
        struct iovec name = { .iov_base = text, .iov_len = 3 };
        struct msghdr message = { .msg_iov = &name, .msg_iovlen = 1, .msg_control = control,
                                  .msg_controllen = sizeof control };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        strncpy(to.sun_path, path, sizeof to.sun_path - 1);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
        if (s < 0 || connect(s, (struct sockaddr *) &to, sizeof to) < 0 || sendmsg(s, &message, 0) < 0)
                fail(path);
        close(s);
}

/* Returns the container's end of a new terminal whose other end the monitor got. */
static int
open_terminal(const char *console_socket)
{
        int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
        int unlock = 0;
        int slave;

        if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
                fail("/dev/ptmx");
        slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
        if (slave < 0)
                fail("terminal");
        send_fd(console_socket, master);
        close(master);
        return slave;
}

static void
become_container(int terminal)
{
        (void) setsid();
        (void) signal(SIGPIPE, SIG_DFL);
        if (terminal >= 0) {
                (void) ioctl(terminal, TIOCSCTTY, 0);
                for (int fd = 0; fd < 3; fd++)
                        if (dup2(terminal, fd) < 0)
                                fail("dup2");
                close(terminal);
        }
        _exit(writer_run());
}

static void
write_pid(const char *path, pid_t pid)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        if (fd < 0 || dprintf(fd, "%d", (int) pid) < 0)
                fail(path);
        close(fd);
}

int
main(int argc, char **argv)
{
        const char *pid_file = option(argv, "--pid-file");
        const char *console_socket = option(argv, "--console-socket");
        int terminal = -1;
        pid_t pid;

        if (argc > 1 && strcmp(argv[1], "write") == 0)
                return writer_run();
        if (pid_file == NULL)
                return 1;
        if (console_socket != NULL)
                terminal = open_terminal(console_socket);
        pid = fork();
        if (pid < 0)
                fail("fork");
        if (pid == 0)
                become_container(terminal);
        write_pid(pid_file, pid);
        _exit(0);
}
