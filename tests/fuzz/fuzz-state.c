/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/state.h"
#include "io/attach_client.h"
#include "log/api/queue.h"
#include "log/drivers/fluentd/forward_auth.h"
#include "log/drivers/registry.h"
#include "log/intake/joiner.h"
#include "log/intake/rate_limit.h"
#include "log/intake/strip.h"
#include "log/net/connection.h"
#include "log/net/http_answer.h"
#include "log/sink/audit.h"
#include "log/sink/sink.h"
#include "log/split.h"
#include "proc/exit_queue.h"

#include "fuzz.h"

/* The state of a monitor with arbitrary items: each module restores its part completely or refuses it. The
 * first byte selects the module; the items follow, and get a header with the right checksum. Processes, files
 * and sockets of the state don't exist; modules that would signal or remove them when they are freed are not
 * tested. */

#define HEADER_SIZE 40

static void
restore_queue(StateReader *r)
{
        LogQueue q = {0};
        LogCount dropped = {0};
        const char *bytes;
        log_queue_restore(&q, r);
        if (!state_failed(r)) {
                log_audit_queue(&q);
                for (size_t len; (len = log_queue_next(&q, SIZE_MAX, &bytes)) > 0;)
                        log_queue_sent(&q, len);
                log_queue_rewind(&q);
                log_audit_queue(&q);
        }
        log_queue_clear(&q, &dropped);
}

static void
take_record(const LogRecord *r, size_t ahead, void *data)
{
        size_t *sum = data;
        for (uint32_t i = 0; i < r->len; i++)
                *sum += (unsigned char)r->bytes[i];
}

static void
restore_joiner(StateReader *r)
{
        size_t sum = 0;
        LogJoinerConfig config = {.max_record = 100, .hold = true, .emit = take_record, .data = &sum};
        LogJoiner *j = log_joiner_new(&config);
        const LogRecord line = {.bytes = "rest\n", .len = 4, .payload = 5};
        log_joiner_restore(j, r);
        if (!state_failed(r)) {
                log_joiner_push(j, &line);
                log_joiner_flush(j);
        }
        log_joiner_free(j);
}

static void
restore_stripper(StateReader *r)
{
        size_t ahead = 0;
        LogStripper *s = log_stripper_new(true, true);
        const LogRecord line = {.bytes = "\x1b[1m\r\n", .len = 5, .payload = 6};
        log_stripper_restore(s, r);
        if (!state_failed(r))
                (void)log_stripper_apply(s, &line, &ahead);
        log_stripper_free(s);
}

static void
restore_options(StateReader *r)
{
        LogOptions *o = log_sink_options(log_driver_find("json-file"));
        log_options_restore(o, r);
        log_options_free(o);
}

static void
restore_connection(StateReader *r)
{
        LogConnection c = {0};
        log_connection_restore(&c, NULL, &(LogTlsOptions){0}, r);
        log_connection_close(&c);
}

static void
restore_authentication(StateReader *r)
{
        ForwardAuth a = {0};
        forward_auth_restore(&a, r);
        forward_auth_done(&a);
}

static void
on_client(AttachClient *c, void *data)
{
}

static void
restore_client(StateReader *r)
{
        const AttachClientConfig config = {.queue_max = 1000};
        const AttachClientEvents events = {on_client, on_client, on_client, on_client, NULL};
        AttachClient *c = attach_client_restore(r, &config, &events);
        (void)attach_client_is_behind(c);
        attach_client_free(c);
}

static void
restore_exits(StateReader *r)
{
        const OomScore score = {0};
        sigset_t mask;
        sigemptyset(&mask);
        ExitQueue *q = exit_queue_new(&mask, &score);
        exit_queue_restore(q, r);
        exit_queue_free(q);
}

static void
restore_splitter(StateReader *r)
{
        LogSplitter s;
        log_splitter_init(&s, STREAM_STDOUT, 1);
        log_splitter_restore(&s, r);
}

static void
restore_answer(StateReader *r)
{
        static const char rest[] = "5\r\nhello\r\n0\r\n\r\n";
        size_t used = 0;
        HttpAnswer a = {.body_max = 100};
        http_answer_restore(&a, r);
        if (!state_failed(r))
                (void)http_answer_push(&a, rest, strlen(rest), &used);
        g_assert_cmpuint(used, <=, strlen(rest));
        http_answer_clear(&a);
}

static void
on_limit_end(void *data)
{
}

static void
restore_rate_limit(StateReader *r)
{
        LogRateLimit l;
        log_rate_limit_init(&l, 10, G_USEC_PER_SEC, false, on_limit_end, NULL);
        log_rate_limit_restore(&l, r);
        if (!state_failed(r))
                (void)log_rate_limit_take(&l, g_get_monotonic_time());
        log_rate_limit_end(&l);
}

/* Reads the next item of any type. */
static void
read_any(StateReader *r)
{
        size_t len = 0;
        for (int i = 0; i < 1000 && !state_failed(r); i++) {
                if (state_enter_next(r, "a"))
                        continue;
                if (i % 3 == 0)
                        g_free(state_get_text(r, "a"));
                if (i % 3 == 1)
                        (void)state_get_bytes(r, "a", &len);
                if (i % 3 == 2)
                        state_leave(r);
        }
}

static void (*const modules[])(StateReader *r) = {
        restore_queue,          restore_joiner, restore_stripper, restore_options,  restore_connection,
        restore_authentication, restore_client, restore_exits,    restore_splitter, read_any,
        restore_answer,         restore_rate_limit,
};

static uint64_t
sum_of(const uint8_t *data, size_t size)
{
        uint64_t sum = 0;
        for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
                uint64_t word = 0;
                memcpy(&word, data + at, MIN(size - at, sizeof word));
                sum = (sum ^ GUINT64_FROM_LE(word)) * UINT64_C(0x9e3779b97f4a7c15);
                sum ^= sum >> 29;
        }
        return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(GError) error = NULL;
        if (size == 0)
                return 0;
        fuzz_be_quiet();
        /* A valid header is most likely followed by nothing. */
        state_reader_free(state_reader_new_of(data, size, NULL));
        size_t len = size - 1;
        g_autofree uint8_t *whole = g_malloc0(HEADER_SIZE + len);
        const uint32_t version = GUINT32_TO_LE(STATE_VERSION);
        const uint64_t length = GUINT64_TO_LE(len), sum = GUINT64_TO_LE(sum_of(data + 1, len));
        memcpy(whole, "conmonST", 8);
        memcpy(whole + 8, &version, sizeof version);
        memcpy(whole + 24, &length, sizeof length);
        memcpy(whole + 32, &sum, sizeof sum);
        memcpy(whole + HEADER_SIZE, data + 1, len);
        g_autoptr(StateReader) r = state_reader_new_of(whole, HEADER_SIZE + len, &error);
        g_assert_no_error(error);
        modules[data[0] % G_N_ELEMENTS(modules)](r);
        gboolean ok = state_reader_finish(r, &error);
        fuzz_check_error(ok, error);
        return 0;
}
