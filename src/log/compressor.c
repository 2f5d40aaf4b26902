#include "log/compressor.h"

#include "base/dlopen_note.h"
#include "base/fd.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ZLIB "libz.so.1"
DLOPEN_NOTE(zlib_note, "compress", "log files that are compressed when they are rotated", "suggested", ZLIB);

/* What the child says when all went well. */
static const char success[] = "ok";

/* From zlib.h, whose interface is stable; the library is only there if somebody compresses. */
typedef struct {
        void *(*open)(int fd, const char *mode);
        int (*write)(void *file, const void *data, unsigned len);
        int (*close)(void *file);
} Zlib;

/* The child's descriptors. */
#define IN_FD     STDIN_FILENO
#define OUT_FD    STDOUT_FILENO
#define REPORT_FD (STDERR_FILENO + 1)

#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_IDLE        (3 << 13)

/* ---- in the child ---- */

static const char *
open_zlib(Zlib *z)
{
        void *library = dlopen(ZLIB, RTLD_NOW | RTLD_LOCAL);
        if (!library)
                return dlerror();
        *(void **)&z->open = dlsym(library, "gzdopen");
        *(void **)&z->write = dlsym(library, "gzwrite");
        *(void **)&z->close = dlsym(library, "gzclose");
        return z->open && z->write && z->close ? NULL : "it is no zlib";
}

static const char *
describe_error(void)
{
        return errno == EFBIG ? "it does not become small enough" : strerror(errno);
}

static const char *
compress_file(const Zlib *z)
{
        char buf[65536];
        void *file = z->open(dup(OUT_FD), "wb");
        if (!file)
                return "out of memory";
        ssize_t n;
        while ((n = fd_read(IN_FD, buf, sizeof buf)) > 0)
                if (z->write(file, buf, (unsigned)n) != n)
                        return describe_error();
        if (n < 0)
                return strerror((int)-n);
        return z->close(file) != 0 || fdatasync(OUT_FD) < 0 ? describe_error() : NULL;
}

/* A write beyond that fails with EFBIG. */
static void
limit_file_size(off_t max)
{
        struct rlimit limit = {.rlim_cur = (rlim_t)max, .rlim_max = (rlim_t)max};
        (void)signal(SIGXFSZ, SIG_IGN);
        (void)setrlimit(RLIMIT_FSIZE, &limit);
}

G_NORETURN static void
run_child(int in, int out, int report, off_t max)
{
        Zlib z;
        sigset_t none;
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        if (dup2(in, IN_FD) < 0 || dup2(out, OUT_FD) < 0 || dup2(report, REPORT_FD) < 0)
                _exit(1);
        fd_close_range(REPORT_FD + 1, ~0U);
        (void)prctl(PR_SET_NAME, "conmon-compress");
        (void)setpriority(PRIO_PROCESS, 0, 19);
        (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
        limit_file_size(max);
        const char *error = open_zlib(&z);
        if (!error)
                error = compress_file(&z);
        const char *text = error ? error : success;
        (void)fd_write_all(REPORT_FD, text, strlen(text));
        _exit(error != NULL);
}

/* ---- in the monitor ---- */

static void
on_report(GIOCondition revents, void *data)
{
        LogCompressor *c = data;
        char text[256];
        ssize_t n = fd_read(c->pipe, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
        log_compressor_stop(c);
        const char *error = n > 0 ? text : "the process has ended unexpectedly";
        c->func(strcmp(text, success) == 0 ? NULL : error, c->data);
}

int
log_compressor_start(LogCompressor *c, int in, int out, off_t max)
{
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid == 0)
                run_child(in, out, ends[1], max);
        int r = pid < 0 ? -errno : 0;
        (void)close(ends[1]);
        c->pipe = ends[0];
        if (r < 0) {
                fd_close(&c->pipe);
                return r;
        }
        /* Nobody has had an opportunity to reap it yet. */
        c->process = (int)syscall(SYS_pidfd_open, pid, 0);
        c->running = true;
        watch_init(&c->watch, c->pipe, WATCH_PRIORITY_IO, on_report, c);
        watch_arm(&c->watch, G_IO_IN);
        return 0;
}

void
log_compressor_stop(LogCompressor *c)
{
        if (!c->running)
                return;
        watch_done(&c->watch);
        fd_close(&c->pipe);
        if (c->process >= 0)
                (void)syscall(SYS_pidfd_send_signal, c->process, SIGKILL, NULL, 0);
        fd_close(&c->process);
        c->running = false;
}
