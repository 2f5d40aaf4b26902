/* An external logger: a program that reads the container's output, byte by byte as the container wrote it. The pipes to it
 * stay while it is started again, and what it had not read is still in them. */

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "log/driver.h"
#include "log/logger_process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Messages that go out with one system call. */
#define PIECES 64

#define RESTART_FIRST_USEC (100 * 1000)
#define RESTART_MAX_USEC   (30 * G_USEC_PER_SEC)

/* One that ran so long was no failure. */
#define GOOD_RUN_USEC (10 * G_USEC_PER_SEC)

typedef struct {
        int read, write; /* -1: closed */
        Watch writable;
} Pipe;

typedef struct {
        LogSink *sink;
        GPtrArray *argv;
        char *environment[3];
        LoggerProcess process;
        Pipe pipes[N_STREAMS];
        Timer restart;
        unsigned attempt;
        unsigned n_starts;
        gint64 started;
        bool finished; /* the end of the output follows what is queued */
        bool ended;    /* the pipes are closed for good */
} Binary;

static const LogOption options[] = {
        {"namespace", LOG_OPTION_STRING, "default", "value of CONTAINER_NAMESPACE in the logger's environment"},
        {NULL},
};

/* ---- opening ---- */

/* "//PATH?KEY=VALUE&…" gives PATH KEY VALUE …, percent signs resolved. */
static bool
parse_uri(GPtrArray *argv, const char *arg)
{
        if (!arg || strncmp(arg, "///", 3) != 0)
                return false;
        g_auto(GStrv) parts = g_strsplit(arg + 2, "?", 2);
        char *path = g_uri_unescape_string(parts[0], NULL);
        if (!path)
                return false;
        g_ptr_array_add(argv, path);
        g_auto(GStrv) pairs = g_strsplit(parts[1] ? parts[1] : "", "&", -1);
        for (size_t i = 0; pairs[i]; i++) {
                g_auto(GStrv) pair = g_strsplit(g_strdelimit(pairs[i], "+", ' '), "=", 2);
                for (int k = 0; k < 2 && pair[0]; k++) {
                        char *word = g_uri_unescape_string(pair[1] || k == 0 ? pair[k] : "", NULL);
                        if (!word)
                                return false;
                        g_ptr_array_add(argv, word);
                }
        }
        g_ptr_array_add(argv, NULL);
        return true;
}

static void
pipe_done(Pipe *p)
{
        watch_done(&p->writable);
        fd_close(&p->read);
        fd_close(&p->write);
}

static void on_process(LoggerProcess *p, bool ended, void *data);
static void start_process(void *data);

static void
binary_close(void *data)
{
        Binary *self = data;
        timer_stop(&self->restart);
        for (StreamId i = 0; i < N_STREAMS; i++)
                pipe_done(&self->pipes[i]);
        logger_process_stop(&self->process);
        g_ptr_array_unref(self->argv);
        g_free(self->environment[0]);
        g_free(self->environment[1]);
        g_free(self);
}

static void on_writable(GIOCondition revents, void *data);

static gboolean
open_pipes(Binary *self, GError **error)
{
        for (StreamId i = 0; i < N_STREAMS; i++) {
                int fds[2];
                if (pipe2(fds, O_CLOEXEC) < 0)
                        return error_set_errno(error, errno, "Log driver binary: failed to create a pipe");
                self->pipes[i].read = fds[0];
                self->pipes[i].write = fds[1];
                (void)fd_set_nonblock(fds[1], true);
                watch_init(&self->pipes[i].writable, fds[1], WATCH_PRIORITY_IO, on_writable, self);
        }
        return TRUE;
}

static gboolean
check(Binary *self, const LogDriverConfig *config, GError **error)
{
        if (!parse_uri(self->argv, config->arg))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver binary can't be given as binary:%s; it must be of the form "
                                 "binary:///PATH?KEY=VALUE&KEY=VALUE",
                                 config->arg ? config->arg : "");
        const char *path = g_ptr_array_index(self->argv, 0);
        if (access(path, X_OK) < 0)
                return error_set_errno(error, errno, "Log driver binary: the logger %s can't be executed", path);
        return open_pipes(self, error);
}

static void *
binary_open(const LogDriverConfig *config, GError **error)
{
        Binary *self = g_new0(Binary, 1);
        self->sink = config->sink;
        self->argv = g_ptr_array_new_with_free_func(g_free);
        for (StreamId i = 0; i < N_STREAMS; i++)
                self->pipes[i].read = self->pipes[i].write = -1;
        self->environment[0] = g_strconcat("CONTAINER_ID=", config->log->cid, NULL);
        self->environment[1] = g_strconcat("CONTAINER_NAMESPACE=", log_options_string(config->options, "namespace"), NULL);
        timer_init(&self->restart, start_process, self);
        if (check(self, config, error)) {
                self->process = (LoggerProcess){
                        .argv = (char **)self->argv->pdata,
                        .environment = self->environment,
                        .func = on_process,
                        .data = self,
                };
                return self;
        }
        binary_close(self);
        return NULL;
}

/* ---- the process ---- */

static const char *
binary_target(void *data)
{
        return g_ptr_array_index(((Binary *)data)->argv, 0);
}

static void
schedule_restart(Binary *self)
{
        gint64 wait = MIN((gint64)RESTART_FIRST_USEC << MIN(self->attempt, 10u), RESTART_MAX_USEC);
        if (self->attempt++ == 0)
                diag_warn("The external logger %s has ended; it is started again, after growing delays",
                          binary_target(self));
        timer_start(&self->restart, wait);
}

static void
start_process(void *data)
{
        Binary *self = data;
        self->started = g_get_monotonic_time();
        self->n_starts++;
        if (logger_process_start(&self->process, self->pipes[STREAM_STDOUT].read, self->pipes[STREAM_STDERR].read) < 0)
                schedule_restart(self);
}

static void
on_process(LoggerProcess *p, bool ended, void *data)
{
        Binary *self = data;
        if (!ended)
                return;
        if (g_get_monotonic_time() - self->started >= GOOD_RUN_USEC)
                self->attempt = 0;
        if (self->ended)
                log_sink_ready(self->sink);
        else
                schedule_restart(self);
}

/* ---- encoding and sending ---- */

static size_t
binary_bound(void *data, size_t len)
{
        return len + 1;
}

static size_t
binary_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        for (size_t i = 0; i < n; i++) {
                const LogRecord *r = &records[i];
                size_t len = r->len + (r->flags & LOG_RECORD_PARTIAL ? 0 : 1);
                char *at = log_block_room(block, r->len + 1);
                if (!at)
                        return i;
                memcpy(at, r->bytes, r->len);
                at[r->len] = '\n';
                log_block_add(block, len, r);
        }
        return n;
}

/* The next messages that are for the same pipe. */
static int
choose(LogQueue *q, struct iovec *pieces, StreamId *ret_stream)
{
        if (q->torn > 0) {
                const char *bytes;
                pieces->iov_len = log_queue_next(q, SIZE_MAX, &bytes);
                pieces->iov_base = (char *)bytes;
                *ret_stream = log_block_entry(q->next.block, q->next.entry)->stream;
                return 1;
        }
        LogMessage messages[PIECES];
        size_t n = log_queue_peek(q, messages, PIECES), i = 0;
        *ret_stream = n > 0 ? messages[0].stream : STREAM_STDOUT;
        for (; i < n && messages[i].stream == *ret_stream; i++)
                pieces[i] = (struct iovec){(char *)messages[i].bytes, messages[i].len};
        return (int)i;
}

static void
on_writable(GIOCondition revents, void *data)
{
        Binary *self = data;
        for (StreamId i = 0; i < N_STREAMS; i++)
                watch_disarm(&self->pipes[i].writable);
        log_sink_ready(self->sink);
}

static int
write_queue(Binary *self, LogQueue *q)
{
        struct iovec pieces[PIECES];
        StreamId stream;
        int n;
        while ((n = choose(q, pieces, &stream)) > 0) {
                Pipe *p = &self->pipes[stream];
                ssize_t k = writev(p->write, pieces, n);
                if (k >= 0) {
                        log_queue_wrote(q, (size_t)k);
                } else if (errno == EAGAIN) {
                        watch_arm(&p->writable, G_IO_OUT);
                        return LOG_SEND_WAIT;
                } else if (errno != EINTR) {
                        return -errno;
                }
        }
        return 0;
}

static void
end_output(Binary *self)
{
        self->ended = true;
        timer_stop(&self->restart);
        for (StreamId i = 0; i < N_STREAMS; i++)
                pipe_done(&self->pipes[i]);
}

static int
binary_send(void *data, LogQueue *q)
{
        Binary *self = data;
        if (self->ended)
                return 0;
        int r = write_queue(self, q);
        if (r == 0 && self->finished)
                end_output(self);
        return r;
}

static void
binary_finish(void *data, LogQueue *q, bool sync)
{
        Binary *self = data;
        self->finished = true;
        /* It may be dead just now, but what is in the pipes is for the next one. */
        if (self->process.pid == 0)
                start_process(self);
        if (log_queue_is_empty(q))
                end_output(self);
}

/* The logger gets time to read the rest. */
static bool
binary_is_busy(void *data)
{
        Binary *self = data;
        return self->process.pid != 0;
}

static void
binary_status(void *data, GString *json)
{
        const Binary *self = data;
        g_string_append_printf(json, ",\"starts\":%u,\"pid\":%d,\"ready\":%s", self->n_starts, self->process.pid,
                               self->process.pid && self->process.ready_fd < 0 ? "true" : "false");
}

const LogDriver log_driver_binary = {
        .name = "binary",
        .arg = "///PATH[?KEY=VALUE]",
        .help = "an external program, by the contract of containerd's loggers",
        .options = options,
        .flags = LOG_DRIVER_REMOTE,
        .open = binary_open,
        .start = start_process,
        .encode = binary_encode,
        .bound = binary_bound,
        .send = binary_send,
        .finish = binary_finish,
        .busy = binary_is_busy,
        .status = binary_status,
        .target = binary_target,
        .close = binary_close,
};
