/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sink/status.h"

#include "base/json.h"

#include <errno.h>
#include <string.h>

const char *
sink_target(const LogSink *s)
{
        return s->transport->target ? s->transport->target(s->self) : s->driver->name;
}

char *
sink_describe_error(const LogSink *s, int r)
{
        const char *reason = s->transport->reason ? s->transport->reason(s->self) : NULL;
        /* ENXIO is the error for a FIFO without a reader, and not self-explanatory. */
        return g_strdup(reason ? reason : r == -ENXIO ? "it has no reader" : g_strerror(-r));
}

static void
append_errors(const LogSink *s, GString *json)
{
        g_string_append_printf(json, "\"errors\":{\"count\":%" G_GUINT64_FORMAT ",\"last\":", s->n_errors);
        if (s->last_error)
                json_append_string(json, s->last_error, strlen(s->last_error));
        else
                g_string_append(json, "null");
        g_string_append_c(json, '}');
}

void
log_sink_status(const LogSink *s, GString *json)
{
        static const char *const conditions[] = {
                [SINK_OK] = "ok",           [SINK_CONNECTING] = "waiting", [SINK_WAITING] = "waiting",
                [SINK_STALLED] = "waiting", [SINK_FAILING] = "failing",    [SINK_ENDED] = "ended",
        };
        const char *target = sink_target(s), *name = log_sink_name(s);
        g_string_append_printf(json, "{\"driver\":\"%s\",\"name\":", s->driver->name);
        json_append_string(json, name, strlen(name));
        g_string_append(json, ",\"target\":");
        json_append_string(json, target, strlen(target));
        g_string_append_printf(json, ",\"state\":\"%s\",", conditions[s->condition]);
        log_count_status("in", s->in, json);
        g_string_append_c(json, ',');
        log_count_status("out", s->queue.done, json);
        g_string_append_c(json, ',');
        log_count_status("sent", log_queue_sent_count(&s->queue), json);
        g_string_append_c(json, ',');
        log_losses_status(&s->losses, json);
        g_string_append_c(json, ',');
        log_count_status("queued", log_queue_queued(&s->queue), json);
        g_string_append_printf(json,
                               ",\"queue\":{\"bytes\":%zu,\"max\":%zu},\"markers\":%" G_GUINT64_FORMAT ",",
                               log_queue_memory(&s->queue), s->queue_max, s->n_markers);
        append_errors(s, json);
        if (s->transport->status)
                s->transport->status(s->self, json);
        g_string_append_c(json, '}');
}
