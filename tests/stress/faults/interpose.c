/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Lets one call of a libc function fail in a process that is started with this library in LD_PRELOAD.
 *
 *   FAULT_TRACE=FILE   appends a line "STATE|FUNCTION|OBJECT" for each call; children, which may limit the
 *                      size of their files, append to FILE-child
 *   FAULT=STATE|FUNCTION|OBJECT|N|HOW
 *                      the N-th call with this description (from 1) fails with the errno number HOW without
 *                      being executed; with "short" it transfers less than requested; with "slow" it is
 *                      delayed by five seconds
 *   FAULT_HIT=FILE     is created when the fault was injected
 *
 * OBJECT is the file or other object of the call, without parts that differ between runs. STATE is the state
 * of the process as seen from outside:
 *
 *   start          the launcher, until it forks
 *   launched       the launcher afterwards
 *   launch         the monitor, until it forks the runtime
 *   creating       until it reports the container's pid to the caller
 *   running        until it has reaped the container
 *   ended          until the exit file is written
 *   recorded       until it forks for the exit command
 *   exit           afterwards
 *   runtime-child, exit-child, check-child, child
 *                  a child, until it executes a program
 *   checking       another version of the monitor, while it checks the state
 *   resumed        the new program after a live upgrade, until it has reaped the container
 *
 * Other programs that the process executes are not affected. */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX 256
#define SHORT    (-1)
#define SLOW     (-2)

#define SLOW_SECONDS 5

static char trace_path[TEXT_MAX + sizeof "-child"], hit_path[TEXT_MAX];
static char wanted_state[32], wanted_function[32], wanted_object[TEXT_MAX];
static char whole_plan[TEXT_MAX];
static int wanted_number, wanted_error, seen;
static const char *const caller_names[] = {"_OCI_SYNCPIPE", "_OCI_STARTPIPE", "_OCI_ATTACHPIPE"};
static int caller_fds[] = {-1, -1, -1};
static int container_pid;
static const char *state = "start";
static char first_state[32], own_path[TEXT_MAX];
static bool ready;

static void *
next(const char *name)
{
        void *function = dlsym(RTLD_NEXT, name);
        if (!function)
                abort();
        return function;
}

/* The original functions. */
static long
raw(long number, long a, long b, long c, long d)
{
        static long (*real)(long, ...);
        if (!real)
                real = (long (*)(long, ...))next("syscall");
        return real(number, a, b, c, d);
}

static void
append(const char *path, const char *text)
{
        long fd = raw(SYS_openat, AT_FDCWD, (long)path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        (void)raw(SYS_write, fd, (long)text, (long)strlen(text), 0);
        (void)raw(SYS_close, fd, 0, 0, 0);
}

static void
copy_variable(const char *name, char *text)
{
        const char *value = getenv(name);
        snprintf(text, TEXT_MAX, "%s", value ? value : "");
        unsetenv(name);
}

__attribute__((constructor)) static void
load(void)
{
        char plan[TEXT_MAX], given_state[TEXT_MAX], container[TEXT_MAX], how[32] = "";
        copy_variable("FAULT_TRACE", trace_path);
        copy_variable("FAULT_HIT", hit_path);
        copy_variable("FAULT", plan);
        snprintf(whole_plan, sizeof whole_plan, "%s", plan);
        copy_variable("FAULT_STATE", given_state);
        copy_variable("FAULT_CONTAINER", container);
        copy_variable("LD_PRELOAD", own_path);
        snprintf(first_state, sizeof first_state, "%s", given_state);
        if (*first_state)
                state = first_state;
        container_pid = atoi(container);
        for (size_t i = 0; i < sizeof caller_fds / sizeof *caller_fds; i++)
                if (getenv(caller_names[i]))
                        caller_fds[i] = atoi(getenv(caller_names[i]));
        if (*plan && sscanf(plan, "%31[^|]|%31[^|]|%255[^|]|%d|%31s", wanted_state, wanted_function,
                            wanted_object, &wanted_number, how) != 5)
                abort();
        wanted_error = strcmp(how, "short") == 0 ? SHORT : strcmp(how, "slow") == 0 ? SLOW : atoi(how);
        ready = true;
}

/* ---- the object of a call ---- */

/* Random suffixes of mkstemp(3), of temporary socket names, and of test directories. */
static bool
is_random_suffix(const char *name, const char *dot)
{
        size_t len = strspn(dot + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
        return !dot[1 + len] && len == (strncmp(name, "conmon-test.", 12) == 0 ? 8 : 6);
}

static void
path_object(const char *path, char *object)
{
        const char *name = path ? strrchr(path, '/') : NULL;
        name = name && name[1] ? name + 1 : path;
        snprintf(object, TEXT_MAX, "%s", name ? name : "");
        for (char *dot; (dot = strrchr(object, '.')) && is_random_suffix(object, dot);)
                *dot = '\0';
        for (char *at = object; *at; at++)
                if (*at == '|' || *at < ' ')
                        *at = '_';
        if (!*object)
                strcpy(object, "-");
}

static void
address_object(const struct sockaddr *addr, socklen_t len, char *object)
{
        const struct sockaddr_un *un = (const struct sockaddr_un *)addr;
        size_t start = offsetof(struct sockaddr_un, sun_path);
        char path[sizeof un->sun_path + 1] = "";
        if (addr->sa_family == AF_UNIX && len > start)
                memcpy(path, un->sun_path, MIN(len - start, sizeof un->sun_path));
        path_object(path, object);
}

/* "socket of the caller", or the name to which it or its listening socket was bound. */
static void
socket_object(int fd, char *object)
{
        struct sockaddr_storage addr = {0};
        socklen_t len = sizeof addr;
        char name[TEXT_MAX - 16];
        for (size_t i = 0; i < sizeof caller_fds / sizeof *caller_fds; i++)
                if (fd == caller_fds[i]) {
                        snprintf(object, TEXT_MAX, "socket of the caller, %s", caller_names[i]);
                        return;
                }
        (void)raw(SYS_getsockname, fd, (long)&addr, (long)&len, 0);
        address_object((struct sockaddr *)&addr, len, name);
        snprintf(object, TEXT_MAX, "socket %s", name);
}

static void
fd_object(int fd, char *object)
{
        char link[64], target[TEXT_MAX - 16];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        long len = raw(SYS_readlinkat, AT_FDCWD, (long)link, (long)target, sizeof target - 1);
        if (len < 0)
                len = snprintf(target, sizeof target, "fd %d", fd);
        target[len] = '\0';
        char *bracket = strstr(target, ":[");
        if (strncmp(target, "anon_inode:[", 12) == 0) {
                target[strcspn(target, "]")] = '\0';
                snprintf(object, TEXT_MAX, "%s", target + 12);
        } else if (strncmp(target, "socket:[", 8) == 0) {
                socket_object(fd, object);
        } else if (bracket) {
                *bracket = '\0';
                snprintf(object, TEXT_MAX, "%s %d", target, fd);
        } else {
                path_object(target, object);
        }
}

/* ---- the decision ---- */

/* open64 is open. */
static bool
is_wanted(const char *function)
{
        size_t len = strlen(wanted_function);
        return wanted_number > 0 && strcmp(state, wanted_state) == 0 &&
               strncmp(function, wanted_function, len) == 0 &&
               (!function[len] || strcmp(function + len, "64") == 0);
}

static bool
is_interesting(const char *function)
{
        return ready && (*trace_path || is_wanted(function));
}

/* Returns 0 if the call is to be executed, else SHORT or an error number. */
static int
decide(const char *function, const char *object)
{
        int saved = errno;
        if (*trace_path) {
                char line[TEXT_MAX + 80];
                size_t len = strlen(function) - (strcmp(function + strlen(function) - 2, "64") == 0 ? 2 : 0);
                snprintf(line, sizeof line, "%s|%.*s|%s\n", state, (int)len, function, object);
                append(trace_path, line);
        }
        errno = saved;
        if (!is_wanted(function) || strcmp(object, wanted_object) != 0 || ++seen != wanted_number)
                return 0;
        append(hit_path, "hit\n");
        if (wanted_error != SLOW)
                return wanted_error;
        struct timespec delay = {SLOW_SECONDS, 0};
        (void)raw(SYS_nanosleep, (long)&delay, 0, 0, 0);
        errno = saved;
        return 0;
}

static int
decide_fd(const char *function, int fd)
{
        char object[TEXT_MAX];
        if (!is_interesting(function))
                return 0;
        fd_object(fd, object);
        return decide(function, object);
}

static int
decide_path(const char *function, const char *path)
{
        char object[TEXT_MAX];
        if (!is_interesting(function))
                return 0;
        path_object(path, object);
        return decide(function, object);
}

static int
decide_number(const char *function, const char *kind, long number)
{
        char object[TEXT_MAX];
        if (!is_interesting(function))
                return 0;
        snprintf(object, sizeof object, "%s %ld", kind, number);
        return decide(function, object);
}

/* Calls the original function of that name. */
#define REAL(name)                                             \
        ({                                                     \
                static __typeof__(&name) real;                 \
                if (!real)                                     \
                        real = (__typeof__(&name))next(#name); \
                real;                                          \
        })

#define FAIL(result)           \
        do {                   \
                errno = how;   \
                return result; \
        } while (0)

#define WITH_FD(type, name, parameters, fd, ...) \
        type name parameters                     \
        {                                        \
                int how = decide_fd(#name, fd);  \
                if (how > 0)                     \
                        FAIL(-1);                \
                return REAL(name)(__VA_ARGS__);  \
        }

#define WITH_PATH(type, name, parameters, path, ...) \
        type name parameters                         \
        {                                            \
                int how = decide_path(#name, path);  \
                if (how > 0)                         \
                        FAIL(-1);                    \
                return REAL(name)(__VA_ARGS__);      \
        }

#define WITH_NUMBER(type, name, parameters, kind, number, ...)        \
        type name parameters                                          \
        {                                                             \
                int how = decide_number(#name, kind, (long)(number)); \
                if (how > 0)                                          \
                        FAIL(-1);                                     \
                return REAL(name)(__VA_ARGS__);                       \
        }

#define WITH_ADDRESS(name)                                           \
        int name(int fd, const struct sockaddr *addr, socklen_t len) \
        {                                                            \
                char object[TEXT_MAX];                               \
                int how = 0;                                         \
                if (is_interesting(#name)) {                         \
                        address_object(addr, len, object);           \
                        how = decide(#name, object);                 \
                }                                                    \
                if (how > 0)                                         \
                        FAIL(-1);                                    \
                return REAL(name)(fd, addr, len);                    \
        }

/* ---- the state ---- */

/* {"data": 123} */
static void
note_message(int fd, const char *text, size_t len)
{
        int pid = 0;
        char copy[64];
        if (fd != caller_fds[0] || (strcmp(state, "creating") != 0 && strcmp(state, "launch") != 0))
                return;
        snprintf(copy, sizeof copy, "%.*s", (int)len, text);
        if (sscanf(copy, "{\"%*[a-z_]\": %d", &pid) == 1 && pid > 0) {
                container_pid = pid;
                state = "running";
        }
}

static void
note_reaped(int pid)
{
        if (pid > 0 && pid == container_pid &&
            (strcmp(state, "running") == 0 || strcmp(state, "resumed") == 0))
                state = "ended";
}

static void
note_renamed(const char *to)
{
        if (strstr(to, "/exits/"))
                state = "recorded";
}

static void
note_forked(bool parent)
{
        if (strcmp(state, "start") == 0)
                state = parent ? "launched" : "launch";
        else if (strcmp(state, "recorded") == 0 || strcmp(state, "creating") == 0 ||
                 strcmp(state, "exit") == 0)
                state = parent ? "exit" : "exit-child";
        else if (!parent) {
                state = "child";
                strcat(trace_path, *trace_path ? "-child" : "");
        }
}

/* ---- files ---- */

#define OPEN(name)                                                                        \
        int name(const char *path, int flags, ...)                                        \
        {                                                                                 \
                va_list list;                                                             \
                va_start(list, flags);                                                    \
                mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0; \
                va_end(list);                                                             \
                int how = decide_path(#name, path);                                       \
                if (how > 0)                                                              \
                        FAIL(-1);                                                         \
                return REAL(name)(path, flags, mode);                                     \
        }
OPEN(open)
OPEN(open64)

/* open(2) with _FORTIFY_SOURCE. */
int __open64_2(const char *path, int flags);
int
__open64_2(const char *path, int flags)
{
        return open64(path, flags);
}

#define OPENAT(name)                                                                      \
        int name(int dir, const char *path, int flags, ...)                               \
        {                                                                                 \
                va_list list;                                                             \
                va_start(list, flags);                                                    \
                mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0; \
                va_end(list);                                                             \
                int how = decide_path(#name, path);                                       \
                if (how > 0)                                                              \
                        FAIL(-1);                                                         \
                return REAL(name)(dir, path, flags, mode);                                \
        }
OPENAT(openat)
OPENAT(openat64)

WITH_PATH(int, mkostemp, (char *path, int flags), path, path, flags)
WITH_PATH(int, mkostemp64, (char *path, int flags), path, path, flags)
WITH_PATH(int, chdir, (const char *path), path, path)
WITH_PATH(int, unlink, (const char *path), path, path)
WITH_PATH(int, unlinkat, (int dir, const char *path, int flags), path, dir, path, flags)
WITH_PATH(int, linkat, (int dir, const char *path, int to, const char *name, int flags), name, dir, path, to,
          name, flags)
WITH_PATH(int, symlink, (const char *target, const char *path), path, target, path)
WITH_PATH(int, mkfifo, (const char *path, mode_t mode), path, path, mode)
WITH_PATH(int, mkfifoat, (int dir, const char *path, mode_t mode), path, dir, path, mode)
WITH_PATH(int, mkdir, (const char *path, mode_t mode), path, path, mode)
WITH_PATH(int, mkdirat, (int dir, const char *path, mode_t mode), path, dir, path, mode)
WITH_PATH(int, faccessat, (int dir, const char *path, int mode, int flags), path, dir, path, mode, flags)
WITH_PATH(int, memfd_create, (const char *name, unsigned int flags), name, name, flags)
WITH_PATH(int, access, (const char *path, int mode), path, path, mode)
WITH_PATH(int, stat, (const char *path, struct stat *st), path, path, st)
WITH_PATH(int, stat64, (const char *path, struct stat64 *st), path, path, st)
WITH_PATH(int, lstat, (const char *path, struct stat *st), path, path, st)
WITH_PATH(int, lstat64, (const char *path, struct stat64 *st), path, path, st)
WITH_PATH(int, fstatat, (int dir, const char *path, struct stat *st, int flags), path, dir, path, st, flags)
WITH_PATH(int, fstatat64, (int dir, const char *path, struct stat64 *st, int flags), path, dir, path, st,
          flags)
/* All file systems appear to be on a disk: the monitor does not expect those in memory to stall. */
int
statfs64(const char *path, struct statfs64 *st)
{
        int how = decide_path("statfs64", path);
        if (how > 0)
                FAIL(-1);
        int r = REAL(statfs64)(path, st);
        if (r == 0 && st->f_type == TMPFS_MAGIC)
                st->f_type = EXT4_SUPER_MAGIC;
        return r;
}

WITH_PATH(ssize_t, readlink, (const char *path, char *buf, size_t size), path, path, buf, size)
WITH_PATH(ssize_t, readlinkat, (int dir, const char *path, char *buf, size_t size), path, dir, path, buf,
          size)
WITH_PATH(int, execv, (const char *path, char *const argv[]), path, path, argv)
WITH_PATH(int, inotify_add_watch, (int fd, const char *path, uint32_t mask), path, fd, path, mask)
WITH_FD(int, fstat, (int fd, struct stat *st), fd, fd, st)
WITH_FD(int, fstat64, (int fd, struct stat64 *st), fd, fd, st)
WITH_FD(int, fstatfs, (int fd, struct statfs *st), fd, fd, st)
WITH_FD(int, fstatfs64, (int fd, struct statfs64 *st), fd, fd, st)
WITH_FD(int, fchmod, (int fd, mode_t mode), fd, fd, mode)
WITH_FD(int, fchmodat, (int fd, const char *path, mode_t mode, int flags), fd, fd, path, mode, flags)
WITH_FD(int, fsync, (int fd), fd, fd)
WITH_FD(ssize_t, pread, (int fd, void *buf, size_t size, off_t at), fd, fd, buf, size, at)
WITH_FD(int, statx, (int fd, const char *path, int flags, unsigned mask, struct statx *st), fd, fd, path,
        flags, mask, st)
WITH_FD(ssize_t, pwrite, (int fd, const void *buf, size_t size, off_t at), fd, fd, buf, size, at)
WITH_FD(ssize_t, pwrite64, (int fd, const void *buf, size_t size, off64_t at), fd, fd, buf, size, at)
WITH_FD(ssize_t, pread64, (int fd, void *buf, size_t size, off64_t at), fd, fd, buf, size, at)
WITH_FD(int, fdatasync, (int fd), fd, fd)
WITH_FD(int, ftruncate, (int fd, off_t len), fd, fd, len)
WITH_FD(int, ftruncate64, (int fd, off64_t len), fd, fd, len)

DIR *
fdopendir(int fd)
{
        int how = decide_fd("fdopendir", fd);
        if (how > 0)
                FAIL(NULL);
        return REAL(fdopendir)(fd);
}

struct dirent *
readdir(DIR *dir)
{
        int how = decide_fd("readdir", dirfd(dir));
        if (how > 0)
                FAIL(NULL);
        return REAL(readdir)(dir);
}

struct dirent64 *
readdir64(DIR *dir)
{
        int how = decide_fd("readdir", dirfd(dir));
        if (how > 0)
                FAIL(NULL);
        return REAL(readdir64)(dir);
}

char *
getcwd(char *buf, size_t size)
{
        int how = decide_path("getcwd", ".");
        if (how > 0)
                FAIL(NULL);
        return REAL(getcwd)(buf, size);
}

char *
realpath(const char *path, char *resolved)
{
        int how = decide_path("realpath", path);
        if (how > 0)
                FAIL(NULL);
        return REAL(realpath)(path, resolved);
}

int
rename(const char *from, const char *to)
{
        int how = decide_path("rename", to);
        if (how > 0)
                FAIL(-1);
        int r = REAL(rename)(from, to);
        if (r == 0)
                note_renamed(to);
        return r;
}

int
renameat(int dir, const char *from, int to_dir, const char *to)
{
        int how = decide_path("renameat", to);
        if (how > 0)
                FAIL(-1);
        int r = REAL(renameat)(dir, from, to_dir, to);
        char link[64], target[TEXT_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", to_dir);
        long len = raw(SYS_readlinkat, AT_FDCWD, (long)link, (long)target, sizeof target - 2);
        if (r == 0 && len > 0) {
                strcpy(target + len, "/");
                note_renamed(target);
        }
        return r;
}

/* ---- descriptors ---- */

static size_t
part_of(size_t len)
{
        return len > 1 ? len / 2 : len;
}

ssize_t
read(int fd, void *buf, size_t len)
{
        int how = decide_fd("read", fd);
        if (how > 0)
                FAIL(-1);
        return REAL(read)(fd, buf, how == SHORT ? MIN(len, 3) : len);
}

ssize_t
write(int fd, const void *buf, size_t len)
{
        int how = decide_fd("write", fd);
        if (how > 0)
                FAIL(-1);
        ssize_t n = REAL(write)(fd, buf, how == SHORT ? part_of(len) : len);
        if (n > 0)
                note_message(fd, buf, (size_t)n);
        return n;
}

ssize_t
writev(int fd, const struct iovec *iov, int n)
{
        int how = decide_fd("writev", fd);
        if (how > 0)
                FAIL(-1);
        if (how == SHORT)
                return REAL(write)(fd, iov->iov_base, part_of(iov->iov_len));
        return REAL(writev)(fd, iov, n);
}

ssize_t
send(int fd, const void *buf, size_t len, int flags)
{
        int how = decide_fd("send", fd);
        if (how > 0)
                FAIL(-1);
        ssize_t n = REAL(send)(fd, buf, how == SHORT ? part_of(len) : len, flags);
        if (n > 0)
                note_message(fd, buf, (size_t)n);
        return n;
}

WITH_FD(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags), fd, fd, msg, flags)

int
sendmmsg(int fd, struct mmsghdr *messages, unsigned int n, int flags)
{
        int how = decide_fd("sendmmsg", fd);
        if (how > 0)
                FAIL(-1);
        return REAL(sendmmsg)(fd, messages, how == SHORT ? 1 : n, flags);
}

WITH_FD(ssize_t, recv, (int fd, void *buf, size_t len, int flags), fd, fd, buf, len, flags)
WITH_FD(ssize_t, recvfrom, (int fd, void *buf, size_t len, int flags, struct sockaddr *addr, socklen_t *size),
        fd, fd, buf, len, flags, addr, size)
WITH_FD(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), fd, fd, msg, flags)
WITH_FD(int, accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags), fd, fd, addr, len, flags)
WITH_ADDRESS(bind)
WITH_ADDRESS(connect)
WITH_FD(int, listen, (int fd, int backlog), fd, fd, backlog)
WITH_FD(int, shutdown, (int fd, int how_), fd, fd, how_)
WITH_FD(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t len), fd, fd, level, name,
        value, len)
WITH_FD(int, getpeername, (int fd, struct sockaddr *addr, socklen_t *len), fd, fd, addr, len)
WITH_FD(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *len), fd, fd, level, name,
        value, len)
WITH_NUMBER(int, socket, (int domain, int type, int protocol), "domain", domain, domain, type, protocol)
WITH_NUMBER(int, socketpair, (int domain, int type, int protocol, int fds[2]), "domain", domain, domain, type,
            protocol, fds)
WITH_NUMBER(int, pipe2, (int fds[2], int flags), "flags", flags, fds, flags)

/* It returns the error, and leaves errno alone. */
int
pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *data)
{
        int how = is_interesting("pthread_create") ? decide("pthread_create", "thread") : 0;
        return how > 0 ? how : REAL(pthread_create)(thread, attributes, run, data);
}

WITH_NUMBER(int, eventfd, (unsigned int value, int flags), "flags", flags, value, flags)
WITH_NUMBER(int, signalfd, (int fd, const sigset_t *set, int flags), "flags", flags, fd, set, flags)
WITH_NUMBER(int, epoll_create1, (int flags), "flags", flags, flags)
WITH_NUMBER(int, inotify_init1, (int flags), "flags", flags, flags)
WITH_NUMBER(int, timerfd_create, (int clock, int flags), "clock", clock, clock, flags)
WITH_FD(int, epoll_wait, (int fd, struct epoll_event *events, int max, int timeout), fd, fd, events, max,
        timeout)
WITH_FD(int, dup, (int fd), fd, fd)
WITH_FD(int, dup2, (int fd, int to), fd, fd, to)
WITH_FD(int, tcgetattr, (int fd, struct termios *t), fd, fd, t)
WITH_FD(int, tcsetattr, (int fd, int when, const struct termios *t), fd, fd, when, t)

/* A removal needs no memory: it can't fail. */
int
epoll_ctl(int fd, int op, int other, struct epoll_event *event)
{
        int how = op == EPOLL_CTL_DEL ? 0 : decide_fd("epoll_ctl", other);
        if (how > 0)
                FAIL(-1);
        return REAL(epoll_ctl)(fd, op, other, event);
}

/* Calls with one descriptor are distinguished; those with more are the main loop, for what epoll refuses. */
int
poll(struct pollfd *fds, nfds_t n, int timeout)
{
        int how = n == 1 ? decide_fd("poll", fds->fd) : decide_number("poll", "loop", 0);
        if (how > 0)
                FAIL(-1);
        return REAL(poll)(fds, n, timeout);
}

int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
        int how = n == 1 ? decide_fd("ppoll", fds->fd) : decide_number("ppoll", "loop", 0);
        if (how > 0)
                FAIL(-1);
        return REAL(ppoll)(fds, n, timeout, mask);
}

#define FCNTL(name)                                                                              \
        int name(int fd, int command, ...)                                                       \
        {                                                                                        \
                va_list list;                                                                    \
                va_start(list, command);                                                         \
                long arg = va_arg(list, long);                                                   \
                va_end(list);                                                                    \
                char object[TEXT_MAX + 32], about[TEXT_MAX];                                     \
                int how = 0;                                                                     \
                if (is_interesting(#name)) {                                                     \
                        fd_object(fd, about);                                                    \
                        snprintf(object, sizeof object, "command %d of %.200s", command, about); \
                        how = decide(#name, object);                                             \
                }                                                                                \
                if (how > 0)                                                                     \
                        FAIL(-1);                                                                \
                return REAL(name)(fd, command, arg);                                             \
        }
FCNTL(fcntl)
FCNTL(fcntl64)

int
ioctl(int fd, unsigned long request, ...)
{
        va_list list;
        va_start(list, request);
        void *arg = va_arg(list, void *);
        va_end(list);
        int how = decide_number("ioctl", "request", (long)request);
        if (how > 0)
                FAIL(-1);
        return REAL(ioctl)(fd, request, arg);
}

/* ---- processes, signals, memory, time ---- */

pid_t
fork(void)
{
        int how = decide_number("fork", "process", 0);
        if (how > 0)
                FAIL(-1);
        pid_t pid = REAL(fork)();
        if (pid >= 0)
                note_forked(pid > 0);
        return pid;
}

/* ---- other versions of the monitor ---- */

#define VARIABLES_MAX 1000

/* The environment with the variables of this library. */
static char **
with_plan(char *const envp[], const char *next_state)
{
        static char texts[6][2 * TEXT_MAX];
        static char *list[VARIABLES_MAX + 7];
        size_t n = 0;
        snprintf(texts[0], sizeof *texts, "FAULT_TRACE=%s", trace_path);
        snprintf(texts[1], sizeof *texts, "FAULT_HIT=%s", hit_path);
        snprintf(texts[2], sizeof *texts, "FAULT=%s", whole_plan);
        snprintf(texts[3], sizeof *texts, "FAULT_STATE=%s", next_state);
        snprintf(texts[4], sizeof *texts, "FAULT_CONTAINER=%d", container_pid);
        snprintf(texts[5], sizeof *texts, "LD_PRELOAD=%s", own_path);
        for (; envp[n] && n < VARIABLES_MAX; n++)
                list[n] = envp[n];
        for (size_t i = 0; i < 6; i++)
                list[n++] = texts[i];
        list[n] = NULL;
        return list;
}

int
execve(const char *path, char *const argv[], char *const envp[])
{
        int how = decide_path("execve", path);
        if (how > 0)
                FAIL(-1);
        bool checks = argv[0] && argv[1] && strcmp(argv[1], "--check-state") == 0;
        return REAL(execve)(path, argv, checks ? with_plan(envp, "checking") : envp);
}

int
fexecve(int fd, char *const argv[], char *const envp[])
{
        int how = decide_fd("fexecve", fd);
        if (how > 0)
                FAIL(-1);
        return REAL(fexecve)(fd, argv, with_plan(envp, "resumed"));
}

/* The child has another state, so it can't share the memory. vfork(2) is only used to start programs. */
pid_t
vfork(void)
{
        int how = decide_number("vfork", "process", 0);
        if (how > 0)
                FAIL(-1);
        pid_t pid = REAL(fork)();
        if (pid >= 0 && (strcmp(state, "running") == 0 || strcmp(state, "resumed") == 0))
                state = pid > 0 ? state : "check-child";
        else if (pid >= 0)
                state = pid > 0 ? "creating" : "runtime-child";
        return pid;
}

pid_t
waitpid(pid_t pid, int *status, int options)
{
        int how = decide_number("waitpid", pid > 0 ? "one" : "any", 0);
        if (how > 0)
                FAIL(-1);
        pid_t reaped = REAL(waitpid)(pid, status, options);
        note_reaped(reaped);
        return reaped;
}

int
prctl(int option, ...)
{
        va_list list;
        va_start(list, option);
        unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long);
        unsigned long c = va_arg(list, unsigned long), d = va_arg(list, unsigned long);
        va_end(list);
        int how = decide_number("prctl", "option", option);
        if (how > 0)
                FAIL(-1);
        static int (*real)(int, ...);
        if (!real)
                real = (int (*)(int, ...))next("prctl");
        return real(option, a, b, c, d);
}

pid_t
setsid(void)
{
        int how = decide_number("setsid", "process", 0);
        if (how > 0)
                FAIL(-1);
        if (strcmp(state, "start") == 0)
                state = "launch";
        return REAL(setsid)();
}

int
setpgid(pid_t pid, pid_t group)
{
        int how = decide_number("setpgid", "process", 0);
        if (how > 0)
                FAIL(-1);
        return REAL(setpgid)(pid, group);
}

int
getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **list)
{
        int how = decide_path("getaddrinfo", host);
        if (how > 0)
                return EAI_AGAIN;
        return REAL(getaddrinfo)(host, service, hints, list);
}

WITH_NUMBER(int, kill, (pid_t pid, int number), "signal", number, pid, number)
WITH_NUMBER(int, sigprocmask, (int what, const sigset_t *set, sigset_t *old), "how", what, what, set, old)
WITH_NUMBER(int, sigtimedwait, (const sigset_t *set, siginfo_t *info, const struct timespec *timeout),
            "signals", 0, set, info, timeout)
WITH_NUMBER(int, clock_gettime, (clockid_t clock, struct timespec *now), "clock", clock, clock, now)
WITH_NUMBER(int, setrlimit, (__rlimit_resource_t resource, const struct rlimit *limit), "resource", resource,
            resource, limit)
WITH_NUMBER(int, setrlimit64, (__rlimit_resource_t resource, const struct rlimit64 *limit), "resource",
            resource, resource, limit)
WITH_NUMBER(ssize_t, getrandom, (void *buf, size_t len, unsigned int flags), "bytes", len, buf, len, flags)
WITH_NUMBER(int, munmap, (void *pages, size_t len), "bytes", len, pages, len)

#define MMAP(name, type)                                                                 \
        void *name(void *at, size_t len, int protection, int flags, int fd, type offset) \
        {                                                                                \
                int how = decide_number(#name, "bytes", (long)len);                      \
                if (how > 0)                                                             \
                        FAIL(MAP_FAILED);                                                \
                return REAL(name)(at, len, protection, flags, fd, offset);               \
        }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

static const char *
syscall_name(long number)
{
        switch (number) {
        case SYS_pidfd_open:
                return "pidfd_open";
        case SYS_pidfd_send_signal:
                return "pidfd_send_signal";
        case SYS_getdents64:
                return "getdents64";
        case __NR_close_range:
                return "close_range";
        case __NR_openat2:
                return "openat2";
        default:
                return "other";
        }
}

long
syscall(long number, ...)
{
        long arg[6];
        va_list list;
        va_start(list, number);
        for (int i = 0; i < 6; i++)
                arg[i] = va_arg(list, long);
        va_end(list);
        /* GLib's locks: a failed wake-up would be lost, and the kernel loses none. */
        int how = number == SYS_futex ? 0 : decide_path("syscall", syscall_name(number));
        if (how > 0)
                FAIL(-1);
        static long (*real)(long, ...);
        if (!real)
                real = (long (*)(long, ...))next("syscall");
        return real(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}
