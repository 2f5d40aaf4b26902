/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Docker's logging plugins (https://docs.docker.com/engine/extend/plugins_logging/), which run somewhere
 * else: the plugin gets the path of a FIFO, and reads records from it, each a protocol buffer with its length
 * in front. A plugin that was restarted gets a new FIFO as soon as it answers.
 *
 *     message LogEntry { string source = 1; int64 time_nano = 2; bytes line = 3; bool partial = 4;
 *                        Partial partial_log_metadata = 5; }
 *     message Partial { bool last = 1; string id = 2; int32 ordinal = 3; } */

#include "base/error.h"
#include "base/json.h"
#include "base/protobuf.h"
#include "log/api/secret.h"
#include "log/drivers/plugin/control.h"
#include "log/drivers/plugin/discovery.h"
#include "log/drivers/plugin/fifo.h"
#include "log/drivers/plugin/info.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LENGTH_LEN  4
#define ID_LEN      16
#define PARTIAL_MAX 64 /* partial and partial_log_metadata */

typedef enum {
        STATE_IDLE,       /* no request yet */
        STATE_ACTIVATING, /* asked what the plugin is, */
        STATE_ASKING,     /* for its capabilities, */
        STATE_STARTING,   /* and to read the FIFO */
        STATE_LOGGING,
        STATE_STOPPING, /* asked to leave the FIFO */
        STATE_STOPPED,
} State;

typedef struct {
        LogSink *sink;
        char *name;
        char *target; /* for messages */
        char *info;   /* of the container; a secret */
        State state;
        PluginControl control;
        PluginFifo fifo;
        bool read_logs; /* a capability */
        unsigned n_starts;
        bool finished;
        char *reason; /* why the last send failed; NULL: errno has it */
} LogPlugin;

typedef struct {
        const char *const *options;
} PluginOptions;

static gboolean
check_option(const char *driver, const char *text, GError **error)
{
        return (strchr(text, '=') && *text != '=') ||
               error_set(error, CONMON_ERROR_USAGE,
                         "Log driver plugin: option plugin-opt can't be '%s'; allowed: KEY=VALUE", text);
}

static const LogOption options[] = {
        {"plugin-opt",
         {VALUE_TEXT},
         offsetof(PluginOptions, options),
         "",
         "KEY=VALUE, an option of the plugin's own",
         .repeats = true,
         .check = LOG_CHECK_FIRST},
        {""},
};

/* ---- opening ---- */

static gboolean
plugin_check(const LogDriverConfig *config, GError **error)
{
        return plugin_is_name(config->arg) || error_set(error, CONMON_ERROR_USAGE,
                                                        "Log driver plugin can't be given as plugin:%s; it "
                                                        "must be plugin:NAME, with letters, digits, "
                                                        "'.', '_' and '-' in the name",
                                                        config->arg ? config->arg : "");
}

static gboolean
plugin_open(void *data, const LogDriverConfig *config, GError **error)
{
        LogPlugin *self = data;
        const PluginOptions *o = config->options;
        self->sink = config->sink;
        self->name = g_strdup(config->arg);
        self->target = g_strconcat("the plugin ", config->arg, NULL);
        plugin_control_init(&self->control, self->sink);
        plugin_fifo_init(&self->fifo, self->sink);
        secret_protect();
        self->info = plugin_info(config->log, o->options, error);
        return self->info != NULL;
}

static void
plugin_close(void *data)
{
        LogPlugin *self = data;
        LogQueue nothing = {0};
        if (!self->name)
                return;
        plugin_fifo_remove(&self->fifo, &nothing);
        plugin_control_close(&self->control);
        secret_free(self->info);
        g_free(self->name);
        g_free(self->target);
        g_free(self->reason);
}

/* ---- encoding ---- */

static size_t
plugin_max_encoded_len(void *data, size_t len)
{
        /* The length, the head of source, a longest time, the head of the line. */
        return LENGTH_LEN + PROTOBUF_HEAD_MAX + strlen("stdout") + 1 + PROTOBUF_VARINT_MAX +
               PROTOBUF_HEAD_MAX + len + PARTIAL_MAX;
}

static char *
put_partial(const LogRecord *r, char *at)
{
        char id[ID_LEN + 1], body[PARTIAL_MAX], *end = body;
        (void)snprintf(id, sizeof id, "%016" G_GINT64_MODIFIER "x", r->partial_id);
        if (log_record_is_last(r))
                end = protobuf_put_number(end, 1, 1);
        end = protobuf_put_bytes(end, 2, id, ID_LEN);
        end = protobuf_put_number(end, 3, r->ordinal);
        at = protobuf_put_number(at, 4, 1);
        return protobuf_put_bytes(at, 5, body, (size_t)(end - body));
}

static char *
plugin_put(void *data, const LogRecord *r, char *at)
{
        const char *source = stream_name(r->stream);
        char *end = protobuf_put_bytes(at + LENGTH_LEN, 1, source, strlen(source));
        end = protobuf_put_number(end, 2, (uint64_t)r->time_ns);
        end = protobuf_put_bytes(end, 3, r->bytes, r->len);
        if (r->ordinal > 0)
                end = put_partial(r, end);
        uint32_t len = GUINT32_TO_BE((uint32_t)(end - at - LENGTH_LEN));
        memcpy(at, &len, LENGTH_LEN);
        return end;
}

/* ---- answers of the plugin ---- */

typedef struct {
        char *error;
        bool is_log_driver;
        bool read_logs;
} Answer;

static bool
is_member(const JsonValue *value, const char *first, const char *second)
{
        return value->depth == (second ? 2 : 1) && strcmp(value->path[0], first) == 0 &&
               (!second || strcmp(value->path[1], second) == 0);
}

static bool
is_text(const JsonValue *value, const char *text)
{
        return value->kind == JSON_STRING && value->len == strlen(text) &&
               memcmp(value->text, text, value->len) == 0;
}

/* Some plugins call themselves LoggingDriver. */
static void
take_value(const JsonValue *value, void *data)
{
        Answer *a = data;
        if (is_member(value, "Err", NULL) && value->kind == JSON_STRING && value->len > 0 && !a->error)
                a->error = http_printable(value->text, value->len);
        else if (is_member(value, "Implements", ""))
                a->is_log_driver |= is_text(value, "LogDriver") || is_text(value, "LoggingDriver");
        else if (is_member(value, "Cap", "ReadLogs"))
                a->read_logs = value->kind == JSON_TRUE;
}

G_GNUC_PRINTF(3, 4)
static int
fail(LogPlugin *self, int r, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        g_free(self->reason);
        self->reason = g_strdup_vprintf(format, args);
        va_end(args);
        return r;
}

/* Returns 0, LOG_SEND_WAIT until there is an answer to the request `what`, or -errno. */
static int
take_answer(LogPlugin *self, const char *what, Answer *ret)
{
        PluginControl *c = &self->control;
        g_autoptr(GError) error = NULL;
        int r = plugin_control_run(c);
        if (r < 0)
                return fail(self, r, "%s: %s", what, c->reason ? c->reason : g_strerror(-r));
        if (r != 0)
                return r;
        const GString *body = c->answer.body;
        if (body && !json_read(body->str, body->len, take_value, ret, &error) && c->answer.status == 200)
                return fail(self, -EBADMSG, "%s: its answer can't be read: %s", what, error->message);
        if (ret->error)
                return fail(self, -EREMOTEIO, "%s: it says: %s", what, ret->error);
        if (c->answer.status != 200)
                return fail(self, -EREMOTEIO, "%s: it answers with status %d", what, c->answer.status);
        return 0;
}

/* ---- requests ---- */

static int
find(LogPlugin *self)
{
        LogAddress address;
        g_autoptr(GError) error = NULL;
        if (!plugin_find(self->name, &address, &error))
                return fail(self, -ENOENT, "%s", error->message);
        plugin_control_set_address(&self->control, &address);
        return 0;
}

static int
start_activation(LogPlugin *self)
{
        int r = find(self);
        if (r < 0)
                return r;
        plugin_control_ask(&self->control, "/Plugin.Activate", "");
        self->state = STATE_ACTIVATING;
        return 0;
}

static int
finish_activation(LogPlugin *self, const Answer *a)
{
        if (!a->is_log_driver)
                return fail(self, -EPROTO, "it is no plugin for logs");
        plugin_control_ask(&self->control, "/LogDriver.Capabilities", "");
        self->state = STATE_ASKING;
        return 0;
}

static void
ask_about_fifo(LogPlugin *self, const char *path, bool with_info)
{
        g_autoptr(GString) body = g_string_new("{\"File\":");
        json_append_string(body, self->fifo.path, strlen(self->fifo.path));
        if (with_info)
                g_string_append_printf(body, ",\"Info\":%s", self->info);
        g_string_append_c(body, '}');
        plugin_control_ask(&self->control, path, body->str);
}

static int
start_logging(LogPlugin *self, const Answer *a)
{
        g_autofree char *dir = plugin_run_dir("logging");
        self->read_logs = a->read_logs;
        int r = dir ? plugin_fifo_make(&self->fifo, dir) : -ENOENT;
        if (r < 0)
                return fail(self, r, "failed to create a FIFO in %s: %s", dir ? dir : "$XDG_RUNTIME_DIR",
                            g_strerror(-r));
        ask_about_fifo(self, "/LogDriver.StartLogging", true);
        self->state = STATE_STARTING;
        return 0;
}

static int
finish_start(LogPlugin *self)
{
        plugin_control_forget(&self->control);
        plugin_fifo_announced(&self->fifo);
        self->n_starts++;
        self->state = STATE_LOGGING;
        return 0;
}

/* The plugin has read everything, or is gone, in which case there is nothing to stop. */
static void
start_stopping(LogPlugin *self)
{
        if (self->fifo.reader_gone || find(self) < 0) {
                self->state = STATE_STOPPED;
                return;
        }
        ask_about_fifo(self, "/LogDriver.StopLogging", false);
        self->state = STATE_STOPPING;
}

static int
log_records(LogPlugin *self, LogQueue *q)
{
        int r = plugin_fifo_send(&self->fifo, q);
        if (r < 0)
                return fail(self, r, "it does not read any more");
        if (r == 0 && self->finished)
                start_stopping(self);
        return self->state == STATE_STOPPING ? 0 : r;
}

/* The answer does not matter. */
static int
finish_stopping(LogPlugin *self)
{
        int r = plugin_control_run(&self->control);
        if (r == LOG_SEND_WAIT)
                return r;
        plugin_control_forget(&self->control);
        self->state = STATE_STOPPED;
        return 0;
}

/* One step. Returns 0, LOG_SEND_WAIT or -errno. */
static int
take_step(LogPlugin *self, LogQueue *q)
{
        static const char *const requests[] = {
                [STATE_ACTIVATING] = "/Plugin.Activate",
                [STATE_ASKING] = "/LogDriver.Capabilities",
                [STATE_STARTING] = "/LogDriver.StartLogging",
        };
        Answer a = {0};
        int r = 0;
        switch (self->state) {
        case STATE_IDLE:
                return start_activation(self);
        case STATE_LOGGING:
                return log_records(self, q);
        case STATE_STOPPING:
                return finish_stopping(self);
        case STATE_STOPPED:
                return 0;
        default:
                r = take_answer(self, requests[self->state], &a);
        }
        g_free(a.error);
        /* Plugins may not support capabilities. */
        if (r < 0 && self->state == STATE_ASKING)
                r = 0;
        if (r != 0)
                return r;
        return self->state == STATE_ACTIVATING ? finish_activation(self, &a)
               : self->state == STATE_ASKING   ? start_logging(self, &a)
                                               : finish_start(self);
}

/* Runs until it has to wait, fails, or is done. */
static int
take_steps(LogPlugin *self, LogQueue *q)
{
        State before;
        int r;
        do {
                before = self->state;
                r = take_step(self, q);
        } while (r == 0 && self->state != before);
        return r;
}

static int
plugin_send(void *data, LogQueue *q)
{
        LogPlugin *self = data;
        g_clear_pointer(&self->reason, g_free);
        if (self->finished && self->state == STATE_IDLE && log_queue_is_empty(q))
                self->state = STATE_STOPPED;
        int r = take_steps(self, q);
        if (r >= 0)
                return r;
        plugin_control_forget(&self->control);
        plugin_fifo_remove(&self->fifo, q);
        self->state = STATE_IDLE;
        /* A missing plugin is a failure if there are records for it. */
        return log_queue_is_empty(q) ? 0 : r;
}

/* Logging starts with the container, not with its first output. */
static void
plugin_start(void *data)
{
        LogPlugin *self = data;
        log_sink_ready(self->sink);
}

static void
plugin_finish(void *data, LogQueue *q, gint64 until)
{
        LogPlugin *self = data;
        self->finished = true;
        (void)plugin_send(self, q);
}

static bool
plugin_is_busy(void *data)
{
        const LogPlugin *self = data;
        return self->state != STATE_IDLE && self->state != STATE_STOPPED;
}

static uint64_t
plugin_taken(void *data)
{
        const LogPlugin *self = data;
        return self->fifo.written - (uint64_t)plugin_fifo_unread(&self->fifo);
}

static void
plugin_status(void *data, GString *json)
{
        const LogPlugin *self = data;
        g_string_append_printf(json, ",\"starts\":%u,\"read_logs\":%s,\"unread\":%d", self->n_starts,
                               self->read_logs ? "true" : "false", plugin_fifo_unread(&self->fifo));
}

static const char *
plugin_target(void *data)
{
        return ((LogPlugin *)data)->target;
}

static const char *
plugin_reason(void *data)
{
        return ((LogPlugin *)data)->reason;
}

/* ---- live upgrade ---- */

/* The pending request must be answered first: otherwise it is unknown whether the plugin has the FIFO. */
static void
plugin_save(void *data, const LogQueue *queue, StateWriter *w)
{
        const LogPlugin *self = data;
        if (self->state != STATE_IDLE && self->state != STATE_LOGGING)
                state_refuse(w, "%s has not answered yet", self->target);
        state_put_text(w, "name", self->name);
        state_put_text(w, "info", self->info);
        state_put_uint(w, "logging", self->state == STATE_LOGGING);
        state_put_uint(w, "read-logs", self->read_logs);
        state_put_uint(w, "starts", self->n_starts);
        plugin_fifo_save(&self->fifo, w);
}

static void
plugin_restore(void *data, const LogDriverConfig *config, const LogQueue *queue, StateReader *r)
{
        LogPlugin *self = data;
        self->sink = config->sink;
        self->name = state_get_text(r, "name");
        self->target = g_strconcat("the plugin ", self->name, NULL);
        self->info = state_get_text(r, "info");
        self->state = state_get_bool(r, "logging") ? STATE_LOGGING : STATE_IDLE;
        self->read_logs = state_get_bool(r, "read-logs");
        self->n_starts = (unsigned)state_get_uint(r, "starts", UINT32_MAX);
        plugin_control_init(&self->control, self->sink);
        plugin_fifo_restore(&self->fifo, self->sink, r);
        if (!self->name || !self->info || (self->state == STATE_LOGGING && !self->fifo.path))
                state_fail(r, "a plugin without a name, information or FIFO");
}

static const LogTransport transport = {
        .start = plugin_start,
        .send = plugin_send,
        .finish = plugin_finish,
        .busy = plugin_is_busy,
        .taken = plugin_taken,
        .status = plugin_status,
        .target = plugin_target,
        .reason = plugin_reason,
        .close = plugin_close,
};

const LogDriver log_driver_plugin = {
        .name = "plugin",
        .arg = "NAME",
        .help = "a Docker logging plugin",
        .options = {options, sizeof(PluginOptions), {check_option}},
        .flags = LOG_DRIVER_REMOTE | LOG_DRIVER_WHOLE_LINES,
        .size = sizeof(LogPlugin),
        .format = {plugin_put, plugin_max_encoded_len},
        .transport = &transport,
        .check = plugin_check,
        .open = plugin_open,
        .save = plugin_save,
        .restore = plugin_restore,
};
