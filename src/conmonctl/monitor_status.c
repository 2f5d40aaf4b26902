/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "conmonctl/monitor_status.h"

#include "base/json.h"

#include <string.h>

#define CAUSE_FILTERED "filtered"

static void
clear_member(void *data)
{
        StatusMember *member = data;
        g_free(member->path);
        g_free(member->value);
}

static void
clear_drop(void *data)
{
        g_free(((DropCount *)data)->cause);
}

static GArray *
new_array(guint size, GDestroyNotify clear)
{
        GArray *array = g_array_new(FALSE, TRUE, size);
        g_array_set_clear_func(array, clear);
        return array;
}

static void
free_sink(void *data)
{
        SinkStatus *s = data;
        g_free(s->driver);
        g_free(s->name);
        g_free(s->target);
        g_free(s->state);
        g_free(s->last_error);
        g_array_unref(s->drops);
        g_array_unref(s->others);
        g_free(s);
}

static SinkStatus *
new_sink(void)
{
        SinkStatus *s = g_new0(SinkStatus, 1);
        s->driver = g_strdup("");
        s->target = g_strdup("");
        s->state = g_strdup("");
        s->drops = new_array(sizeof(DropCount), clear_drop);
        s->others = new_array(sizeof(StatusMember), clear_member);
        return s;
}

void
monitor_status_free(MonitorStatus *s)
{
        if (!s)
                return;
        g_ptr_array_unref(s->sinks);
        g_array_unref(s->others);
        g_free(s->cid);
        g_free(s->text);
        g_free(s);
}

static uint64_t
number_of(const JsonValue *v)
{
        g_autofree char *text = v->kind == JSON_NUMBER ? g_strndup(v->text, v->len) : NULL;
        return text ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static void
take_text(char **to, const JsonValue *v)
{
        g_free(*to);
        *to = v->kind == JSON_STRING ? g_strndup(v->text, v->len) : NULL;
}

/* Joins the names from `from` on with dots. */
static char *
path_of(const JsonValue *v, size_t from)
{
        GString *path = g_string_new(v->path[from]);
        for (size_t i = from + 1; i < v->depth; i++)
                g_string_append_printf(path, ".%s", v->path[i]);
        return g_string_free(path, FALSE);
}

static void
take_member(GArray *members, const JsonValue *v, size_t from)
{
        if (v->kind == JSON_OBJECT || v->kind == JSON_ARRAY || v->kind == JSON_NULL)
                return;
        StatusMember member = {.path = path_of(v, from)};
        if (v->text)
                member.value = g_strndup(v->text, v->len);
        else
                member.value = g_strdup(v->kind == JSON_TRUE ? "yes" : "no");
        g_array_append_val(members, member);
}

static void
take_count(RecordCount *count, const char *name, const JsonValue *v)
{
        if (strcmp(name, "records") == 0)
                count->records = number_of(v);
        else if (strcmp(name, "bytes") == 0)
                count->bytes = number_of(v);
}

static void
take_drop(SinkStatus *s, const char *cause, const char *name, const JsonValue *v)
{
        DropCount *last = s->drops->len ? &g_array_index(s->drops, DropCount, s->drops->len - 1) : NULL;
        if (!last || strcmp(last->cause, cause) != 0) {
                DropCount drop = {.cause = g_strdup(cause)};
                g_array_append_val(s->drops, drop);
                last = &g_array_index(s->drops, DropCount, s->drops->len - 1);
        }
        take_count(&last->count, name, v);
}

/* Returns false if the member is not one of these texts. */
static bool
take_sink_text(SinkStatus *s, const char *path, const JsonValue *v)
{
        const struct {
                const char *path;
                char **to;
        } members[] = {
                {"driver", &s->driver},          {"name", &s->name},
                {"target", &s->target},          {"state", &s->state},
                {"errors.last", &s->last_error},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
                if (strcmp(path, members[i].path) == 0) {
                        take_text(members[i].to, v);
                        return true;
                }
        return false;
}

/* The same for a number. */
static bool
take_sink_number(SinkStatus *s, const char *path, const JsonValue *v)
{
        const struct {
                const char *path;
                uint64_t *to;
        } members[] = {
                {"in.records", &s->in.records},         {"in.bytes", &s->in.bytes},
                {"out.records", &s->out.records},       {"out.bytes", &s->out.bytes},
                {"queued.records", &s->queued.records}, {"queued.bytes", &s->queued.bytes},
                {"queue.bytes", &s->queue_bytes},       {"queue.max", &s->queue_max},
                {"errors.count", &s->errors},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
                if (strcmp(path, members[i].path) == 0) {
                        *members[i].to = number_of(v);
                        return true;
                }
        return false;
}

/* Takes a member of the sink, whose path follows "sinks" and the element. */
static void
take_sink_member(SinkStatus *s, const JsonValue *v)
{
        g_autofree char *path = path_of(v, 2);
        if (take_sink_text(s, path, v) || take_sink_number(s, path, v))
                return;
        if (v->depth == 5 && strcmp(v->path[2], "dropped") == 0)
                take_drop(s, v->path[3], v->path[4], v);
        else
                take_member(s->others, v, 2);
}

static void
on_value(const JsonValue *v, void *data)
{
        MonitorStatus *s = data;
        bool sink = strcmp(v->path[0], "sinks") == 0;
        if (sink && v->depth == 2 && v->kind == JSON_OBJECT)
                g_ptr_array_add(s->sinks, new_sink());
        else if (sink && v->depth > 2 && s->sinks->len > 0)
                take_sink_member(g_ptr_array_index(s->sinks, s->sinks->len - 1), v);
        else if (strcmp(v->path[0], "container") == 0 && v->depth == 1)
                take_text(&s->cid, v);
        else if (strcmp(v->path[0], "ended") == 0 && v->depth == 1)
                s->ended = v->kind == JSON_TRUE;
        else if (!sink && strcmp(v->path[0], "version") != 0)
                take_member(s->others, v, 0);
}

static void
sum_up_drops(SinkStatus *s)
{
        for (guint i = 0; i < s->drops->len; i++) {
                const DropCount *drop = &g_array_index(s->drops, DropCount, i);
                bool wanted = strcmp(drop->cause, CAUSE_FILTERED) == 0;
                s->dropped.records += wanted ? 0 : drop->count.records;
                s->dropped.bytes += wanted ? 0 : drop->count.bytes;
        }
}

MonitorStatus *
monitor_status_parse(const char *text, size_t len, GError **error)
{
        MonitorStatus *s = g_new0(MonitorStatus, 1);
        s->sinks = g_ptr_array_new_with_free_func(free_sink);
        s->others = new_array(sizeof(StatusMember), clear_member);
        s->text = g_strndup(text, len);
        if (!json_read(text, len, on_value, s, error)) {
                monitor_status_free(s);
                return NULL;
        }
        for (guint i = 0; i < s->sinks->len; i++)
                sum_up_drops(g_ptr_array_index(s->sinks, i));
        return s;
}

RecordCount
monitor_status_dropped(const MonitorStatus *s)
{
        RecordCount sum = {0};
        for (guint i = 0; i < s->sinks->len; i++) {
                const SinkStatus *sink = g_ptr_array_index(s->sinks, i);
                sum.records += sink->dropped.records;
                sum.bytes += sink->dropped.bytes;
        }
        return sum;
}

uint64_t
monitor_status_records(const MonitorStatus *s)
{
        uint64_t most = 0;
        for (guint i = 0; i < s->sinks->len; i++)
                most = MAX(most, ((const SinkStatus *)g_ptr_array_index(s->sinks, i))->in.records);
        return most;
}

const char *
monitor_status_member(const GArray *members, const char *path)
{
        for (guint i = 0; i < members->len; i++)
                if (strcmp(g_array_index(members, StatusMember, i).path, path) == 0)
                        return g_array_index(members, StatusMember, i).value;
        return NULL;
}
