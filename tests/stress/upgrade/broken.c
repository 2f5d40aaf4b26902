/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* A broken upgrade: behaves like the program whose path is in the file NAME-real until it is executed to take
 * over; then it does what the file NAME-how says. NAME is its own path. */

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The path of the test's file, even if another file has replaced it. */
static void
read_file(const char *suffix, char *text, size_t size)
{
        char path[PATH_MAX] = "";
        ssize_t len = readlink("/proc/self/exe", path, sizeof path - 32);
        if (len < 0)
                _exit(90);
        path[len] = '\0';
        char *deleted = strstr(path, " (deleted)");
        if (deleted)
                *deleted = '\0';
        strcat(path, suffix);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        len = read(fd, text, size - 1);
        close(fd);
        text[len < 0 ? 0 : len] = '\0';
}

/* The guard is the child that has the same command line. */
static void
kill_guard(void)
{
        char path[64], own[8192] = "", other[8192] = "";
        int child;
        (void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
        FILE *list = fopen(path, "re");
        int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
        ssize_t len = read(fd, own, sizeof own);
        close(fd);
        while (list && fscanf(list, "%d", &child) == 1) {
                (void)snprintf(path, sizeof path, "/proc/%d/cmdline", child);
                fd = open(path, O_RDONLY | O_CLOEXEC);
                if (len > 0 && read(fd, other, sizeof other) == len && memcmp(own, other, (size_t)len) == 0)
                        kill(child, SIGKILL);
                close(fd);
        }
        if (list)
                fclose(list);
}

int
main(int argc, char **argv)
{
        char how[32], real[PATH_MAX];
        read_file("-how", how, sizeof how);
        read_file("-real", real, sizeof real);
        if (argc == 3 && strcmp(argv[1], "--check-state") == 0) {
                if (strcmp(how, "hang in check") == 0)
                        pause();
                if (strcmp(how, "stop in check") == 0)
                        kill(getpid(), SIGSTOP);
                execv(real, argv);
                _exit(91);
        }
        if (strcmp(how, "exit") == 0)
                _exit(0);
        if (strcmp(how, "crash") == 0)
                abort();
        if (strcmp(how, "kill") == 0)
                kill(getpid(), SIGKILL);
        if (strcmp(how, "hang") == 0)
                pause();
        if (strcmp(how, "close all") == 0) {
                (void)syscall(__NR_close_range, 0, ~0U, 0);
                pause();
        }
        if (strcmp(how, "kill the guard") == 0)
                kill_guard();
        if (strcmp(how, "kill the guard") == 0 || strcmp(how, "stop in check") == 0)
                execv(real, argv);
        _exit(92);
}
