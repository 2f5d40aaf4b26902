#include "ctl/line_fifo.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How much is read before others get their turn. */
#define READS_PER_TURN 16

struct LineFifo {
        int reader;
        int writer;
        Watch watch;
        LineBuffer buffer;
        LineFunc func;
        void *data;
};

void
line_buffer_feed(LineBuffer *b, const char *bytes, size_t len, LineFunc func, void *data)
{
        const char *end = bytes + len;
        while (bytes < end) {
                const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
                size_t part = (size_t)((newline ? newline : end) - bytes);
                if (part > LINE_MAX_LEN - b->len)
                        b->discarding = true;
                if (!b->discarding) {
                        memcpy(b->line + b->len, bytes, part);
                        b->len += part;
                }
                if (!newline)
                        return;
                if (!b->discarding) {
                        b->line[b->len] = '\0';
                        func(b->line, data);
                }
                b->len = 0;
                b->discarding = false;
                bytes = newline + 1;
        }
}

static void
on_readable(GIOCondition revents, void *data)
{
        LineFifo *fifo = data;
        char bytes[1024];
        for (int i = 0; i < READS_PER_TURN; i++) {
                ssize_t n = fd_read(fifo->reader, bytes, sizeof bytes);
                if (n == -EAGAIN)
                        return;
                if (n <= 0) {
                        diag_warn("Failed to read from a control FIFO: %s; it is ignored from now on",
                                  strerror((int)-n));
                        watch_disarm(&fifo->watch);
                        return;
                }
                line_buffer_feed(&fifo->buffer, bytes, (size_t)n, fifo->func, fifo->data);
        }
}

static int
make_fifo(int dirfd, const char *name)
{
        if (mkfifoat(dirfd, name, 0660) == 0)
                return 0;
        if (errno != EEXIST || unlinkat(dirfd, name, 0) < 0 || mkfifoat(dirfd, name, 0660) < 0)
                return -errno;
        return 0;
}

LineFifo *
line_fifo_new(const char *dir, const char *name, LineFunc func, void *data, GError **error)
{
        autofd int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = dirfd < 0 ? -errno : make_fifo(dirfd, name);
        if (r < 0) {
                error_set_errno(error, r, "Failed to make the FIFO %s/%s", dir, name);
                return NULL;
        }
        autofd int reader = fd_open_beneath(dirfd, name, O_RDONLY | O_NONBLOCK);
        if (reader < 0) {
                error_set_errno(error, reader, "Failed to open the FIFO %s/%s", dir, name);
                return NULL;
        }
        autofd int writer = fd_open_beneath(dirfd, name, O_WRONLY | O_NONBLOCK);
        if (writer < 0) {
                error_set_errno(error, writer, "Failed to open the FIFO %s/%s for writing", dir, name);
                return NULL;
        }
        LineFifo *fifo = g_new0(LineFifo, 1);
        fifo->reader = fd_steal(&reader);
        fifo->writer = fd_steal(&writer);
        fifo->func = func;
        fifo->data = data;
        watch_init(&fifo->watch, fifo->reader, WATCH_PRIORITY_IO, on_readable, fifo);
        return fifo;
}

void
line_fifo_start(LineFifo *fifo)
{
        watch_arm(&fifo->watch, G_IO_IN);
}

void
line_fifo_free(LineFifo *fifo)
{
        if (!fifo)
                return;
        watch_done(&fifo->watch);
        fd_close(&fifo->reader);
        fd_close(&fifo->writer);
        g_free(fifo);
}
