/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* The minimum cost of a log: read up to 64 KiB, put a prepared prefix before each line, write once per chunk.
 * No event loop, no clock, no clients, no limits.
 *
 *     bench-bare [-t] [-a SOCKET] LOG WRITER [ARGUMENT…]
 *
 * With -t the writer has a terminal instead of a pipe. With -a one attach client is accepted; its data goes
 * to the writer's stdin, and it gets the output, after the log as from a monitor. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK 65536
#define RECORD_MAX 16384
#define PREFIX "2026-01-01T00:00:00.000000000+00:00 stdout F "
#define PREFIX_LEN (sizeof PREFIX - 1)

static char in[CHUNK + RECORD_MAX];
static char out[(CHUNK + RECORD_MAX) * (PREFIX_LEN + 2)];

static char *
put_record(char *to, char tag, const char *from, size_t len)
{
        memcpy(to, PREFIX, PREFIX_LEN);
        to[PREFIX_LEN - 2] = tag;
        memcpy(to + PREFIX_LEN, from, len);
        to[PREFIX_LEN + len] = '\n';
        return to + PREFIX_LEN + len + 1;
}

/* Frames complete lines; returns the number of remaining bytes. */
static size_t
frame(size_t len, char **ret_end)
{
        const char *from = in;
        const char *end = in + len;
        char *to = out;

        while (from < end) {
                size_t most = (size_t) (end - from) < RECORD_MAX ? (size_t) (end - from) : RECORD_MAX;
                const char *newline = memchr(from, '\n', most);

                if (newline == NULL && most < RECORD_MAX)
                        break;
                to = put_record(to, newline != NULL ? 'F' : 'P', from,
                                newline != NULL ? (size_t) (newline - from) : most);
                from += newline != NULL ? (size_t) (newline - from) + 1 : most;
        }
        *ret_end = to;
        memmove(in, from, (size_t) (end - from));
        return (size_t) (end - from);
}

static int
copy(int from, int log)
{
        size_t rest = 0;

        for (;;) {
                ssize_t n = read(from, in + rest, CHUNK);
                char *end = out;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) { /* EIO: the terminal has no writer any more */
                        end = rest > 0 ? put_record(out, 'P', in, rest) : out;
                        return write(log, out, (size_t) (end - out)) < 0 || (n < 0 && errno != EIO);
                }
                rest = frame(rest + (size_t) n, &end);
                if (end > out && write(log, out, (size_t) (end - out)) != end - out)
                        return 1;
        }
}

static int
listen_on(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        strncpy(address.sun_path, path, sizeof address.sun_path - 1);
        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof address) < 0 || listen(fd, 1) < 0)
                return -1;
        return fd;
}

static bool
pass_request(int client, int to)
{
        ssize_t n = recv(client, in, CHUNK, 0);

        return n <= 0 || write(to, in, (size_t) n) == n;
}

static bool
pass_answer(int from, int log, int client)
{
        static const char stream = 2;
        ssize_t n = read(from, in, CHUNK);
        struct iovec parts[2] = { { (void *) &stream, 1 }, { in, n > 0 ? (size_t) n : 0 } };
        char *end = out;

        if (n <= 0)
                return false;
        (void) frame((size_t) n, &end);
        if (write(log, out, (size_t) (end - out)) != end - out)
                return false;
        return writev(client, parts, 2) > 0;
}

/* Requests and answers, until the output ends. */
static int
converse(int from, int log, int to, int listener)
{
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        struct pollfd polls[2] = { { .fd = client, .events = POLLIN }, { .fd = from, .events = POLLIN } };

        for (;;) {
                if (poll(polls, 2, -1) < 0)
                        return 1;
                if ((polls[0].revents & POLLIN) && !pass_request(client, to))
                        return 1;
                if (polls[1].revents != 0 && !pass_answer(from, log, client))
                        return 0;
                if (polls[0].revents & POLLHUP)
                        polls[0].fd = -1;
        }
}

static int
make_terminal(int fds[2])
{
        int unlock = 0;

        fds[0] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (fds[0] < 0 || ioctl(fds[0], TIOCSPTLCK, &unlock) < 0)
                return -1;
        fds[1] = ioctl(fds[0], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        return fds[1] < 0 ? -1 : 0;
}

static pid_t
start_writer(char **argv, int in_fd, int out_fd)
{
        pid_t pid = fork();

        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (in_fd >= 0)
                        (void) dup2(in_fd, STDIN_FILENO);
                (void) dup2(out_fd, STDOUT_FILENO);
                execv(argv[0], argv);
                _exit(127);
        }
        return pid;
}

int
main(int argc, char **argv)
{
        const char *attach = NULL;
        bool terminal = false;
        int input[2] = { -1, -1 };
        int output[2];
        int listener = -1;
        int log;
        int status;
        int c;
        pid_t pid;

        while ((c = getopt(argc, argv, "+ta:")) != -1) {
                terminal |= c == 't';
                attach = c == 'a' ? optarg : attach;
        }
        argv += optind;
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        log = open(argc - optind > 1 ? argv[0] : "", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (log < 0 || (terminal ? make_terminal(output) : pipe2(output, O_CLOEXEC)) < 0)
                return 1;
        if (attach != NULL && (listener = listen_on(attach)) < 0)
                return 1;
        if (attach != NULL && !terminal && pipe2(input, O_CLOEXEC) < 0)
                return 1;
        pid = start_writer(argv + 1, terminal && attach != NULL ? output[1] : input[0], output[1]);
        close(output[1]);
        if (attach == NULL)
                status = copy(output[0], log);
        else
                status = converse(output[0], log, terminal ? output[0] : input[1], listener);
        (void) waitpid(pid, NULL, 0);
        return status;
}
