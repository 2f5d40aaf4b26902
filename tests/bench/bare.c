/* What a log costs at the least: read up to 64 KiB, put a prepared prefix before each line, write once a
 * chunk. No event loop, no clock, no clients, no limits.
 *
 *     bench-bare [-t] LOG WRITER [ARGUMENT…]
 *
 * With -t the writer has a terminal instead of a pipe. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
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

/* Frames what is complete; returns how many bytes at the end are not. */
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
                if (n <= 0) { /* EIO: a terminal that nobody writes to any more */
                        end = rest > 0 ? put_record(out, 'P', in, rest) : out;
                        return write(log, out, (size_t) (end - out)) < 0 || (n < 0 && errno != EIO);
                }
                rest = frame(rest + (size_t) n, &end);
                if (end > out && write(log, out, (size_t) (end - out)) != end - out)
                        return 1;
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

int
main(int argc, char **argv)
{
        bool terminal = argc > 1 && strcmp(argv[1], "-t") == 0;
        int fds[2];
        int log;
        int status;
        pid_t pid;

        argv += 1 + terminal;
        log = open(argc > 2 + terminal ? argv[0] : "", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (log < 0 || (terminal ? make_terminal(fds) : pipe2(fds, O_CLOEXEC)) < 0)
                return 1;
        pid = fork();
        if (pid == 0) {
                (void) dup2(fds[1], STDOUT_FILENO);
                execv(argv[1], argv + 1);
                _exit(127);
        }
        close(fds[1]);
        status = copy(fds[0], log);
        (void) waitpid(pid, NULL, 0);
        return status;
}
