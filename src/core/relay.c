/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/relay.h"

#include "base/clock.h"
#include "log/api/record.h"

/* What log_write does not accept of a chunk is passed again before the next one. */
G_STATIC_ASSERT(LOG_RECORD_MAX <= OUTPUT_KEEP_MAX);

static void
send_to_clients(Monitor *m)
{
        size_t len = m->unsent.len;
        m->unsent.len = 0;
        if (!m->endpoints.attach || len == 0)
                return;
        attach_server_send(m->endpoints.attach, m->unsent.stream, m->unsent.bytes, len);
        attach_server_set_late(m->endpoints.attach);
}

/* Clients never get output that the log might lose, unless the disk of the log stalls: see relay_go_on. */
static size_t
pass_on(Monitor *m, Unsent chunk, bool more)
{
        size_t taken = log_write(m->log, chunk.stream, chunk.bytes, chunk.len, more, clock_realtime_ns());
        if (taken == 0)
                return 0;
        m->unsent = chunk;
        m->unsent.len = taken;
        log_flush(m->log);
        send_to_clients(m);
        return taken;
}

/* All of it is queued before any is sent: if a log file stalls, later output comes after it. */
static void
pass_on_held(Monitor *m, StreamId id, const GByteArray *held)
{
        const char *bytes = (const char *)held->data;
        for (size_t at = 0; at < held->len;)
                at += log_write(m->log, id, bytes + at, held->len - at, false, clock_realtime_ns());
        m->unsent = (Unsent){id, bytes, held->len, true};
        log_flush(m->log);
        send_to_clients(m);
}

void
relay_release(Monitor *m)
{
        if (m->endpoints.attach)
                attach_server_accept(m->endpoints.attach);
        for (StreamId id = 0; id < N_STREAMS; id++) {
                GByteArray *held = g_steal_pointer(&m->runtime.held[id]);
                if (!held)
                        continue;
                pass_on_held(m, id, held);
                g_byte_array_unref(held);
        }
}

void
relay_go_on(Monitor *m)
{
        Unsent unsent = m->unsent;
        send_to_clients(m);
        relay_release(m); /* what was held back of the other stream */
        if (unsent.len > 0 && !unsent.held)
                output_stream_take(&m->output[unsent.stream], unsent.len);
        log_flush(m->log);
}

static void
keep_runtime_stderr(Monitor *m, const char *bytes, size_t len)
{
        size_t room = RUNTIME_STDERR_MAX - m->runtime.said->len;
        g_string_append_len(m->runtime.said, bytes, (gssize)MIN(len, room));
}

static size_t
hold(Monitor *m, StreamId id, const char *bytes, size_t len)
{
        g_byte_array_append(m->runtime.held[id], (const guint8 *)bytes, (guint)len);
        if (m->runtime.held[id]->len > RELAY_HOLD_MAX)
                relay_release(m);
        return len;
}

size_t
relay_output(StreamId id, const char *bytes, size_t len, bool more, void *data)
{
        Monitor *m = data;
        if (m->state == MONITOR_CREATING && id == STREAM_STDERR)
                keep_runtime_stderr(m, bytes, len);
        if (m->runtime.held[id])
                return hold(m, id, bytes, len);
        return pass_on(m, (Unsent){id, bytes, len, false}, more);
}

void
relay_update(void *data)
{
        Monitor *m = data;
        for (StreamId id = 0; id < N_STREAMS; id++) {
                bool wants = log_wants(m->log, id) &&
                             (!m->endpoints.attach || attach_server_wants(m->endpoints.attach, id));
                output_stream_pause(&m->output[id], !wants);
        }
}

void
relay_on_stdin_wants(bool wants, void *data)
{
        Monitor *m = data;
        if (m->endpoints.attach)
                attach_server_read_clients(m->endpoints.attach, wants);
}
