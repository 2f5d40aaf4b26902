/* What a log costs at the least: read up to 64 KiB, put a prepared prefix before each line, write once a chunk.
 * No event loop, no clock, no clients, no limits.
 *
 *     bench-bare LOG WRITER [ARGUMENT…] */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
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
                if (n <= 0) {
                        end = rest > 0 ? put_record(out, 'P', in, rest) : out;
                        return write(log, out, (size_t) (end - out)) < 0 || n < 0;
                }
                rest = frame(rest + (size_t) n, &end);
                if (end > out && write(log, out, (size_t) (end - out)) != end - out)
                        return 1;
        }
}

int
main(int argc, char **argv)
{
        int log = open(argc > 2 ? argv[1] : "", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        int fds[2];
        pid_t pid;
        int status;

        if (log < 0 || pipe2(fds, O_CLOEXEC) < 0)
                return 1;
        pid = fork();
        if (pid == 0) {
                (void) dup2(fds[1], STDOUT_FILENO);
                execv(argv[2], argv + 2);
                _exit(127);
        }
        close(fds[1]);
        status = copy(fds[0], log);
        (void) waitpid(pid, NULL, 0);
        return status;
}
