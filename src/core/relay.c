#include "core/monitor.h"

#include "base/clock.h"

static size_t
pass_on(Monitor *m, StreamId id, const char *bytes, size_t len, bool more)
{
        size_t taken = log_write(m->log, id, bytes, len, more, clock_realtime_ns());
        if (m->attach && taken > 0) {
                attach_server_send(m->attach, id, bytes, taken);
                attach_server_set_late(m->attach);
        }
        return taken;
}

void
relay_release(Monitor *m)
{
        if (m->attach)
                attach_server_accept(m->attach);
        for (StreamId id = 0; id < N_STREAMS; id++) {
                GByteArray *held = g_steal_pointer(&m->held[id]);
                if (held && held->len)
                        (void)pass_on(m, id, (const char *)held->data, held->len, false);
                if (held)
                        g_byte_array_unref(held);
        }
}

static void
keep_runtime_stderr(Monitor *m, const char *bytes, size_t len)
{
        size_t room = RUNTIME_STDERR_MAX - m->runtime_stderr->len;
        g_string_append_len(m->runtime_stderr, bytes, (gssize)MIN(len, room));
}

static size_t
hold(Monitor *m, StreamId id, const char *bytes, size_t len)
{
        g_byte_array_append(m->held[id], (const guint8 *)bytes, (guint)len);
        if (m->held[id]->len > RELAY_HOLD_MAX)
                relay_release(m);
        return len;
}

size_t
relay_output(StreamId id, const char *bytes, size_t len, bool more, void *data)
{
        Monitor *m = data;
        if (m->state == MONITOR_CREATING && id == STREAM_STDERR)
                keep_runtime_stderr(m, bytes, len);
        if (m->held[id])
                return hold(m, id, bytes, len);
        return pass_on(m, id, bytes, len, more);
}

void
relay_update(void *data)
{
        Monitor *m = data;
        for (StreamId id = 0; id < N_STREAMS; id++) {
                bool wants = log_wants(m->log, id) && (!m->attach || attach_server_wants(m->attach, id));
                output_stream_pause(&m->output[id], !wants);
        }
}

void
relay_on_log_wants(StreamId stream, bool wants, void *data)
{
        relay_update(data);
}

void
relay_on_stdin_wants(bool wants, void *data)
{
        Monitor *m = data;
        if (m->attach)
                attach_server_read_clients(m->attach, wants);
}
