/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sink/options.h"

#include "base/error.h"
#include "log/api/metadata.h"
#include "log/sink/state.h"

typedef struct {
        int mode; /* SinkMode */
        bool mode_given;
        int on_full; /* OnFull */
        bool on_full_given;
        int64_t max_buffer_size;
        int64_t stall_timeout;
        int64_t drain_timeout;
} SinkOptions;

/* Options of Docker's local cache of remote logs. */
#define DOCKER_CACHE_OPTION(name)                                                                            \
        {                                                                                                    \
                "cache-" name, .no_effect = true,                                                            \
                .help = "the engine reads the log of -l",                                                    \
                .annotations = LOG_ANNOTATIONS_ALLOWED                                                       \
        }

#define SINK_OPTIONS(mode_default, mode_help)                                                                \
        {"mode", {VALUE_CHOICE, "blocking|non-blocking|adaptive"}, offsetof(SinkOptions, mode),              \
         mode_default, "whether the container waits while the queue is full" mode_help,                      \
         .given = offsetof(SinkOptions, mode_given), .annotations = LOG_ANNOTATIONS_ALLOWED},                \
        {"on-full", {VALUE_CHOICE, "drop-newest|drop-oldest|block"}, offsetof(SinkOptions, on_full),         \
         "drop-newest", "what to do when the queue is full",                                                 \
         .given = offsetof(SinkOptions, on_full_given), .annotations = LOG_ANNOTATIONS_ALLOWED},             \
        {"max-buffer-size", {VALUE_BINARY_SIZE, .min = 1024, .max = 1 << 30},                                \
         offsetof(SinkOptions, max_buffer_size), "1m", "maximum size of the queue",                          \
         .annotations = LOG_ANNOTATIONS_ALLOWED},                                                            \
        {"stall-timeout", {VALUE_DURATION, .min = 1000, .max = 60 * G_USEC_PER_SEC},                         \
         offsetof(SinkOptions, stall_timeout), "2s",                                                         \
         "mode=adaptive: how long the container waits for a destination without progress"},                  \
        {"drain-timeout", {VALUE_DURATION, .max = 12 * G_USEC_PER_SEC},                                      \
         offsetof(SinkOptions, drain_timeout), "2s",                                                         \
         "time limit for sending the rest of the queue at the end of the container"},                        \
        DOCKER_CACHE_OPTION("disabled"), DOCKER_CACHE_OPTION("max-size"), DOCKER_CACHE_OPTION("max-file"),   \
        DOCKER_CACHE_OPTION("compress"),                                                                     \
        {""}

static const LogOption usual_options[] = {
        SINK_OPTIONS("adaptive", "; adaptive: only while the destination makes progress"),
};
static const LogOption blocking_options[] = {
        SINK_OPTIONS("blocking", "; adaptive: only while the destination makes progress; by default not "
                                 "while sending fails"),
};

LogOptions *
log_sink_options(const LogDriver *driver)
{
        bool blocking = driver->flags & LOG_DRIVER_BLOCKING;
        const LogOptionTable tables[N_LOG_OPTIONS_OF] = {
                [LOG_OPTIONS_OF_DRIVER] = driver->options,
                [LOG_OPTIONS_OF_SINK] = {blocking ? blocking_options : usual_options, sizeof(SinkOptions)},
                [LOG_OPTIONS_OF_INTAKE] = *log_intake_options(),
        };
        return log_options_new(driver->name, tables, N_LOG_OPTIONS_OF);
}

/* on-full=block is an alias of mode=blocking. */
static SinkMode
read_mode(const LogOptions *given)
{
        const SinkOptions *o = log_options_values(given, LOG_OPTIONS_OF_SINK);
        if (o->on_full == ON_FULL_BLOCK && !o->mode_given)
                return MODE_BLOCKING;
        return (SinkMode)o->mode;
}

LogDriverConfig
sink_driver_config(LogSink *s, const LogSinkSetup *setup, const LogConfig *log)
{
        return (LogDriverConfig){
                .sink = s,
                .arg = setup->arg,
                .options = log_options_values(setup->options, LOG_OPTIONS_OF_DRIVER),
                .log = log,
                .from_log_path = setup->from_log_path,
        };
}

gboolean
log_sink_check(const LogSinkSetup *setup, const LogConfig *log, GError **error)
{
        static const char *const modes[] = {"blocking", "non-blocking", "adaptive"};
        static const char *const full[] = {"drop-newest", "drop-oldest", "block"};
        const LogDriver *driver = setup->driver;
        const SinkOptions *o = log_options_values(setup->options, LOG_OPTIONS_OF_SINK);
        LogDriverConfig config = sink_driver_config(NULL, setup, log);
        bool block = o->on_full == ON_FULL_BLOCK;
        if (o->mode_given && o->on_full_given && block != (o->mode == MODE_BLOCKING))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: mode=%s and on-full=%s contradict each other", driver->name,
                                 modes[o->mode], full[o->on_full]);
        if (driver->check && !driver->check(&config, error))
                return FALSE;
        return !(driver->flags & LOG_DRIVER_METADATA) || log_metadata_check_labels(log->labels, error);
}

void
sink_read_options(LogSink *s)
{
        const SinkOptions *o = log_options_values(s->options, LOG_OPTIONS_OF_SINK);
        s->mode = read_mode(s->options);
        s->on_full = (OnFull)o->on_full;
        s->block_on_error = o->mode_given || o->on_full_given;
        s->queue_max = (size_t)o->max_buffer_size;
        s->stall_timeout = o->stall_timeout;
        s->drain_timeout = o->drain_timeout;
}
