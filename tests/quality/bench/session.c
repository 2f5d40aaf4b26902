/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Acts as podman, once or several times, and prints the costs of each run as a line of JSON. Times are in
 * microseconds.
 *
 *     bench-session [OPTION…] -- MONITOR [ARGUMENT…]
 *
 *     --pid-file FILE    the file with the monitor's pid (--conmon-pidfile)
 *     --gate FIFO        opened when the clients are connected, so that the container starts to write
 *     --attach SOCKET --clients N --line N
 *                        N clients that read as fast as they can, connected before the gate
 *     --stalled MSEC     a client that never reads, connected this long after the gate
 *     --echo N --size BYTES
 *                        N requests to a container that echoes them
 *     --kill MSEC        the container is killed this long after its pid was reported
 *     --sink ADDRESS     a receiver of log messages (sink.h)
 *     --exec             the exit code is read from the sync pipe at the end
 *     --bare             the program is not a monitor: no sync pipe, no launcher
 *     --repeat N
 *
 * Processor time is that of the launcher and of the monitor only, from the scheduler (/proc/PID/schedstat,
 * read between exit and reaping), without the runtime and the container. `cpu_all` is from getrusage, with
 * all processes that the monitor reaped. */

#include "client.h"
#include "echo.h"
#include "now.h"
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYNC_FD 3
#define START_FD 4
#define LIMIT_SECONDS 120
#define ACCEPT_MS 20

extern char **environ;

typedef struct Options {
        const char *pid_file;
        const char *gate;
        const char *attach;
        const char *sink;
        size_t clients;
        size_t line;
        int stalled_ms;
        size_t echo;
        size_t size;
        int kill_ms;
        int repeat;
        bool exec;
        bool bare;
        char **argv;
} Options;

typedef struct Session {
        const Options *options;
        pid_t launcher;
        pid_t monitor;
        pid_t container;
        int sync_fd;
        int container_fd;
        int monitor_fd;
        double t_fork, t_pid, t_launched, t_go, t_code, t_container, t_monitor;
        double cpu_launcher, cpu_monitor, cpu_all;
        int status;
        Clients clients;
        Clients stalled;
        ClientResult taken;
        Sink sink;
        SinkResult received;
        EchoResult echoed;
} Session;

static pid_t last_container;

static void __attribute__((noreturn))
fail(const char *what)
{
        (void) fprintf(stderr, "bench-session: %s: %s\n", what, strerror(errno));
        if (last_container > 0)
                (void) kill(last_container, SIGKILL);
        exit(1);
}

static void
on_alarm(int signo)
{
        static const char text[] = "bench-session: timeout\n";

        (void) !write(STDERR_FILENO, text, sizeof text - 1);
        if (last_container > 0)
                (void) kill(last_container, SIGKILL);
        _exit(1);
}

static void
sleep_ms(int ms)
{
        struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

        (void) nanosleep(&ts, NULL);
}

/* Other descriptors must not have these numbers, which spawn assigns. */
static int
above(int fd)
{
        int moved = fcntl(fd, F_DUPFD_CLOEXEC, 10);

        if (moved < 0)
                fail("descriptor");
        close(fd);
        return moved;
}

/* The byte is written to the start pipe in advance, so that the monitor does not wait. */
static void
spawn_launcher(Session *s)
{
        posix_spawn_file_actions_t actions;
        int sync[2];
        int start[2];
        int error;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0 || pipe2(start, O_CLOEXEC) < 0 ||
            write(start[1], "", 1) != 1)
                fail("pipe");
        for (int i = 0; i < 2; i++) {
                sync[i] = above(sync[i]);
                start[i] = above(start[i]);
        }
        (void) posix_spawn_file_actions_init(&actions);
        (void) posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
        (void) posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
        (void) posix_spawn_file_actions_adddup2(&actions, sync[1], SYNC_FD);
        (void) posix_spawn_file_actions_adddup2(&actions, start[0], START_FD);
        s->t_fork = now_us();
        error = posix_spawn(&s->launcher, s->options->argv[0], &actions, NULL, s->options->argv, environ);
        if (error != 0) {
                errno = error;
                fail(s->options->argv[0]);
        }
        (void) posix_spawn_file_actions_destroy(&actions);
        close(sync[1]);
        close(start[0]);
        close(start[1]);
        s->sync_fd = sync[0];
}

/* {"data": N} */
static int
read_number(int fd)
{
        char text[4096];
        ssize_t n = read(fd, text, sizeof text - 1);
        char *colon;

        if (n <= 0)
                fail("no message on the sync pipe");
        text[n] = '\0';
        colon = strchr(text, ':');
        if (colon == NULL || strstr(text, "\"message\"") != NULL) {
                (void) fprintf(stderr, "bench-session: message of the monitor: %s", text);
                fail("start");
        }
        return atoi(colon + 1);
}

static double
cpu_of_ended(pid_t pid)
{
        char path[64];
        unsigned long long ns = 0;
        siginfo_t info;
        FILE *f;

        if (waitid(P_PID, (id_t) pid, &info, WEXITED | WNOWAIT) < 0)
                fail("waitid");
        (void) snprintf(path, sizeof path, "/proc/%d/schedstat", (int) pid);
        f = fopen(path, "re");
        if (f == NULL || fscanf(f, "%llu", &ns) != 1)
                fail(path);
        (void) fclose(f);
        return (double) ns / 1e3;
}

static void
reap(Session *s, pid_t pid)
{
        struct rusage usage;

        if (wait4(pid, &s->status, 0, &usage) < 0)
                fail("wait4");
        s->cpu_all += (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                      (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static pid_t
read_pid(const char *path)
{
        int pid = 0;
        FILE *f = path != NULL ? fopen(path, "re") : NULL;

        if (f == NULL || fscanf(f, "%d", &pid) != 1)
                fail("pid file of the monitor");
        (void) fclose(f);
        return pid;
}

static int
pidfd_of(pid_t pid)
{
        return (int) syscall(SYS_pidfd_open, pid, 0);
}

static void
start(Session *s)
{
        if (s->options->sink != NULL)
                sink_start(&s->sink, s->options->sink);
        spawn_launcher(s);
        if (s->options->bare) {
                s->monitor = s->launcher;
        } else {
                s->container = last_container = read_number(s->sync_fd);
                s->t_pid = now_us();
                s->container_fd = pidfd_of(s->container);
                s->cpu_launcher = cpu_of_ended(s->launcher);
                s->t_launched = now_us();
                reap(s, s->launcher);
                s->monitor = read_pid(s->options->pid_file);
        }
        s->monitor_fd = pidfd_of(s->monitor);
        if (s->monitor_fd < 0)
                fail("the monitor has already exited");
}

static void
go(Session *s)
{
        const Options *o = s->options;
        int gate;
        int client = -1;

        if (o->echo > 0) {
                client = echo_connect(o->attach);
                sleep_ms(ACCEPT_MS);
        }
        if (o->clients > 0) {
                clients_start(&s->clients, o->attach, o->clients, o->line);
                /* the reference loses output written before it has accepted all clients */
                sleep_ms(ACCEPT_MS);
        }
        if (o->gate != NULL) {
                gate = open(o->gate, O_WRONLY | O_CLOEXEC);
                if (gate < 0)
                        fail(o->gate);
                close(gate);
        }
        s->t_go = now_us();
        if (client >= 0)
                echo_run(client, o->echo, o->size, &s->echoed);
        if (o->stalled_ms > 0) {
                sleep_ms(o->stalled_ms);
                clients_start_stalled(&s->stalled, o->attach);
        }
        if (o->kill_ms > 0) {
                sleep_ms(o->kill_ms);
                (void) kill(s->container, SIGKILL);
        }
}

/* If the pid file is read after the container's end, there is no time for the end. */
static void
watch_end(Session *s)
{
        struct pollfd polls[2] = { { .fd = s->container_fd, .events = POLLIN },
                                   { .fd = s->monitor_fd, .events = POLLIN } };

        while (s->t_monitor == 0) {
                if (poll(polls, 2, -1) < 0)
                        fail("poll");
                if (polls[0].revents != 0) {
                        s->t_container = now_us();
                        polls[0].fd = -1;
                        if (s->stalled.pid > 0)
                                clients_kill(&s->stalled);
                }
                if (polls[1].revents != 0)
                        s->t_monitor = now_us();
        }
}

static void
finish(Session *s)
{
        if (s->options->exec) {
                (void) read_number(s->sync_fd);
                s->t_code = now_us();
        }
        watch_end(s);
        s->cpu_monitor = cpu_of_ended(s->monitor);
        reap(s, s->monitor);
        if (s->options->clients > 0)
                clients_finish(&s->clients, &s->taken);
        if (s->options->sink != NULL)
                sink_finish(&s->sink, &s->received);
        last_container = 0;
        close(s->sync_fd);
        close(s->monitor_fd);
        if (s->container_fd >= 0)
                close(s->container_fd);
}

static void
print(const Session *s)
{
        (void) printf("{\"start\": %.1f, \"launcher\": %.1f, \"run\": %.1f, \"end\": %.1f, \"exec\": %.1f, "
                      "\"whole\": %.1f, ",
                      s->t_pid - s->t_fork, s->t_launched - s->t_fork, s->t_monitor - s->t_go,
                      s->t_container > 0 ? s->t_monitor - s->t_container : -1,
                      s->t_code > 0 ? s->t_code - s->t_fork : -1, s->t_monitor - s->t_fork);
        (void) printf("\"cpu_launcher\": %.1f, \"cpu_monitor\": %.1f, \"cpu_all\": %.1f, \"status\": %d, "
                      "\"client_bytes\": %llu, \"client_wrong\": %llu, \"echo_p50\": %.2f, "
                      "\"echo_p99\": %.2f, ",
                      s->cpu_launcher, s->cpu_monitor, s->cpu_all, s->status,
                      (unsigned long long) s->taken.bytes, (unsigned long long) s->taken.wrong,
                      s->echoed.p50, s->echoed.p99);
        (void) printf("\"sink_bytes\": %llu, \"sink_messages\": %llu, \"sink_payload\": %llu}\n",
                      (unsigned long long) s->received.bytes, (unsigned long long) s->received.messages,
                      (unsigned long long) s->received.payload);
        (void) fflush(stdout);
}

static void
parse(Options *o, int argc, char **argv)
{
        static const struct option longs[] = {
                { "pid-file", 1, NULL, 'p' }, { "gate", 1, NULL, 'g' },   { "attach", 1, NULL, 'a' },
                { "clients", 1, NULL, 'c' },  { "line", 1, NULL, 'l' },   { "stalled", 1, NULL, 'd' },
                { "kill", 1, NULL, 'k' },     { "repeat", 1, NULL, 'r' }, { "exec", 0, NULL, 'e' },
                { "bare", 0, NULL, 'b' },     { "sink", 1, NULL, 's' },   { "echo", 1, NULL, 'E' },
                { "size", 1, NULL, 'S' },     { NULL, 0, NULL, 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "+", longs, NULL)) != -1) {
                switch (c) {
                case 'p': o->pid_file = optarg; break;
                case 'g': o->gate = optarg; break;
                case 'a': o->attach = optarg; break;
                case 'c': o->clients = (size_t) atoi(optarg); break;
                case 'l': o->line = (size_t) atoi(optarg); break;
                case 'd': o->stalled_ms = atoi(optarg); break;
                case 'k': o->kill_ms = atoi(optarg); break;
                case 'r': o->repeat = atoi(optarg); break;
                case 's': o->sink = optarg; break;
                case 'E': o->echo = (size_t) atoi(optarg); break;
                case 'S': o->size = (size_t) atoi(optarg); break;
                case 'e': o->exec = true; break;
                case 'b': o->bare = true; break;
                default: exit(2);
                }
        }
        o->argv = argv + optind;
        if (o->argv[0] == NULL)
                exit(2);
}

int
main(int argc, char **argv)
{
        Options options = { .repeat = 1 };

        parse(&options, argc, argv);
        (void) signal(SIGALRM, on_alarm);
        (void) signal(SIGPIPE, SIG_IGN);
        (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
        (void) setenv("_OCI_SYNCPIPE", "3", 1);
        (void) setenv("_OCI_STARTPIPE", "4", 1);
        for (int i = 0; i < options.repeat; i++) {
                Session s = { .options = &options, .container_fd = -1, .t_container = 0 };

                (void) alarm(LIMIT_SECONDS);
                start(&s);
                go(&s);
                finish(&s);
                print(&s);
        }
        return 0;
}
