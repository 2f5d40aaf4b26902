/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/output_stream.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

typedef struct {
        OutputStream stream;
        GString *got;
        bool keep_tail; /* leave an unfinished line while more data follows */
        bool pause;     /* is full after this chunk */
        bool resume;    /* was full, and has room again */
        gulong slow;    /* microseconds that it takes for each chunk */
        unsigned int calls;
        unsigned int kept;
} Reader;

static size_t
on_output(StreamId id, const char *bytes, size_t len, bool more, void *data)
{
        Reader *r = data;
        size_t take = len;
        r->calls++;
        g_usleep(r->slow);
        if (more && r->keep_tail) {
                const char *newline = memrchr(bytes, '\n', len);
                take = newline ? (size_t)(newline + 1 - bytes) : 0;
                if (len - take >= OUTPUT_KEEP_MAX)
                        take = len;
                r->kept += take < len;
        }
        g_string_append_len(r->got, bytes, (gssize)take);
        if (r->pause || r->resume)
                output_stream_pause(&r->stream, r->pause);
        return take;
}

static void
reader_init(Reader *r, int fd, bool is_terminal)
{
        *r = (Reader){.got = g_string_new(NULL)};
        output_stream_init(&r->stream, STREAM_STDOUT, on_output, r);
        output_stream_start(&r->stream, fd, is_terminal);
}

static void
reader_done(Reader *r)
{
        output_stream_done(&r->stream);
        g_string_free(r->got, TRUE);
}

static void
iterate_until(Reader *r, size_t len)
{
        gint64 end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;
        while (r->got->len < len && g_get_monotonic_time() < end)
                loop_iterate(false);
}

static void
test_pipe(void)
{
        int fds[2];
        Reader r;
        g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
        reader_init(&r, fds[0], false);
        g_assert_cmpint(fd_write_all(fds[1], "one\ntwo", 7), ==, 0);
        iterate_until(&r, 7);
        g_assert_cmpstr(r.got->str, ==, "one\ntwo");
        fd_close(&fds[1]);
        for (int i = 0; i < 10; i++)
                loop_iterate(false);
        g_assert_cmpint(r.stream.fd, ==, -1);
        reader_done(&r);
}

/* What was read is delivered in one piece, even if its last line is unfinished, unless more can be read. */
static void
test_one_piece(void)
{
        for (int drain = 0; drain < 2; drain++) {
                int fds[2];
                Reader r;
                g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
                reader_init(&r, fds[0], false);
                r.keep_tail = true;
                g_assert_cmpint(fd_write_all(fds[1], "one\ntwo", 7), ==, 0);
                if (drain)
                        output_stream_drain(&r.stream);
                else
                        iterate_until(&r, 7);
                g_assert_cmpstr(r.got->str, ==, "one\ntwo");
                g_assert_cmpuint(r.calls, ==, 1);
                fd_close(&fds[1]);
                reader_done(&r);
        }
}

/* A line that is kept because the buffer was full is delivered if the rest does not arrive. */
static void
test_kept_tail(void)
{
        int fds[2];
        Reader r;
        g_autofree char *text = g_strnfill(OUTPUT_CHUNK_MAX, 'x');
        g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
        text[OUTPUT_CHUNK_MAX - 100] = '\n';
        reader_init(&r, fds[0], false);
        r.keep_tail = true;
        g_assert_cmpint(fd_write_all(fds[1], text, OUTPUT_CHUNK_MAX), ==, 0);
        iterate_until(&r, OUTPUT_CHUNK_MAX);
        g_assert_cmpuint(r.got->len, ==, OUTPUT_CHUNK_MAX);
        g_assert_cmpuint(r.kept, ==, 1);
        fd_close(&fds[1]);
        reader_done(&r);
}

/* A log that takes long for each chunk does not keep other event sources waiting for the rest. */
static void
test_slow_log(void)
{
        int fds[2];
        Reader r;
        const size_t len = 4 * OUTPUT_CHUNK_MAX;
        g_autofree char *text = g_strnfill(len, '\n');
        g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
        g_assert_cmpint(fcntl(fds[1], F_SETPIPE_SZ, (int)len), >=, (int)len);
        reader_init(&r, fds[0], false);
        r.slow = 30 * 1000;
        g_assert_cmpint(fd_write_all(fds[1], text, len), ==, 0);
        g_assert_true(loop_iterate(false));
        g_assert_cmpuint(r.got->len, ==, OUTPUT_CHUNK_MAX);
        iterate_until(&r, len);
        g_assert_cmpuint(r.got->len, ==, len);
        fd_close(&fds[1]);
        reader_done(&r);
}

/* The rest of a paused stream is delivered once, also if delivering it ends the pause. */
static void
test_pause_ends_in_drain(void)
{
        int fds[2];
        Reader r;
        g_autofree char *text = g_strnfill(OUTPUT_CHUNK_MAX / 2, 'x');
        g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
        reader_init(&r, fds[0], false);
        r.keep_tail = r.resume = true;
        output_stream_pause(&r.stream, true);
        g_assert_cmpint(fd_write_all(fds[1], text, strlen(text)), ==, 0);
        output_stream_drain(&r.stream);
        g_assert_cmpuint(r.got->len, ==, strlen(text));
        fd_close(&fds[1]);
        reader_done(&r);
}

/* A line that is kept when the stream is paused is delivered later. */
static void
test_pause_keeps_tail(void)
{
        int fds[2];
        Reader r;
        g_autofree char *text = g_strnfill(OUTPUT_CHUNK_MAX, 'x');
        g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
        text[OUTPUT_CHUNK_MAX - 100] = '\n';
        reader_init(&r, fds[0], false);
        r.keep_tail = r.pause = true;
        g_assert_cmpint(fd_write_all(fds[1], text, OUTPUT_CHUNK_MAX), ==, 0);
        iterate_until(&r, 1);
        g_assert_cmpuint(r.got->len, ==, OUTPUT_CHUNK_MAX - 99);
        r.pause = false;
        output_stream_pause(&r.stream, false);
        g_assert_cmpuint(r.got->len, ==, OUTPUT_CHUNK_MAX - 99);
        iterate_until(&r, OUTPUT_CHUNK_MAX);
        g_assert_cmpuint(r.got->len, ==, OUTPUT_CHUNK_MAX);
        fd_close(&fds[1]);
        reader_done(&r);
}

static void
test_pause(void)
{
        int fds[2];
        Reader r;
        g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
        reader_init(&r, fds[0], false);
        output_stream_pause(&r.stream, true);
        g_assert_cmpint(fd_write_all(fds[1], "later\n", 6), ==, 0);
        g_assert_false(loop_iterate(false));
        g_assert_cmpuint(r.got->len, ==, 0);
        output_stream_pause(&r.stream, false);
        iterate_until(&r, 6);
        g_assert_cmpstr(r.got->str, ==, "later\n");

        /* The end of the container does not wait for a full receiver. */
        output_stream_pause(&r.stream, true);
        g_assert_cmpint(fd_write_all(fds[1], "last", 4), ==, 0);
        output_stream_drain(&r.stream);
        g_assert_cmpstr(r.got->str, ==, "later\nlast");
        fd_close(&fds[1]);
        reader_done(&r);
}

/* A drain reads only the data that was available when it began, even with a fast writer. */
static size_t
on_output_write_more(StreamId id, const char *bytes, size_t len, bool more, void *data)
{
        static const char line[4096];
        int *fd = data;
        g_assert_cmpint(fd_write_all(*fd, line, sizeof line), ==, 0);
        return len;
}

static void
test_drain_ends(void)
{
        int fds[2];
        OutputStream s;
        g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
        output_stream_init(&s, STREAM_STDOUT, on_output_write_more, &fds[1]);
        output_stream_start(&s, fds[0], false);
        g_assert_cmpint(fd_write_all(fds[1], "x", 1), ==, 0);
        output_stream_drain(&s);
        output_stream_done(&s);
        fd_close(&fds[1]);
}

/* Even after many small writes the next one is read at once: it may be the answer to a request. */
static void
test_small_writes(void)
{
        int fds[2];
        Reader r;
        g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
        reader_init(&r, fds[0], false);
        for (guint i = 1; i <= 2000; i++) {
                g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
                loop_iterate(false);
                g_assert_cmpuint(r.got->len, ==, i);
        }
        fd_close(&fds[1]);
        reader_done(&r);
}

static int
open_terminal(int *ret_master)
{
        *ret_master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        g_assert_cmpint(*ret_master, >=, 0);
        g_assert_cmpint(grantpt(*ret_master), ==, 0);
        g_assert_cmpint(unlockpt(*ret_master), ==, 0);
        int slave = open(ptsname(*ret_master), O_RDWR | O_NOCTTY | O_CLOEXEC);
        g_assert_cmpint(slave, >=, 0);
        return slave;
}

/* If no process has the slave open for a while, that is not the end, and causes no wake-ups. */
static void
test_terminal_hangup(void)
{
        int master;
        Reader r;
        int slave = open_terminal(&master);
        reader_init(&r, master, true);
        for (int round = 0; round < 3; round++) {
                g_string_truncate(r.got, 0);
                g_assert_cmpint(fd_write_all(slave, "hello\n", 6), ==, 0);
                iterate_until(&r, 7);
                g_assert_cmpstr(r.got->str, ==, "hello\r\n");
                fd_close(&slave);
                for (int i = 0; i < 10; i++)
                        loop_iterate(false);
                g_assert_cmpint(r.stream.fd, ==, master);
                g_assert_false(loop_iterate(false));
                slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
                g_assert_cmpint(slave, >=, 0);
        }
        fd_close(&slave);
        reader_done(&r);
}

static int epoll_error; /* the error of the replaced epoll_create1; 0: it works */
static int epoll_failures;

int
epoll_create1(int flags)
{
        if (epoll_error == 0)
                return (int)syscall(SYS_epoll_create1, flags);
        epoll_failures++;
        errno = epoll_error;
        return -1;
}

/* The watch for the next open cannot be created: a timer is used instead. */
static void
test_hangup_without_descriptors(void)
{
        int master;
        Reader r;
        int slave = open_terminal(&master);
        reader_init(&r, master, true);
        epoll_error = EMFILE;
        for (int round = 0; round < 2; round++) {
                g_string_truncate(r.got, 0);
                fd_close(&slave);
                for (int i = 0; i < 10; i++)
                        loop_iterate(false);
                g_assert_false(loop_iterate(false));
                g_assert_cmpint(epoll_failures, ==, round + 1);
                slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
                g_assert_cmpint(fd_write_all(slave, "again\n", 6), ==, 0);
                iterate_until(&r, 7);
                g_assert_cmpstr(r.got->str, ==, "again\r\n");
        }
        epoll_error = 0;
        fd_close(&slave);
        reader_done(&r);
}

/* A stream whose bytes encode their position, delivered to a function that keeps bytes and pauses at
 * random. */
typedef struct {
        OutputStream stream;
        GRand *rand;
        size_t written, taken;
} Random;

static char
byte_at(size_t i)
{
        return (char)('a' + (i + i / 26 + i / 4096) % 26);
}

static size_t
on_output_random(StreamId id, const char *bytes, size_t len, bool more, void *data)
{
        Random *r = data;
        for (size_t i = 0; i < len; i++)
                g_assert_cmpint(bytes[i], ==, byte_at(r->taken + i));
        g_assert_cmpuint(r->taken + len, <=, r->written);
        size_t kept =
                more && g_rand_boolean(r->rand) ? (size_t)g_rand_int_range(r->rand, 0, OUTPUT_KEEP_MAX) : 0;
        len -= MIN(len, kept);
        r->taken += len;
        for (int n = g_rand_int_range(r->rand, 0, 3); n > 0; n--)
                output_stream_pause(&r->stream, g_rand_boolean(r->rand));
        return len;
}

static void
write_random(Random *r, int fd)
{
        static const int most[] = {2, 100, 5000, 70000};
        char text[70000];
        size_t len = (size_t)g_rand_int_range(r->rand, 1, most[g_rand_int_range(r->rand, 0, 4)]);
        for (size_t i = 0; i < len; i++)
                text[i] = byte_at(r->written + i);
        ssize_t n = write(fd, text, len);
        r->written += n > 0 ? (size_t)n : 0;
}

static void
iterate_random(Random *r)
{
        gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
        while (r->taken < r->written && g_get_monotonic_time() < end) {
                output_stream_pause(&r->stream, false);
                loop_iterate(false);
        }
        g_assert_cmpuint(r->taken, ==, r->written);
}

static int
open_raw_terminal(int *ret_master)
{
        struct termios t;
        int slave = open_terminal(ret_master);
        g_assert_cmpint(tcgetattr(slave, &t), ==, 0);
        cfmakeraw(&t);
        g_assert_cmpint(tcsetattr(slave, TCSANOW, &t), ==, 0);
        return slave;
}

/* For a while no process has the terminal open. */
static void
reopen_slave(Random *r, int *slave, int master)
{
        fd_close(slave);
        for (int n = g_rand_int_range(r->rand, 0, 4); n > 0; n--)
                loop_iterate(false);
        *slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        g_assert_cmpint(*slave, >=, 0);
}

static void
run_random(guint32 seed)
{
        int ends[2];
        bool terminal = seed % 2;
        Random r = {.rand = g_rand_new_with_seed(seed)};
        if (terminal)
                ends[1] = open_raw_terminal(&ends[0]);
        else
                g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        g_assert_cmpint(fd_set_nonblock(ends[1], true), ==, 0);
        output_stream_init(&r.stream, STREAM_STDOUT, on_output_random, &r);
        output_stream_start(&r.stream, ends[0], terminal);
        for (int i = 0; i < 300; i++) {
                int what = g_rand_int_range(r.rand, 0, 100);
                if (what < 50)
                        write_random(&r, ends[1]);
                else if (what < 75)
                        loop_iterate(false);
                else if (what < 90)
                        output_stream_pause(&r.stream, g_rand_boolean(r.rand));
                else if (what < 95)
                        output_stream_drain(&r.stream);
                else if (what < 97)
                        iterate_random(&r);
                else if (terminal)
                        reopen_slave(&r, &ends[1], ends[0]);
        }
        output_stream_drain(&r.stream);
        g_assert_cmpuint(r.taken, ==, r.written);
        fd_close(&ends[1]);
        output_stream_done(&r.stream);
        g_rand_free(r.rand);
}

/* Random operations: each byte is delivered once and in order. */
static void
test_random(void)
{
        for (guint32 seed = 1; seed <= 40; seed++)
                run_random(seed);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/output-stream/pipe", test_pipe);
        g_test_add_func("/output-stream/one-piece", test_one_piece);
        g_test_add_func("/output-stream/kept-tail", test_kept_tail);
        g_test_add_func("/output-stream/slow-log", test_slow_log);
        g_test_add_func("/output-stream/pause", test_pause);
        g_test_add_func("/output-stream/pause-ends-in-drain", test_pause_ends_in_drain);
        g_test_add_func("/output-stream/pause-keeps-tail", test_pause_keeps_tail);
        g_test_add_func("/output-stream/drain-ends", test_drain_ends);
        g_test_add_func("/output-stream/small-writes", test_small_writes);
        g_test_add_func("/output-stream/terminal-hangup", test_terminal_hangup);
        g_test_add_func("/output-stream/hangup-without-descriptors", test_hangup_without_descriptors);
        g_test_add_func("/output-stream/random", test_random);
        return g_test_run();
}
