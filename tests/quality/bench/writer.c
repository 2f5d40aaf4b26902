/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* The container of a measurement, run by the fake runtime. It is controlled by its environment, which
 * monitors pass on unchanged:
 *
 *     BENCH_GATE=FIFO     wait until this FIFO is opened for writing
 *     BENCH_WRITE="LINE CHUNK TOTAL"
 *                         lines of LINE bytes, CHUNK bytes per write, TOTAL bytes in all (0: endless)
 *     BENCH_SECONDS=N     stop after N seconds, interrupting a write that blocks
 *     BENCH_REPORT=FILE   write the number of written bytes to it
 *     BENCH_STAY=1        keep running after the last byte
 *     BENCH_ECHO=1        write a dot when ready, then echo stdin, until its end or a ^D (a terminal is put
 *                         into raw mode)
 */

#include "pattern.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static volatile sig_atomic_t time_is_up;

static void
on_alarm(int signo)
{
        time_is_up = 1;
}

static void
pass_gate(const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        if (fd < 0)
                _exit(120);
        close(fd);
}

/* Without SA_RESTART, so that a blocking write is interrupted. */
static void
set_alarm(unsigned seconds)
{
        struct sigaction action = { .sa_handler = on_alarm };

        sigaction(SIGALRM, &action, NULL);
        alarm(seconds);
}

static uint64_t
write_lines(size_t line, size_t chunk, uint64_t total)
{
        Pattern pattern;
        uint64_t done = 0;

        pattern_init(&pattern, line, false);
        while (!time_is_up && (total == 0 || done < total)) {
                size_t want = total != 0 && total - done < chunk ? total - done : chunk;
                ssize_t n = write(STDOUT_FILENO, pattern_at(&pattern, done), want);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        _exit(121);
                done += (uint64_t) n;
        }
        return done;
}

static void
echo(void)
{
        struct termios terminal;
        char text[4096] = ".";
        ssize_t n = 1;

        if (tcgetattr(STDIN_FILENO, &terminal) == 0) {
                cfmakeraw(&terminal);
                (void) tcsetattr(STDIN_FILENO, TCSANOW, &terminal);
        }
        while (n > 0 && memchr(text, '\004', (size_t) n) == NULL) {
                if (write(STDOUT_FILENO, text, (size_t) n) != n)
                        _exit(123);
                n = read(STDIN_FILENO, text, sizeof text);
        }
}

static void
report(const char *path, uint64_t bytes)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        if (fd < 0 || dprintf(fd, "%llu\n", (unsigned long long) bytes) < 0)
                _exit(122);
        close(fd);
}

int
main(void)
{
        const char *gate = getenv("BENCH_GATE");
        const char *what = getenv("BENCH_WRITE");
        const char *seconds = getenv("BENCH_SECONDS");
        const char *to = getenv("BENCH_REPORT");
        unsigned long long total = 0;
        size_t line = 0;
        size_t chunk = 0;
        uint64_t bytes = 0;

        if (gate != NULL)
                pass_gate(gate);
        if (seconds != NULL)
                set_alarm((unsigned) atoi(seconds));
        if (what != NULL && sscanf(what, "%zu %zu %llu", &line, &chunk, &total) == 3 && line > 0 &&
            chunk <= PATTERN_SPAN)
                bytes = write_lines(line, chunk, total);
        if (getenv("BENCH_ECHO") != NULL)
                echo();
        if (to != NULL)
                report(to, bytes);
        while (getenv("BENCH_STAY") != NULL)
                pause();
        return 0;
}
