/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* The format of the Kubernetes container runtime interface, as podman logs and kubelets read it:
 * "TIME STREAM TAG CONTENT\n", TIME local with nine digits and numeric offset, TAG F or P (partial). */

#include "base/clock.h"
#include "base/error.h"
#include "log/api/driver.h"
#include "log/file/log_file.h"

#include <string.h>

/* "2026-11-21T20:41:05.490952399+00:00 stdout F " */
#define PREFIX_LEN (CLOCK_LOCAL_LEN + 10)

typedef struct {
        LogFile file;
        ClockFormatter clock;
        int64_t prefix_ns; /* the time in the prefix */
        char prefix[PREFIX_LEN];
} K8sFile;

typedef struct {
        LogFileOptions file;
} K8sOptions;

/* Options other than --log-opt apply to the file of -l. */
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
        const K8sOptions *o = config->options;
        LogFileLimits limits = command_line_limits(config);
        if (!config->arg || !*config->arg)
                return error_set(error, CONMON_ERROR_USAGE, "k8s-file requires a filename");
        return log_file_read_limits(config, &o->file, &limits, error);
}

static gboolean
k8s_open(void *data, const LogDriverConfig *config, GError **error)
{
        K8sFile *self = data;
        const K8sOptions *o = config->options;
        LogFileLimits limits = command_line_limits(config);
        if (!log_file_read_limits(config, &o->file, &limits, error))
                return FALSE;
        int r = log_file_open(&self->file, config->arg, &limits, config);
        return r == 0 || error_set(error, CONMON_ERROR_FAILED, "Failed to open log file %s", g_strerror(-r));
}

static void
k8s_adopt(void *data, const LogDriverConfig *config)
{
        K8sFile *self = data;
        const K8sOptions *o = config->options;
        LogFileLimits limits = command_line_limits(config);
        if (log_file_read_limits(config, &o->file, &limits, NULL))
                log_file_set_limits(&self->file, &limits);
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
k8s_max_encoded_len(void *data, size_t len)
{
        return PREFIX_LEN + len + 1;
}

static void
k8s_save(void *data, const LogQueue *queue, StateWriter *w)
{
        log_file_save(&((const K8sFile *)data)->file, w);
}

static void
k8s_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        log_file_restore(&((K8sFile *)data)->file, config->sink, r);
}

static const LogOption options[] = {LOG_FILE_OPTIONS(K8sOptions, file), {""}};

const LogDriver log_driver_k8s_file = {
        .name = "k8s-file",
        .arg = "PATH",
        .help = "a file in the format of the Kubernetes container runtime interface",
        .options = {options, sizeof(K8sOptions)},
        .size = sizeof(K8sFile),
        .format = {.encode = k8s_encode, .max_encoded_len = k8s_max_encoded_len},
        .transport = &log_file_transport,
        .check = k8s_check,
        .open = k8s_open,
        .adopt = k8s_adopt,
        .save = k8s_save,
        .restore = k8s_restore,
};
