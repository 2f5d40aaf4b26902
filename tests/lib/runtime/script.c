/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "script.h"
#include "dump.h"
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

extern char **fake_argv;

#define CHUNK (64 * 1024)

void
script_fail(const char *what, const char *detail)
{
        char text[512];
        int len = snprintf(text, sizeof text, "fake-runtime: %s %s\n", what, detail);
        (void)!write(2, text, len < (int)sizeof text ? (size_t)len : sizeof text - 1);
        _exit(98);
}

static void
write_all(int fd, const char *data, size_t len)
{
        while (len > 0) {
                ssize_t n = write(fd, data, len);
                if (n < 0 && errno == EAGAIN)
                        (void)poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
                else if (n < 0 && errno != EINTR)
                        _exit(96);
                if (n > 0) {
                        data += n;
                        len -= (size_t)n;
                }
        }
}

static void
sleep_ms(long ms)
{
        struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
        while (nanosleep(&left, &left) < 0 && errno == EINTR)
                ;
}

static char
unescape_one(const char **at)
{
        char hex[3] = {0};
        char c = *(*at)++;
        switch (c) {
        case 'n':
                return '\n';
        case 'r':
                return '\r';
        case 't':
                return '\t';
        case '0':
                return '\0';
        case 'x':
                hex[0] = *(*at)++;
                hex[1] = *(*at)++;
                return (char)strtol(hex, NULL, 16);
        default:
                return c;
        }
}

static void
put_text(int fd, const char *text)
{
        char *out = malloc(strlen(text) + 1);
        size_t len = 0;
        while (out != NULL && *text != '\0') {
                if (*text == '\\' && text[1] != '\0') {
                        text++;
                        out[len++] = unescape_one(&text);
                } else {
                        out[len++] = *text++;
                }
        }
        write_all(fd, out, len);
        free(out);
}

static void
do_print(const char *arg, struct runtime *runtime)
{
        put_text(1, arg);
}

static void
do_eprint(const char *arg, struct runtime *runtime)
{
        put_text(2, arg);
}

/* Lines begin at multiples of the line length; the chunk need not be one. */
static void
do_fill(const char *arg, struct runtime *runtime)
{
        static char lines[CHUNK * 2];
        int fd = 1;
        unsigned long long left = 0;
        size_t length = 0, at = 0;
        if (sscanf(arg, "%d %llu %zu", &fd, &left, &length) < 2 || length > CHUNK)
                script_fail("bad argument of fill:", arg);
        memset(lines, 'x', sizeof lines);
        for (size_t i = length; length > 0 && i <= sizeof lines; i += length)
                lines[i - 1] = '\n';
        while (left > 0) {
                size_t n = left < CHUNK ? (size_t)left : CHUNK;
                write_all(fd, lines + at, n);
                left -= n;
                at = length > 0 ? (at + n) % length : 0;
        }
}

static void
do_copy(const char *arg, struct runtime *runtime)
{
        static char buf[CHUNK];
        char path[4096];
        int fd = 1;
        long at = 0, left = 0, ms = 0;
        size_t chunk = CHUNK;
        if (sscanf(arg, "%d %4095s %ld %ld %zu %ld", &fd, path, &at, &left, &chunk, &ms) < 4 || chunk > CHUNK)
                script_fail("bad argument of copy:", arg);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        while (left > 0) {
                ssize_t n = pread(file, buf, left < (long)chunk ? (size_t)left : chunk, at);
                if (n <= 0)
                        script_fail("cannot read", path);
                write_all(fd, buf, (size_t)n);
                at += n;
                left -= n;
                if (ms > 0 && left > 0)
                        sleep_ms(ms);
        }
        close(file);
}

static ssize_t
read_some(char *buf, size_t size)
{
        ssize_t n;
        while ((n = read(0, buf, size)) < 0 && (errno == EINTR || errno == EAGAIN)) {
                if (errno == EAGAIN)
                        (void)poll(&(struct pollfd){.events = POLLIN}, 1, -1);
        }
        return n;
}

static void
do_cat(const char *arg, struct runtime *runtime)
{
        static char buf[CHUNK];
        ssize_t n;
        while ((n = read_some(buf, sizeof buf)) > 0)
                write_all(1, buf, (size_t)n);
}

static void
do_discard(const char *arg, struct runtime *runtime)
{
        static char buf[CHUNK];
        unsigned long long left = *arg != '\0' ? strtoull(arg, NULL, 10) : ~0ULL;
        while (left > 0) {
                ssize_t n = read_some(buf, left < sizeof buf ? (size_t)left : sizeof buf);
                if (n <= 0)
                        return;
                left -= (unsigned long long)n;
        }
}

static void
do_dump(const char *arg, struct runtime *runtime)
{
        dump_write(arg, fake_argv);
}

static void
do_touch(const char *arg, struct runtime *runtime)
{
        int fd = open(arg, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
                script_fail("cannot create", arg);
        close(fd);
}

static void
do_append(const char *arg, struct runtime *runtime)
{
        char path[4096];
        const char *text = strchr(arg, ' ');
        snprintf(path, sizeof path, "%.*s", text != NULL ? (int)(text - arg) : (int)strlen(arg), arg);
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (fd < 0)
                script_fail("cannot append to", path);
        put_text(fd, text != NULL ? text + 1 : "");
        close(fd);
}

static void
do_wait(const char *arg, struct runtime *runtime)
{
        while (access(arg, F_OK) < 0)
                sleep_ms(2);
}

static void
do_sleep(const char *arg, struct runtime *runtime)
{
        sleep_ms(atol(arg));
}

static void
do_pause(const char *arg, struct runtime *runtime)
{
        for (;;)
                (void)pause();
}

static void
do_exit(const char *arg, struct runtime *runtime)
{
        _exit(atoi(arg));
}

static void
do_die(const char *arg, struct runtime *runtime)
{
        int number = atoi(arg);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, number);
        (void)signal(number, SIG_DFL);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
        (void)kill(getpid(), number);
        do_pause("", NULL);
}

static void
do_ignore(const char *arg, struct runtime *runtime)
{
        (void)signal(atoi(arg), SIG_IGN);
}

static void
do_close(const char *arg, struct runtime *runtime)
{
        close(atoi(arg));
}

static void
do_nonblock(const char *arg, struct runtime *runtime)
{
        int fd = atoi(arg);
        (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void
do_reopen(const char *arg, struct runtime *runtime)
{
        char path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", atoi(arg));
        int fd = open(path, O_WRONLY);
        if (fd < 0)
                script_fail("cannot reopen", strerror(errno));
        dup2(fd, atoi(arg));
        close(fd);
}

static void
do_user(const char *arg, struct runtime *runtime)
{
        uid_t uid = (uid_t)atoi(arg);
        if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                script_fail("cannot become user", arg);
}

static void
do_fork(const char *arg, struct runtime *runtime)
{
        pid_t pid = fork();
        if (pid < 0)
                script_fail("cannot fork", strerror(errno));
        if (pid > 0)
                return;
        script_command(arg, runtime);
        _exit(0);
}

static void
do_session(const char *arg, struct runtime *runtime)
{
        (void)setsid();
}

static void
do_winsize(const char *arg, struct runtime *runtime)
{
        struct winsize size = {0};
        char text[64];
        (void)ioctl(0, TIOCGWINSZ, &size);
        snprintf(text, sizeof text, "%ux%u\n", size.ws_row, size.ws_col);
        write_all(1, text, strlen(text));
}

static void
do_winch(const char *arg, struct runtime *runtime)
{
        sigset_t set;
        int number;
        sigemptyset(&set);
        sigaddset(&set, SIGWINCH);
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
        do_winsize(arg, runtime);
        while (sigwait(&set, &number) == 0)
                do_winsize(arg, runtime);
}

static void
do_raw(const char *arg, struct runtime *runtime)
{
        struct termios settings;
        if (tcgetattr(0, &settings) < 0)
                script_fail("standard input is no terminal", "");
        cfmakeraw(&settings);
        (void)tcsetattr(0, TCSANOW, &settings);
}

static void
do_obey(const char *arg, struct runtime *runtime)
{
        FILE *lines = fopen(arg, "re");
        char *line = NULL;
        size_t size = 0;
        ssize_t n;
        if (lines == NULL)
                script_fail("cannot open", arg);
        while ((n = getline(&line, &size, lines)) > 0) {
                line[n - 1] = '\0';
                script_command(line, runtime);
        }
        free(line);
        (void)fclose(lines);
}

static void
do_sh(const char *arg, struct runtime *runtime)
{
        execl("/bin/sh", "sh", "-c", arg, NULL);
        script_fail("cannot execute", "/bin/sh");
}

static void
do_console(const char *arg, struct runtime *runtime)
{
        runtime_console(runtime, arg);
}

static void
do_container(const char *arg, struct runtime *runtime)
{
        runtime_container(runtime, arg);
}

static void
do_pidfile(const char *arg, struct runtime *runtime)
{
        runtime_pidfile(runtime, NULL);
}

static void
do_rawpid(const char *arg, struct runtime *runtime)
{
        runtime_pidfile(runtime, arg);
}

static const struct {
        const char *verb;
        void (*run)(const char *arg, struct runtime *runtime);
        int runtime_only;
} verbs[] = {
        {"append", do_append, 0},       {"cat", do_cat, 0},
        {"close", do_close, 0},         {"console", do_console, 1},
        {"container", do_container, 1}, {"copy", do_copy, 0},
        {"die", do_die, 0},             {"discard", do_discard, 0},
        {"dump", do_dump, 0},           {"eprint", do_eprint, 0},
        {"exit", do_exit, 0},           {"fill", do_fill, 0},
        {"fork", do_fork, 0},           {"ignore", do_ignore, 0},
        {"nonblock", do_nonblock, 0},   {"obey", do_obey, 0},
        {"pause", do_pause, 0},         {"pidfile", do_pidfile, 1},
        {"print", do_print, 0},         {"raw", do_raw, 0},
        {"rawpid", do_rawpid, 1},       {"reopen", do_reopen, 0},
        {"session", do_session, 0},     {"sh", do_sh, 0},
        {"sleep", do_sleep, 0},         {"touch", do_touch, 0},
        {"user", do_user, 0},           {"wait", do_wait, 0},
        {"winch", do_winch, 0},         {"winsize", do_winsize, 0},
};

void
script_command(const char *line, struct runtime *runtime)
{
        size_t len = strcspn(line, " ");
        const char *arg = line[len] == ' ' ? line + len + 1 : line + len;
        if (*line == '\0')
                return;
        for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
                if (strlen(verbs[i].verb) != len || strncmp(verbs[i].verb, line, len) != 0)
                        continue;
                if (verbs[i].runtime_only && runtime == NULL)
                        break;
                verbs[i].run(arg, runtime);
                return;
        }
        script_fail("unknown command:", line);
}

void
script_run(const char *script, struct runtime *runtime)
{
        while (*script != '\0') {
                size_t len = strcspn(script, "\n");
                char *line = strndup(script, len);
                if (line == NULL)
                        script_fail("out of memory", "");
                script_command(line, runtime);
                free(line);
                script += len + (script[len] == '\n');
        }
        _exit(0);
}
