/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "conmonctl/metrics.h"

#include "conmonctl/monitor_info.h"

#include <stdbool.h>
#include <string.h>

/* The value of a label must be UTF-8; backslashes, quotation marks and newlines are escaped. */
static void
append_label(GString *out, const char *name, const char *value)
{
        g_autofree char *valid = g_utf8_make_valid(value ? value : "", -1);
        if (out->str[out->len - 1] != '{')
                g_string_append_c(out, ',');
        g_string_append_printf(out, "%s=\"", name);
        for (const char *at = valid; *at; at++) {
                if (*at == '\n')
                        g_string_append(out, "\\n");
                else if (*at == '\\' || *at == '"')
                        g_string_append_printf(out, "\\%c", *at);
                else
                        g_string_append_c(out, *at);
        }
        g_string_append_c(out, '"');
}

static void
begin_sample(const char *family, const MonitorInfo *m, GString *out)
{
        g_string_append_printf(out, "%s{", family);
        append_label(out, "container", m->cid);
        append_label(out, "name", m->name);
}

static void
begin_family(const char *family, const char *type, const char *help, GString *out)
{
        g_string_append_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family, help, family, type);
}

/* ---- one sample per monitor ---- */

/* Returns false if the monitor has no such value. */
typedef bool (*MonitorFunc)(const MonitorInfo *m, double *ret);

static bool
up(const MonitorInfo *m, double *ret)
{
        *ret = m->status ? 1 : 0;
        return true;
}

static bool
start_time(const MonitorInfo *m, double *ret)
{
        *ret = (double)m->started_usec / G_USEC_PER_SEC;
        return true;
}

static bool
memory(const MonitorInfo *m, double *ret)
{
        *ret = (double)m->memory;
        return m->memory >= 0;
}

static bool
outdated(const MonitorInfo *m, double *ret)
{
        *ret = m->outdated ? 1 : 0;
        return true;
}

static const struct {
        const char *name, *help;
        MonitorFunc func;
} monitor_families[] = {
        {"conmon_monitor_up", "Whether the monitor answered a request for its status.", up},
        {"conmon_monitor_start_time_seconds", "When the monitor was started, since 1970-01-01.", start_time},
        {"conmon_monitor_private_memory_bytes", "Private dirty memory of the monitor.", memory},
        {"conmon_monitor_outdated", "Whether the program that the monitor runs has been replaced.", outdated},
};

/* ---- one sample per sink ---- */

static uint64_t
records_in(const SinkStatus *s)
{
        return s->in.records;
}

static uint64_t
bytes_in(const SinkStatus *s)
{
        return s->in.bytes;
}

static uint64_t
records_out(const SinkStatus *s)
{
        return s->out.records;
}

static uint64_t
bytes_out(const SinkStatus *s)
{
        return s->out.bytes;
}

static uint64_t
errors(const SinkStatus *s)
{
        return s->errors;
}

static uint64_t
queued(const SinkStatus *s)
{
        return s->queued.records;
}

static uint64_t
queue_bytes(const SinkStatus *s)
{
        return s->queue_bytes;
}

static uint64_t
queue_max(const SinkStatus *s)
{
        return s->queue_max;
}

static uint64_t
failing(const SinkStatus *s)
{
        return strcmp(s->state, "failing") == 0;
}

static const struct {
        const char *name, *type, *help;
        uint64_t (*func)(const SinkStatus *s);
} sink_families[] = {
        {"conmon_log_records_total", "counter", "Records for this destination.", records_in},
        {"conmon_log_bytes_total", "counter", "Bytes of the container in these records.", bytes_in},
        {"conmon_log_delivered_records_total", "counter", "Records that were delivered.", records_out},
        {"conmon_log_delivered_bytes_total", "counter", "Bytes of the container in these records.",
         bytes_out},
        {"conmon_log_errors_total", "counter", "Failures of the destination.", errors},
        {"conmon_log_queue_records", "gauge", "Records waiting for delivery.", queued},
        {"conmon_log_queue_bytes", "gauge", "Memory of the queue that is in use.", queue_bytes},
        {"conmon_log_queue_max_bytes", "gauge", "Limit of the memory of the queue.", queue_max},
        {"conmon_log_failing", "gauge", "Whether the destination is failing.", failing},
};

/* Two sinks with the same driver need different labels. */
static char *
sink_label(const MonitorStatus *status, guint index)
{
        const SinkStatus *s = g_ptr_array_index(status->sinks, index);
        const char *name = s->name ? s->name : s->driver;
        guint before = 0;
        for (guint i = 0; i < index; i++) {
                const SinkStatus *other = g_ptr_array_index(status->sinks, i);
                before += strcmp(other->name ? other->name : other->driver, name) == 0;
        }
        return before > 0 ? g_strdup_printf("%s#%u", name, before + 1) : g_strdup(name);
}

static void
begin_sink_sample(const char *family, const MonitorInfo *m, guint index, GString *out)
{
        const SinkStatus *s = g_ptr_array_index(m->status->sinks, index);
        g_autofree char *label = sink_label(m->status, index);
        begin_sample(family, m, out);
        append_label(out, "driver", s->driver);
        append_label(out, "sink", label);
}

static void
append_sink_family(const GPtrArray *monitors, size_t family, GString *out)
{
        const char *name = sink_families[family].name;
        begin_family(name, sink_families[family].type, sink_families[family].help, out);
        for (guint i = 0; i < monitors->len; i++) {
                const MonitorInfo *m = g_ptr_array_index(monitors, i);
                for (guint k = 0; m->status && k < m->status->sinks->len; k++) {
                        begin_sink_sample(name, m, k, out);
                        g_string_append_printf(
                                out, "} %" G_GUINT64_FORMAT "\n",
                                sink_families[family].func(g_ptr_array_index(m->status->sinks, k)));
                }
        }
}

/* ---- one sample per sink and cause ---- */

static void
append_drops(const GPtrArray *monitors, const char *family, const char *help, bool bytes, GString *out)
{
        begin_family(family, "counter", help, out);
        for (guint i = 0; i < monitors->len; i++) {
                const MonitorInfo *m = g_ptr_array_index(monitors, i);
                for (guint k = 0; m->status && k < m->status->sinks->len; k++) {
                        const SinkStatus *s = g_ptr_array_index(m->status->sinks, k);
                        for (guint d = 0; d < s->drops->len; d++) {
                                const DropCount *drop = &g_array_index(s->drops, DropCount, d);
                                begin_sink_sample(family, m, k, out);
                                append_label(out, "cause", drop->cause);
                                g_string_append_printf(out, "} %" G_GUINT64_FORMAT "\n",
                                                       bytes ? drop->count.bytes : drop->count.records);
                        }
                }
        }
}

static void
append_monitor_family(const GPtrArray *monitors, size_t family, GString *out)
{
        const char *name = monitor_families[family].name;
        begin_family(name, "gauge", monitor_families[family].help, out);
        for (guint i = 0; i < monitors->len; i++) {
                const MonitorInfo *m = g_ptr_array_index(monitors, i);
                double value = 0;
                if (!monitor_families[family].func(m, &value))
                        continue;
                begin_sample(name, m, out);
                g_string_append_printf(out, "} %.17g\n", value);
        }
}

/* Samples of one family must be unique, and an engine may start two monitors for one container while it
 * restarts it. */
static GPtrArray *
unique_containers(const GPtrArray *monitors)
{
        GPtrArray *unique = g_ptr_array_new();
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
        for (guint i = 0; i < monitors->len; i++) {
                MonitorInfo *m = g_ptr_array_index(monitors, i);
                if (!m->exec && g_hash_table_add(seen, m->cid))
                        g_ptr_array_add(unique, m);
        }
        return unique;
}

void
metrics_format(const GPtrArray *monitors, GString *out)
{
        g_autoptr(GPtrArray) containers = unique_containers(monitors);
        begin_family("conmon_monitors", "gauge", "Monitors of this host, including those of exec sessions.",
                     out);
        g_string_append_printf(out, "conmon_monitors %u\n", monitors->len);
        for (size_t i = 0; i < G_N_ELEMENTS(monitor_families); i++)
                append_monitor_family(containers, i, out);
        for (size_t i = 0; i < G_N_ELEMENTS(sink_families); i++)
                append_sink_family(containers, i, out);
        append_drops(containers, "conmon_log_dropped_records_total",
                     "Records that were not delivered, by cause.", false, out);
        append_drops(containers, "conmon_log_dropped_bytes_total",
                     "Bytes of the container in records that were not delivered, by cause.", true, out);
}
