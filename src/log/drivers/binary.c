/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* An external logger: a program that reads the container's unmodified output. The pipes to it are kept
 * while it is restarted, with the data that it has not read. */

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "log/api/driver.h"
#include "log/pipe/logger_process.h"
#include "log/pipe/raw_output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define RESTART_FIRST_USEC (100 * 1000)
#define RESTART_MAX_USEC   (30 * G_USEC_PER_SEC)

/* A logger that ran this long did not fail to start. */
#define GOOD_RUN_USEC (10 * G_USEC_PER_SEC)

typedef struct {
        LogSink *sink;
        GPtrArray *argv;
        char *environment[3];
        LoggerProcess process;
        int input[N_STREAMS]; /* the logger's ends of the pipes; -1: closed */
        LogRawOutput output;
        Timer restart;
        unsigned attempt;
        unsigned n_starts;
        gint64 started;
        bool finished; /* end of file follows the queued data */
        bool ended;    /* and was written */
} Binary;

typedef struct {
        const char *namespace;
} BinaryOptions;

static const LogOption options[] = {
        {"namespace", {VALUE_TEXT}, offsetof(BinaryOptions, namespace), "default",
         "value of CONTAINER_NAMESPACE in the logger's environment"},
        {""},
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

/* The number of bytes that the logger has not read. */
static int
count_unread(const Binary *self)
{
        int sum = 0;
        for (StreamId i = 0; i < N_STREAMS; i++) {
                int n = 0;
                if (self->input[i] >= 0 && ioctl(self->input[i], FIONREAD, &n) == 0)
                        sum += n;
        }
        return sum;
}

static const char *
binary_target(void *data)
{
        return g_ptr_array_index(((Binary *)data)->argv, 0);
}

static void on_process(LoggerProcess *p, bool ended, void *data);
static void start_process(void *data);

static void
binary_close(void *data)
{
        Binary *self = data;
        int unread = count_unread(self);
        if (unread > 0)
                diag_warn("The external logger %s has not read the last %d bytes", binary_target(self),
                          unread);
        timer_stop(&self->restart);
        log_raw_close(&self->output);
        for (StreamId i = 0; i < N_STREAMS; i++)
                fd_close(&self->input[i]);
        logger_process_stop(&self->process);
        g_ptr_array_unref(self->argv);
        g_free(self->environment[0]);
        g_free(self->environment[1]);
}

static gboolean
open_pipes(Binary *self, GError **error)
{
        for (StreamId i = 0; i < N_STREAMS; i++) {
                int fds[2];
                if (pipe2(fds, O_CLOEXEC) < 0)
                        return error_set_errno(error, errno, "Log driver binary: failed to create a pipe");
                self->input[i] = fds[0];
                log_raw_set(&self->output, i, fds[1]);
                (void)fd_set_nonblock(fds[1], true);
        }
        return TRUE;
}

static gboolean
binary_check(const LogDriverConfig *config, GError **error)
{
        g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
        if (parse_uri(argv, config->arg))
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log driver binary can't be given as binary:%s; it must be of the form "
                         "binary:///PATH?KEY=VALUE&KEY=VALUE",
                         config->arg ? config->arg : "");
}

static gboolean
prepare(Binary *self, GError **error)
{
        const char *path = g_ptr_array_index(self->argv, 0);
        if (access(path, X_OK) < 0)
                return error_set_errno(error, errno, "Log driver binary: the logger %s can't be executed",
                                       path);
        if (!logger_process_is_supported())
                return error_set(error, CONMON_ERROR_FAILED,
                                 "Log driver binary needs Linux 5.3 or newer: this kernel has no "
                                 "pidfd_open(2)");
        return open_pipes(self, error);
}

static void
init_process(Binary *self)
{
        timer_init(&self->restart, start_process, self);
        self->process = (LoggerProcess){
                .argv = (char **)self->argv->pdata,
                .environment = self->environment,
                .func = on_process,
                .data = self,
        };
}

static gboolean
binary_open(void *data, const LogDriverConfig *config, GError **error)
{
        Binary *self = data;
        const BinaryOptions *o = config->options;
        self->sink = config->sink;
        self->argv = g_ptr_array_new_with_free_func(g_free);
        self->input[STREAM_STDOUT] = self->input[STREAM_STDERR] = -1;
        log_raw_init(&self->output, config->sink);
        self->environment[0] = g_strconcat("CONTAINER_ID=", config->log->cid, NULL);
        self->environment[1] =
                g_strconcat("CONTAINER_NAMESPACE=", o->namespace, NULL);
        (void)parse_uri(self->argv, config->arg);
        init_process(self);
        return prepare(self, error);
}

/* ---- the process ---- */

static void
schedule_restart(Binary *self, const char *why)
{
        gint64 wait = MIN((gint64)RESTART_FIRST_USEC << MIN(self->attempt, 10u), RESTART_MAX_USEC);
        if (self->attempt++ == 0)
                diag_warn("The external logger %s %s; it is started again, after growing delays",
                          binary_target(self), why);
        timer_start(&self->restart, wait);
}

static void
start_process(void *data)
{
        Binary *self = data;
        timer_stop(&self->restart);
        self->started = g_get_monotonic_time();
        self->n_starts++;
        int r = logger_process_start(&self->process, self->input[STREAM_STDOUT], self->input[STREAM_STDERR]);
        if (r < 0) {
                g_autofree char *why = g_strdup_printf("could not be started (%s)", strerror(-r));
                schedule_restart(self, why);
        }
}

static void
on_process(LoggerProcess *p, bool ended, void *data)
{
        Binary *self = data;
        if (!ended)
                return;
        if (g_get_monotonic_time() - self->started >= GOOD_RUN_USEC)
                self->attempt = 0;
        if (self->ended && count_unread(self) == 0)
                log_sink_ready(self->sink);
        else
                schedule_restart(self, "has ended");
}

/* ---- output ---- */

/* The logger gets end of file. Its ends of the pipes are kept: if it dies, the next one continues reading. */
static void
end_output(Binary *self)
{
        self->ended = true;
        log_raw_close(&self->output);
}

static int
binary_send(void *data, LogQueue *q)
{
        Binary *self = data;
        if (self->ended)
                return 0;
        int r = log_raw_send(&self->output, q);
        if (r == 0 && self->finished)
                end_output(self);
        return r;
}

static void
binary_finish(void *data, LogQueue *q, gint64 until)
{
        Binary *self = data;
        self->finished = true;
        self->attempt = 0;
        /* It may not be running now, but the next one reads the data in the pipes. */
        if (self->process.pid == 0)
                start_process(self);
        if (log_queue_is_empty(q))
                end_output(self);
}

/* The logger may read the rest. */
static bool
binary_is_busy(void *data)
{
        Binary *self = data;
        return self->process.pid != 0 || count_unread(self) > 0;
}

static void
binary_status(void *data, GString *json)
{
        const Binary *self = data;
        g_string_append_printf(json, ",\"starts\":%u,\"pid\":%d,\"ready\":%s,\"unread\":%d", self->n_starts,
                               self->process.pid,
                               self->process.pid && self->process.ready_fd < 0 ? "true" : "false",
                               count_unread(self));
}

static void
binary_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const Binary *self = data;
        state_put_texts(w, "arguments", (char *const *)self->argv->pdata);
        state_put_texts(w, "environment", self->environment);
        logger_process_save(&self->process, w);
        for (StreamId i = 0; i < N_STREAMS; i++)
                state_put_fd(w, "input", self->input[i]);
        log_raw_save(&self->output, w);
        timer_save(&self->restart, w, "restart");
        state_put_uint(w, "attempt", self->attempt);
        state_put_uint(w, "starts", self->n_starts);
        state_put_int(w, "started", self->started);
}

static void
take_words(Binary *self, StateReader *r)
{
        g_auto(GStrv) arguments = state_get_texts(r, "arguments"),
                      environment = state_get_texts(r, "environment");
        self->argv = g_ptr_array_new_with_free_func(g_free);
        for (size_t i = 0; arguments[i]; i++)
                g_ptr_array_add(self->argv, g_strdup(arguments[i]));
        if (self->argv->len == 0 || g_strv_length(environment) != 2)
                state_fail(r, "The external logger has no program, or no environment");
        g_ptr_array_add(self->argv, NULL);
        for (size_t i = 0; i < 2 && environment[i]; i++)
                self->environment[i] = g_strdup(environment[i]);
}

static void
binary_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        Binary *self = data;
        self->sink = config->sink;
        take_words(self, r);
        init_process(self);
        logger_process_restore(&self->process, r);
        for (StreamId i = 0; i < N_STREAMS; i++)
                self->input[i] = state_get_fd(r, "input");
        log_raw_restore(&self->output, config->sink, r);
        timer_restore(&self->restart, r, "restart");
        self->attempt = (unsigned)state_get_uint(r, "attempt", UINT32_MAX);
        self->n_starts = (unsigned)state_get_uint(r, "starts", UINT32_MAX);
        self->started = state_get_int(r, "started", 0, INT64_MAX);
}

static const LogTransport transport = {
        .start = start_process,
        .send = binary_send,
        .finish = binary_finish,
        .busy = binary_is_busy,
        .status = binary_status,
        .target = binary_target,
        .close = binary_close,
};

const LogDriver log_driver_binary = {
        .name = "binary",
        .arg = "///PATH[?KEY=VALUE]",
        .help = "an external program with the interface of containerd's loggers",
        .options = {options, sizeof(BinaryOptions)},
        .flags = LOG_DRIVER_REMOTE,
        .size = sizeof(Binary),
        .format = {log_raw_put, log_raw_max_encoded_len},
        .transport = &transport,
        .check = binary_check,
        .open = binary_open,
        .save = binary_save,
        .restore = binary_restore,
};
