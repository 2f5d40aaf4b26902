/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/file/compressor.h"

#include "base/dlopen_note.h"
#include "base/fd.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

#define ZLIB "libz.so.1"
DLOPEN_NOTE(zlib_note, "compress", "log files that are compressed when they are rotated", "suggested", ZLIB);

/* The child's report of success. */
static const char success[] = "ok";

/* The library is only loaded in the child. */
typedef struct {
        __typeof__(gzdopen) *open;
        __typeof__(gzwrite) *write;
        __typeof__(gzclose) *close;
} Zlib;

#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_IDLE        (3 << 13)

/* ---- in the child ---- */

static const char *
open_zlib(Zlib *z)
{
        void *library = dlopen(ZLIB, RTLD_NOW | RTLD_LOCAL);
        if (!library) {
                const char *error = dlerror();
                return error ? error : "zlib can't be loaded";
        }
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

static void
set_limit(int what, off_t max)
{
        struct rlimit limit = {.rlim_cur = (rlim_t)max, .rlim_max = (rlim_t)max};
        (void)setrlimit(what, &limit);
}

static const char *
compress_file(const Zlib *z)
{
        char buf[65536];
        gzFile file = z->open(dup(STDOUT_FILENO), "wb");
        if (!file)
                return "out of memory";
        set_limit(RLIMIT_NOFILE, 0); /* data from the container is processed without access to other files */
        sandbox_enter(SANDBOX_COMPRESSOR);
        ssize_t n;
        while ((n = fd_read(STDIN_FILENO, buf, sizeof buf)) > 0)
                if (z->write(file, buf, (unsigned)n) != n)
                        return describe_error();
        if (n < 0)
                return strerror((int)-n);
        return z->close(file) != 0 || fdatasync(STDOUT_FILENO) < 0 ? describe_error() : NULL;
}

static size_t
compress_task(const void *arg, char *answer)
{
        const off_t *max = arg;
        Zlib z;
        (void)setpriority(PRIO_PROCESS, 0, 19);
        (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
        (void)signal(SIGXFSZ, SIG_IGN);
        set_limit(RLIMIT_FSIZE, *max); /* a write beyond that fails with EFBIG */
        const char *error = open_zlib(&z);
        if (!error)
                error = compress_file(&z);
        return g_strlcpy(answer, error ? error : success, WORKER_ANSWER_MAX);
}

static const WorkerKind compressor = {.name = "conmon-compress", .task = compress_task};

/* ---- in the monitor ---- */

static void
on_answer(const char *answer, size_t len, void *data)
{
        LogCompressor *c = data;
        g_autofree char *text =
                len > 0 ? g_strndup(answer, len) : g_strdup("the process has ended unexpectedly");
        c->func(strcmp(text, success) == 0 ? NULL : text, c->data);
}

int
log_compressor_start(LogCompressor *c, int in, int out, off_t max)
{
        c->worker.func = on_answer;
        c->worker.data = c;
        return worker_start(&c->worker, &compressor, &max, in, out);
}

void
log_compressor_save(const LogCompressor *c, StateWriter *w)
{
        worker_save(&c->worker, w, "compressor");
}

void
log_compressor_restore(LogCompressor *c, StateReader *r)
{
        c->worker.func = on_answer;
        c->worker.data = c;
        worker_restore(&c->worker, r, "compressor");
}

void
log_compressor_stop(LogCompressor *c)
{
        worker_stop(&c->worker);
}
