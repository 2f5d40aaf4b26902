/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* The monitor's own standard output and error. By default the container inherits them, and nothing passes
 * through the monitor; with tee=true the monitor writes to them, in addition to other logs. */

#include "base/error.h"
#include "log/pipe/raw_output.h"

#include <unistd.h>

typedef struct {
        bool tee;
} PassthroughOptions;

static const LogOption options[] = {
        {"tee", {VALUE_BOOL}, offsetof(PassthroughOptions, tee), "false",
         "whether the monitor passes the output on, so that other drivers get it, too"},
        {""},
};

static bool
passthrough_has_sink(const void *options_given)
{
        return ((const PassthroughOptions *)options_given)->tee;
}

static gboolean
passthrough_open(void *self, const LogDriverConfig *config, GError **error)
{
        log_raw_init(self, config->sink);
        int r = log_raw_share(self, STREAM_STDOUT, STDOUT_FILENO);
        if (r == 0)
                r = log_raw_share(self, STREAM_STDERR, STDERR_FILENO);
        return r == 0 || error_set_errno(error, r,
                                         "Log driver passthrough: failed to take over standard output and "
                                         "error");
}

static void
passthrough_save(void *self, const LogQueue *queue, StateWriter *w)
{
        log_raw_save(self, w);
}

static void
passthrough_restore(void *self, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        log_raw_restore(self, config->sink, r);
}

const LogDriver log_driver_passthrough = {
        .name = "passthrough",
        .help = "the container writes directly to the monitor's stdout and stderr",
        .options = {options, sizeof(PassthroughOptions)},
        .flags = LOG_DRIVER_BLOCKING,
        .size = sizeof(LogRawOutput),
        .format = {log_raw_put, log_raw_max_encoded_len},
        .transport = &log_raw_transport,
        .has_sink = passthrough_has_sink,
        .open = passthrough_open,
        .save = passthrough_save,
        .restore = passthrough_restore,
};
