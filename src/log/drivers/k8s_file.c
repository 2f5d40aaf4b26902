/* The format of the Kubernetes container runtime interface, as podman logs and kubelets read it:
 * "TIME STREAM TAG CONTENT\n", TIME local with nine digits and numeric offset, TAG F or P (partial). */

#include "base/clock.h"
#include "base/error.h"
#include "log/driver.h"
#include "log/log_file.h"

#include <string.h>

/* "2026-11-21T20:41:05.490952399+00:00 stdout F " */
#define PREFIX_LEN (CLOCK_LOCAL_LEN + 10)

typedef struct {
        LogFile file;
        ClockFormatter clock;
        int64_t prefix_ns; /* the time in the prefix */
        char prefix[PREFIX_LEN];
} K8sFile;

/* What is said without --log-opt is for the file of -l. */
static LogFileLimits
command_line_limits(const LogDriverConfig *config)
{
        const LogConfig *log = config->log;
        if (!config->from_log_path)
                return (LogFileLimits){0};
        return (LogFileLimits){
                .size_max = log->size_max,
                .global_max = log->global_max,
                .backups = log->rotate ? log->max_files : 0,
        };
}

static gboolean
k8s_check(const LogDriverConfig *config, GError **error)
{
        LogFileLimits limits = command_line_limits(config);
        if (!config->arg || !*config->arg)
                return error_set(error, CONMON_ERROR_USAGE, "k8s-file requires a filename");
        return log_file_read_limits(config, &limits, error);
}

static void *
k8s_open(const LogDriverConfig *config, GError **error)
{
        LogFileLimits limits = command_line_limits(config);
        if (!log_file_read_limits(config, &limits, error))
                return NULL;
        K8sFile *self = g_new0(K8sFile, 1);
        int r = log_file_open(&self->file, config->arg, &limits, config->sink);
        if (r == 0)
                return self;
        error_set(error, CONMON_ERROR_FAILED, "Failed to open log file %s", g_strerror(-r));
        g_free(self);
        return NULL;
}

static void
k8s_close(void *data)
{
        K8sFile *self = data;
        log_file_close(&self->file);
        g_free(self);
}

static void
make_prefix(K8sFile *self, const LogRecord *r)
{
        if (self->prefix_ns != r->time_ns || self->prefix[0] == '\0')
                clock_format_local(&self->clock, r->time_ns, self->prefix);
        self->prefix_ns = r->time_ns;
        memcpy(self->prefix + CLOCK_LOCAL_LEN, r->stream == STREAM_STDOUT ? " stdout F " : " stderr F ", 10);
}

static size_t
k8s_encode(void *data, const LogRecord *records, size_t n, LogBlock *block)
{
        K8sFile *self = data;
        make_prefix(self, records);
        char prefix[PREFIX_LEN];
        memcpy(prefix, self->prefix, sizeof prefix);
        for (size_t i = 0; i < n; i++) {
                const LogRecord *r = &records[i];
                size_t len = PREFIX_LEN + r->len + 1;
                char *at = log_block_room(block, len);
                if (!at || r->time_ns != self->prefix_ns)
                        return i;
                memcpy(at, prefix, PREFIX_LEN);
                if (r->flags & LOG_RECORD_PARTIAL)
                        at[PREFIX_LEN - 2] = 'P';
                memcpy(at + PREFIX_LEN, r->bytes, r->len);
                at[len - 1] = '\n';
                log_block_add(block, len, r);
        }
        return n;
}

static size_t
k8s_bound(void *data, size_t len)
{
        return PREFIX_LEN + len + 1;
}

static void
k8s_start(void *data)
{
        log_file_start(&((K8sFile *)data)->file);
}

static int
k8s_send(void *data, LogQueue *queue)
{
        return log_file_send(&((K8sFile *)data)->file, queue);
}

static int
k8s_reopen(void *data, LogQueue *queue)
{
        return log_file_reopen(&((K8sFile *)data)->file, queue);
}

static void
k8s_finish(void *data, LogQueue *queue, bool sync)
{
        log_file_finish(&((K8sFile *)data)->file, queue, sync);
}

static const char *
k8s_target(void *data)
{
        return ((K8sFile *)data)->file.path;
}

static const LogOption options[] = {LOG_FILE_OPTIONS, {NULL}};

const LogDriver log_driver_k8s_file = {
        .name = "k8s-file",
        .arg = "PATH",
        .help = "a file in the format of the Kubernetes container runtime interface",
        .options = options,
        .check = k8s_check,
        .open = k8s_open,
        .start = k8s_start,
        .encode = k8s_encode,
        .bound = k8s_bound,
        .send = k8s_send,
        .reopen = k8s_reopen,
        .finish = k8s_finish,
        .target = k8s_target,
        .close = k8s_close,
};
