/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "conmonctl/show.h"

#include "base/json.h"
#include "conmonctl/monitor_info.h"
#include "conmonctl/request.h"
#include "conmonctl/table.h"

#include <string.h>

/* ---- values ---- */

/* The two largest units: "3h 12min". */
static char *
format_span(gint64 usec)
{
        static const struct {
                const char *name;
                gint64 seconds;
        } units[] = {{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}};
        GString *out = g_string_new(NULL);
        gint64 seconds = MAX(usec, 0) / G_USEC_PER_SEC;
        size_t shown = 0;
        for (size_t i = 0; i < G_N_ELEMENTS(units) && shown < 2; i++) {
                gint64 n = seconds / units[i].seconds;
                seconds %= units[i].seconds;
                if (n == 0 && shown == 0 && units[i].seconds > 1)
                        continue;
                if (n > 0 || shown == 0)
                        g_string_append_printf(out, "%s%" G_GINT64_FORMAT "%s", shown ? " " : "", n,
                                               units[i].name);
                shown++;
        }
        return g_string_free(out, FALSE);
}

static char *
format_age(const MonitorInfo *m)
{
        return format_span(g_get_real_time() - m->started_usec);
}

/* Binary units with one letter, as in systemctl. */
static char *
format_bytes(uint64_t bytes)
{
        static const char units[] = "BKMGTPE";
        double value = (double)bytes;
        size_t i = 0;
        for (; value >= 1024 && units[i + 1]; i++)
                value /= 1024;
        if (i == 0 || value >= 100)
                return g_strdup_printf("%.0f%c", value, units[i]);
        return g_strdup_printf("%.1f%c", value, units[i]);
}

static char *
format_number(uint64_t n)
{
        return g_strdup_printf("%" G_GUINT64_FORMAT, n);
}

static char *
format_count(RecordCount count)
{
        g_autofree char *bytes = format_bytes(count.bytes);
        return g_strdup_printf("%" G_GUINT64_FORMAT " record%s (%s)", count.records,
                               count.records == 1 ? "" : "s", bytes);
}

static Style
style_of_state(const char *state)
{
        if (strcmp(state, "ok") == 0)
                return STYLE_GOOD;
        return strcmp(state, "failing") == 0 ? STYLE_BAD : STYLE_WARN;
}

/* The worst of the sinks' states. */
static const char *
state_of(const MonitorInfo *m)
{
        const char *worst = m->container_pid > 0 ? "running" : "creating";
        if (!m->status)
                return m->error == 0 ? worst : "unreachable";
        if (m->status->ended)
                return "ending";
        for (guint i = 0; i < m->status->sinks->len; i++) {
                const SinkStatus *s = g_ptr_array_index(m->status->sinks, i);
                if (strcmp(s->state, "failing") == 0)
                        return "log failing";
                if (strcmp(s->state, "waiting") == 0)
                        worst = "log waiting";
        }
        return worst;
}

static Style
style_of_monitor(const char *state)
{
        if (strcmp(state, "running") == 0)
                return STYLE_GOOD;
        return g_str_has_prefix(state, "log w") || strcmp(state, "creating") == 0 ||
                               strcmp(state, "ending") == 0
                       ? STYLE_WARN
                       : STYLE_BAD;
}

/* The names of all drivers, or of the sinks that have one. */
static char *
drivers_of(const MonitorInfo *m)
{
        GString *out = g_string_new(NULL);
        for (guint i = 0; m->status && i < m->status->sinks->len; i++) {
                const SinkStatus *s = g_ptr_array_index(m->status->sinks, i);
                g_string_append_printf(out, "%s%s", i ? "," : "", s->name ? s->name : s->driver);
        }
        if (out->len == 0)
                g_string_append_c(out, '-');
        return g_string_free(out, FALSE);
}

/* ---- list ---- */

static const Column list_columns[] = {
        {"CONTAINER", false}, {"NAME", false},    {"ENGINE", false},  {"PID", true},
        {"UP", true},         {"STATE", false},   {"LINES IN", true}, {"DROPPED", true},
        {"MEMORY", true},     {"DRIVERS", false}, {NULL, false},
};

static void
add_row(Table *table, const MonitorInfo *m)
{
        const char *state = state_of(m);
        uint64_t dropped = m->status ? monitor_status_dropped(m->status).records : 0;
        table_add(table, STYLE_PLAIN, monitor_info_short_id(m));
        table_add(table, STYLE_PLAIN,
                  m->exec ? g_strconcat(m->name ? m->name : "", " (exec)", NULL)
                          : g_strdup(m->name ? m->name : "-"));
        table_add(table, STYLE_PLAIN, g_strdup(m->engine));
        table_add(table, m->outdated ? STYLE_WARN : STYLE_PLAIN, format_number((uint64_t)m->pid));
        table_add(table, STYLE_PLAIN, format_age(m));
        table_add(table, style_of_monitor(state), g_strdup(state));
        table_add(table, STYLE_PLAIN,
                  m->status ? format_number(monitor_status_records(m->status)) : g_strdup("-"));
        table_add(table, dropped > 0 ? STYLE_BAD : STYLE_PLAIN,
                  m->status ? format_number(dropped) : g_strdup("-"));
        table_add(table, STYLE_PLAIN, m->memory >= 0 ? format_bytes((uint64_t)m->memory) : g_strdup("-"));
        table_add(table, STYLE_PLAIN, drivers_of(m));
}

void
show_list(const GPtrArray *monitors, const ShowConfig *config, GString *out)
{
        g_autoptr(Table) table = table_new(list_columns);
        guint outdated = 0;
        for (guint i = 0; i < monitors->len; i++) {
                const MonitorInfo *m = g_ptr_array_index(monitors, i);
                outdated += m->outdated ? 1 : 0;
                add_row(table, m);
        }
        table_format(table, config->legend, config->color, config->max_rows, out);
        if (!config->legend)
                return;
        g_string_append_printf(out, "\n%u monitor%s listed.\n", monitors->len, monitors->len == 1 ? "" : "s");
        if (outdated > 0)
                g_string_append_printf(
                        out,
                        "%u of them run%s a program that has been replaced; 'conmonctl upgrade --all' "
                        "upgrades them.\n",
                        outdated, outdated == 1 ? "s" : "");
}

/* ---- JSON ---- */

static void
append_text(GString *out, const char *key, const char *text)
{
        g_string_append_printf(out, ",\"%s\":", key);
        if (text)
                json_append_string(out, text, strlen(text));
        else
                g_string_append(out, "null");
}

static void
append_monitor(const MonitorInfo *m, GString *out)
{
        g_string_append(out, "{\"container\":");
        json_append_string(out, m->cid, strlen(m->cid));
        append_text(out, "name", m->name);
        append_text(out, "engine", m->engine);
        append_text(out, "state", state_of(m));
        g_string_append_printf(
                out, ",\"exec\":%s,\"outdated\":%s,\"pid\":%d,\"uid\":%u,\"started_usec\":%" G_GINT64_FORMAT,
                m->exec ? "true" : "false", m->outdated ? "true" : "false", (int)m->pid, (unsigned)m->uid,
                m->started_usec);
        if (m->container_pid > 0)
                g_string_append_printf(out, ",\"container_pid\":%d", (int)m->container_pid);
        if (m->memory >= 0)
                g_string_append_printf(out, ",\"private_dirty_bytes\":%" G_GINT64_FORMAT, m->memory);
        append_text(out, "directory", m->directory);
        if (m->error < 0)
                append_text(out, "error", request_describe(m->error));
        g_autofree char *status = m->status ? g_strstrip(g_strdup(m->status->text)) : g_strdup("null");
        g_string_append_printf(out, ",\"status\":%s}", status);
}

void
show_json(const GPtrArray *monitors, GString *out)
{
        g_string_append_c(out, '[');
        for (guint i = 0; i < monitors->len; i++) {
                g_string_append(out, i ? ",\n " : "");
                append_monitor(g_ptr_array_index(monitors, i), out);
        }
        g_string_append(out, "]\n");
}

/* ---- status ---- */

G_GNUC_PRINTF(3, 4)
static void
append_line(GString *out, const char *label, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args);
        va_end(args);
        table_make_printable(text);
        g_string_append_printf(out, "%13s%s %s\n", label, *label ? ":" : " ", text);
}

static void
append_others(const GArray *members, GString *out)
{
        for (guint i = 0; i < members->len; i++) {
                const StatusMember *member = &g_array_index(members, StatusMember, i);
                append_line(out, "", "%s: %s", member->path, member->value);
        }
}

static void
append_drops(const SinkStatus *s, GString *out)
{
        for (guint i = 0; i < s->drops->len; i++) {
                const DropCount *drop = &g_array_index(s->drops, DropCount, i);
                g_autofree char *count = format_count(drop->count);
                if (drop->count.records > 0)
                        append_line(out, "", "dropped, %s: %s", drop->cause, count);
        }
}

static void
append_sink(const SinkStatus *s, bool color, GString *out)
{
        Style style = style_of_state(s->state);
        g_autofree char *in = format_count(s->in), *delivered = format_count(s->out);
        g_autofree char *queued = format_count(s->queued), *max = format_bytes(s->queue_max);
        g_autofree char *name = g_strconcat(s->name ? s->name : s->driver, *s->target ? " to " : "",
                                            s->target, NULL);
        g_autofree char *state = g_strdup(s->state);
        table_make_printable(name);
        table_make_printable(state);
        g_string_append_printf(out, "%13s: %s (%s%s%s)\n", "Log", name, table_style(style, color), state,
                               table_style_end(style, color));
        append_line(out, "", "in: %s", in);
        append_line(out, "", "delivered: %s", delivered);
        if (s->queued.records > 0)
                append_line(out, "", "waiting: %s, of at most %s", queued, max);
        append_drops(s, out);
        if (s->last_error)
                append_line(out, "", "last error (of %" G_GUINT64_FORMAT "): %s", s->errors, s->last_error);
        append_others(s->others, out);
}

static void
append_status(const MonitorInfo *m, const ShowConfig *config, GString *out)
{
        const char *state = state_of(m);
        Style style = style_of_monitor(state);
        g_autofree char *name = g_strdup(m->name ? m->name : m->cid), *age = format_age(m);
        g_autofree char *memory = m->memory >= 0 ? format_bytes((uint64_t)m->memory) : g_strdup("unknown");
        table_make_printable(name);
        const char *bullet = g_get_charset(NULL) ? "\u25cf" : "*";
        g_string_append_printf(out, "%s%s%s %s%s\n", table_style(style, config->color), bullet,
                               table_style_end(style, config->color), name,
                               m->exec ? " (exec session)" : "");
        g_string_append_printf(out, "%13s: %s%s%s\n", "State", table_style(style, config->color), state,
                               table_style_end(style, config->color));
        append_line(out, "Container", "%s", m->cid);
        append_line(out, "Engine", "%s", m->engine);
        append_line(out, "Monitor", "pid %d, up %s, %s of memory%s", (int)m->pid, age, memory,
                    m->outdated ? "; its program has been replaced" : "");
        if (m->container_pid > 0)
                append_line(out, "Process", "pid %d", (int)m->container_pid);
        if (m->directory)
                append_line(out, "Bundle", "%s", m->directory);
        if (m->error < 0)
                append_line(out, "Log", "unknown: %s", request_describe(m->error));
        if (m->status)
                append_others(m->status->others, out);
        for (guint i = 0; m->status && i < m->status->sinks->len; i++)
                append_sink(g_ptr_array_index(m->status->sinks, i), config->color, out);
}

void
show_status(const GPtrArray *monitors, const ShowConfig *config, GString *out)
{
        for (guint i = 0; i < monitors->len; i++) {
                if (i > 0)
                        g_string_append_c(out, '\n');
                append_status(g_ptr_array_index(monitors, i), config, out);
        }
}
