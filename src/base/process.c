/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/process.h"

#include "base/fd.h"
#include "base/rights.h"
#include "base/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCORE_FILE "/proc/self/oom_score_adj"

/* Everything that the child needs, computed before it is started. */
typedef struct {
        const ProcessSpec *spec;
        pid_t parent;
        int null;       /* /dev/null */
        char score[16]; /* empty: unchanged */
        int error;      /* set by the child while it shares the monitor's memory */
} Job;

/* The text of a field of /proc/PID/stat (proc(5)), with the blank before it; NULL if it can't be read. The
 * caller frees *ret_stat. */
static const char *
find_stat(pid_t pid, int number, char **ret_stat)
{
        char path[32];
        (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        if (fd_read_file(path, 4096, ret_stat, NULL) < 0)
                return NULL;
        const char *at = strrchr(*ret_stat, ')'); /* the end of field 2, the name */
        for (int field = 2; at && field < number; field++)
                at = strchr(at + 1, ' ');
        return at;
}

uint64_t
process_started(pid_t pid)
{
        g_autofree char *stat = NULL;
        const char *at = find_stat(pid, 22, &stat);
        return at ? g_ascii_strtoull(at, NULL, 10) : 0;
}

/* ---- in the child, which may share the monitor's memory: only system calls and its own stack ---- */

static void
set_score(const char *score)
{
        if (!*score)
                return;
        autofd int fd = open(SCORE_FILE, O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
                (void)!write(fd, score, strlen(score)); /* the kernel parses each write as a whole */
}

/* Ignored signals stay ignored in a program that is executed. */
static void
reset_signals(const ProcessSpec *spec)
{
        static const int ours[] = {SIGPIPE, SIGXFSZ};
        static const int callers[] = {SIGTERM, SIGHUP,  SIGINT,  SIGQUIT, SIGALRM, SIGUSR1, SIGUSR2, SIGCHLD,
                                      SIGTSTP, SIGTTIN, SIGTTOU, SIGXCPU, SIGIO,   SIGURG,  SIGWINCH};
        sigset_t none;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
                (void)signal(ours[i], SIG_DFL);
        for (size_t i = 0; !spec->mask && i < sizeof callers / sizeof *callers; i++)
                (void)signal(callers[i], SIG_DFL);
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, spec->mask ? spec->mask : &none, NULL);
}

/* Moves descriptors to their numbers, each of which may be in use by another one. */
static int
place_descriptors(const Job *job)
{
        const ProcessSpec *spec = job->spec;
        int from[PROCESS_FIRST_FD + PROCESS_FDS_MAX];
        int n = PROCESS_FIRST_FD + (int)spec->n_fds;
        for (int i = 0; i < n; i++) {
                from[i] = i < PROCESS_FIRST_FD ? spec->stdio[i] : spec->fds[i - PROCESS_FIRST_FD];
                if (i < PROCESS_FIRST_FD && from[i] == PROCESS_STDIO_NULL)
                        from[i] = job->null;
                if (from[i] >= PROCESS_FIRST_FD && from[i] < n &&
                    (from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, n)) < 0)
                        return -errno;
        }
        for (int i = 0; i < n; i++)
                if (from[i] >= 0 && dup2(from[i], i) < 0)
                        return -errno;
        if (!spec->inherit_fds)
                fd_close_range((unsigned)n, ~0U);
        return 0;
}

/* Returns 0 or -errno. */
static int
set_up(const Job *job)
{
        const ProcessSpec *spec = job->spec;
        if (spec->own_session)
                (void)setsid();
        else if (spec->own_group)
                (void)setpgid(0, 0);
        int r = place_descriptors(job);
        if (r < 0)
                return r;
        if (spec->dies_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
                return -errno;
        if (spec->dies_with_parent && getppid() != job->parent)
                return -ESRCH; /* the monitor died before prctl */
        if (spec->directory)
                (void)!chdir(spec->directory);
        set_score(job->score);
        reset_signals(spec);
        if (spec->confined)
                rights_give_up(spec->rights);
        return 0;
}

G_GNUC_NORETURN static void
run_program(Job *job)
{
        const ProcessSpec *spec = job->spec;
        int r = set_up(job);
        if (r == 0) {
                if (spec->pid_text)
                        (void)snprintf(spec->pid_text, sizeof "2147483647", "%d", getpid());
                (void)execve(spec->argv[0], spec->argv, spec->environment ? spec->environment : environ);
                r = -errno;
        }
        job->error = -r;
        _exit(PROCESS_STATUS_NOT_STARTED);
}

/* ---- in the child that runs a function, a copy of the monitor ---- */

/* Overwrites the command line in memory, at fields 48 and 49 of /proc/PID/stat (proc(5)). */
static void
set_command_line(const char *name)
{
        g_autofree char *stat = NULL;
        unsigned long start = 0, end = 0;
        const char *at = find_stat(getpid(), 48, &stat);
        if (!at || sscanf(at, "%lu %lu", &start, &end) != 2 || end <= start)
                return;
        memset((void *)start, 0, end - start);
        (void)g_strlcpy((char *)start, name, end - start);
}

G_GNUC_NORETURN static void
run_function(const Job *job)
{
        const ProcessSpec *spec = job->spec;
        loop_close(); /* the loop is the monitor's */
        if (set_up(job) < 0)
                _exit(PROCESS_STATUS_NOT_STARTED);
        /* Not in set_up: until a program is executed, it shares its memory, and this property, with the
         * monitor. */
        if (spec->confined)
                (void)prctl(PR_SET_DUMPABLE, 0);
        if (spec->name) {
                (void)prctl(PR_SET_NAME, spec->name);
                set_command_line(spec->name);
        }
        sandbox_enter(spec->sandbox);
        _exit(spec->run(spec->arg));
}

/* ---- in the monitor ---- */

static pid_t
start_function(Job *job)
{
        pid_t pid = fork();
        if (pid == 0 && job->spec->detached) {
                job->parent = getpid();
                if (fork() == 0)
                        run_function(job);
                _exit(0);
        }
        if (pid == 0)
                run_function(job);
        int error = errno;
        if (pid > 0 && job->spec->detached)
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        continue;
        return pid < 0 ? -error : pid;
}

/* Not inlined: no variable of the caller may be in a register across vfork(2). */
__attribute__((noinline)) static pid_t
start_program(Job *job, bool wait)
{
        pid_t pid = wait ? vfork() : fork();
        if (pid == 0)
                run_program(job);
        return pid < 0 ? -errno : pid;
}

/* Children don't inherit the monitor's protection from the OOM killer. */
static void
choose_score(Job *job)
{
        if (job->spec->oom_score) {
                (void)g_strlcpy(job->score, job->spec->oom_score, sizeof job->score);
                return;
        }
        g_autofree char *own = NULL;
        if (fd_read_file(SCORE_FILE, sizeof job->score, &own, NULL) == 0 && atoi(own) < 0)
                (void)strcpy(job->score, "0");
}

static bool
needs_null(const ProcessSpec *spec)
{
        return spec->stdio[0] == PROCESS_STDIO_NULL || spec->stdio[1] == PROCESS_STDIO_NULL ||
               spec->stdio[2] == PROCESS_STDIO_NULL;
}

pid_t
process_start(const ProcessSpec *spec, int *ret_error)
{
        Job job = {.spec = spec, .parent = getpid()};
        autofd int null = -1;
        if (needs_null(spec) && (null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
                return -errno;
        job.null = null;
        choose_score(&job);
        pid_t pid = spec->argv ? start_program(&job, ret_error != NULL) : start_function(&job);
        /* Also in the parent, so that the group exists before a signal is sent to it. */
        if (pid > 0 && spec->own_group)
                (void)setpgid(pid, pid);
        if (ret_error)
                *ret_error = job.error;
        return pid;
}
