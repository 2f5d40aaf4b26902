/* The monitor's own standard output and error. Usually the container gets them itself, and nothing passes
 * through the monitor; with tee=yes the monitor writes to them, beside other logs. */

#include "base/error.h"
#include "log/raw_output.h"

#include <unistd.h>

static const LogOption options[] = {
        {"mode", LOG_OPTION_ENUM, "blocking",
         "whether the container waits while the queue is full; by default not for a reader that is gone",
         .choices = "blocking|non-blocking"},
        {"tee", LOG_OPTION_BOOL, "no",
         "whether output goes through the monitor, so that other logs get it, too"},
        {NULL},
};

static bool
passthrough_has_sink(const LogOptions *o)
{
        return log_options_number(o, "tee") != 0;
}

static void
passthrough_close(void *data)
{
        log_raw_close(data);
        g_free(data);
}

static void *
passthrough_open(const LogDriverConfig *config, GError **error)
{
        LogRawOutput *self = g_new0(LogRawOutput, 1);
        log_raw_init(self, config->sink);
        int r = log_raw_share(self, STREAM_STDOUT, STDOUT_FILENO);
        if (r == 0)
                r = log_raw_share(self, STREAM_STDERR, STDERR_FILENO);
        if (r == 0)
                return self;
        error_set_errno(error, r, "Log driver passthrough: failed to take over standard output and error");
        passthrough_close(self);
        return NULL;
}

static int
passthrough_send(void *data, LogQueue *q)
{
        return log_raw_send(data, q);
}

const LogDriver log_driver_passthrough = {
        .name = "passthrough",
        .help = "the container writes to the monitor's own standard output and error",
        .options = options,
        .has_sink = passthrough_has_sink,
        .open = passthrough_open,
        .encode = log_raw_encode,
        .bound = log_raw_bound,
        .send = passthrough_send,
        .close = passthrough_close,
};
