/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/fd.h"
#include "base/state.h"
#include "build-config.h"
#include "log/drivers/registry.h"
#include "log/net/arrival.h"
#include "log/net/http_answer.h"
#include "log/net/tls.h"
#include "proc/exit_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static StateWriter *
write_all(void)
{
        StateWriter *w = state_writer_new(NULL);
        g_auto(GStrv) texts = g_strsplit("one,,three", ",", -1);
        g_assert_nonnull(w);
        state_put_uint(w, "large", UINT64_MAX);
        state_put_int(w, "small", INT64_MIN);
        state_put_text(w, "text", "words");
        state_put_text(w, "nothing", NULL);
        state_put_texts(w, "texts", texts);
        state_put_bytes(w, "bytes", "a\0b", 3);
        g_autoptr(GString) string = g_string_new_len("c\0d", 3);
        state_put_string(w, "string", string);
        state_put_string(w, "none", NULL);
        for (int i = 0; i < 2; i++) {
                state_begin(w, "group");
                state_put_uint(w, "number", (uint64_t)i);
                state_end(w);
        }
        return w;
}

static void
test_values(void)
{
        g_autoptr(StateWriter) w = write_all();
        g_autoptr(GError) error = NULL;
        size_t len = 0;
        g_assert_true(state_writer_finish(w, &error));
        g_assert_no_error(error);
        g_autoptr(StateReader) r = state_reader_new(state_writer_fd(w), false, &error);
        g_assert_no_error(error);
        g_assert_cmpuint(state_version(r), ==, STATE_VERSION);
        g_assert_cmpuint(state_get_uint(r, "large", UINT64_MAX), ==, UINT64_MAX);
        g_assert_cmpint(state_get_int(r, "small", INT64_MIN, 0), ==, INT64_MIN);
        g_autofree char *text = state_get_text(r, "text"), *nothing = state_get_text(r, "nothing");
        g_assert_cmpstr(text, ==, "words");
        g_assert_null(nothing);
        g_auto(GStrv) texts = state_get_texts(r, "texts");
        g_autofree char *joined = g_strjoinv(",", texts);
        g_assert_cmpstr(joined, ==, "one,,three");
        g_assert_cmpint(memcmp(state_get_bytes(r, "bytes", &len), "a\0b", 3), ==, 0);
        g_assert_cmpuint(len, ==, 3);
        g_autoptr(GString) string = state_get_string_or_null(r, "string");
        g_assert_cmpmem(string->str, string->len, "c\0d", 3);
        g_assert_null(state_get_string_or_null(r, "none"));
        for (uint64_t i = 0; i < 2; i++) {
                g_assert_true(state_enter_next(r, "group"));
                g_assert_cmpuint(state_get_uint(r, "number", 1), ==, i);
                state_leave(r);
        }
        g_assert_false(state_enter_next(r, "group"));
        g_assert_true(state_reader_finish(r, &error));
        g_assert_no_error(error);
}

/* A large value is written to the file without the buffer. */
static void
test_large(void)
{
        g_autoptr(StateWriter) w = state_writer_new(NULL);
        g_autofree char *bytes = g_malloc(1000001);
        size_t len = 0;
        for (size_t i = 0; i < 1000001; i++)
                bytes[i] = (char)(i * 7);
        state_put_bytes(w, "bytes", bytes, 1000001);
        g_assert_true(state_writer_finish(w, NULL));
        g_autoptr(StateReader) r = state_reader_new(state_writer_fd(w), false, NULL);
        const char *got = state_get_bytes(r, "bytes", &len);
        g_assert_cmpmem(got, len, bytes, 1000001);
        g_assert_true(state_reader_finish(r, NULL));
}

static void
test_descriptors(void)
{
        g_autoptr(StateWriter) w = state_writer_new(NULL);
        g_autoptr(GError) error = NULL;
        int fd = open("/dev/null", O_RDONLY);
        state_put_fd(w, "first", fd);
        state_put_fd(w, "none", -ENOENT);
        state_put_fd(w, "again", fd);
        g_assert_cmpuint(state_writer_fds(w)->len, ==, 2);
        g_assert_true(state_writer_finish(w, NULL));
        g_autoptr(StateReader) r = state_reader_new(state_writer_fd(w), false, NULL);
        g_assert_cmpint(state_get_fd(r, "first"), ==, fd);
        g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint(state_get_fd(r, "none"), ==, -1);
        /* Two owners would close the descriptor twice. */
        g_assert_cmpint(state_get_fd(r, "again"), ==, -1);
        g_assert_true(state_failed(r));
        (void)close(fd);

        g_autoptr(StateReader) late = state_reader_new(state_writer_fd(w), false, NULL);
        g_assert_cmpint(state_get_fd(late, "first"), ==, -1);
        g_assert_false(state_reader_finish(late, &error));
        g_assert_nonnull(strstr(error->message, "is not open"));
}

static void
check_failure(void (*read)(StateReader *r), const char *sentence)
{
        g_autoptr(StateWriter) w = write_all();
        g_autoptr(GError) error = NULL;
        g_assert_true(state_writer_finish(w, NULL));
        g_autoptr(StateReader) r = state_reader_new(state_writer_fd(w), false, NULL);
        read(r);
        g_assert_false(state_reader_finish(r, &error));
        g_assert_cmpstr(error->message, ==, sentence);
}

static void
read_other(StateReader *r)
{
        g_assert_cmpuint(state_get_uint(r, "other", 1), ==, 0);
        /* After an error nothing can be read. */
        g_assert_cmpuint(state_get_uint(r, "large", UINT64_MAX), ==, 0);
        g_assert_false(state_enter_next(r, "group"));
}

static void
read_bound(StateReader *r)
{
        g_assert_cmpuint(state_get_uint(r, "large", 5), ==, 0);
}

static void
read_kind(StateReader *r)
{
        g_assert_null(state_get_text(r, "large"));
}

static void
read_part(StateReader *r)
{
        (void)state_get_uint(r, "large", UINT64_MAX);
}

static void
test_failures(void)
{
        check_failure(read_other, "The state has no 'other' where it is expected, but 'large'");
        check_failure(read_bound, "'large' can't be 18446744073709551615");
        check_failure(read_kind, "The state has no 'large' where it is expected, but 'large'");
        check_failure(read_part, "The state has data that this program does not know");
}

static void
test_refused(void)
{
        g_autoptr(StateWriter) w = write_all();
        g_autoptr(GError) error = NULL;
        state_refuse(w, "the %s is in the way", "moon");
        state_refuse(w, "not said any more");
        g_assert_false(state_writer_finish(w, &error));
        g_assert_cmpstr(error->message, ==, "the moon is in the way");
}

/* A file that is not sealed, or that is of another process, is refused. */
static void
test_origin(void)
{
        g_autoptr(StateWriter) w = write_all();
        g_autoptr(GError) error = NULL;
        g_assert_null(state_reader_new(state_writer_fd(w), false, &error));
        g_assert_nonnull(strstr(error->message, "is not a sealed memory file"));
        g_clear_error(&error);
        g_assert_null(state_reader_new(-1, false, &error));
        g_clear_error(&error);
        g_assert_true(state_writer_finish(w, NULL));
        g_assert_null(state_reader_new(state_writer_fd(w), true, &error));
        g_assert_cmpstr(error->message, ==, "The state is that of another process");
}

static GByteArray *
contents(const StateWriter *w)
{
        GByteArray *bytes = g_byte_array_new();
        off_t size = lseek(state_writer_fd(w), 0, SEEK_END);
        g_byte_array_set_size(bytes, (guint)size);
        g_assert_cmpint(pread(state_writer_fd(w), bytes->data, bytes->len, 0), ==, size);
        return bytes;
}

/* With each wrong byte and each truncation. */
static void
test_damage(void)
{
        g_autoptr(StateWriter) w = write_all();
        g_assert_true(state_writer_finish(w, NULL));
        g_autoptr(GByteArray) bytes = contents(w);
        for (guint i = 0; i < bytes->len; i++) {
                bool is_origin = i >= 12 && i < 24; /* pid and time are not checked here */
                bytes->data[i] ^= 0x40;
                g_autoptr(StateReader) r = state_reader_new_of(bytes->data, bytes->len, NULL);
                g_assert_true(is_origin == (r != NULL));
                g_assert_null(state_reader_new_of(bytes->data, i, NULL));
                bytes->data[i] ^= 0x40;
        }
}

static void
test_newer_version(void)
{
        g_autoptr(StateWriter) w = write_all();
        g_autoptr(GError) error = NULL;
        g_assert_true(state_writer_finish(w, NULL));
        g_autoptr(GByteArray) bytes = contents(w);
        bytes->data[8] = STATE_VERSION + 1;
        g_assert_null(state_reader_new_of(bytes->data, bytes->len, &error));
        g_assert_nonnull(strstr(error->message, "it is older"));
}

/* ---- impossible values, with which calculations would overflow ---- */

static void
check_impossible(StateWriter *w, void (*read)(StateReader *r), const char *sentence)
{
        g_autoptr(GError) error = NULL;
        g_assert_true(state_writer_finish(w, NULL));
        g_autoptr(StateReader) r = state_reader_new(state_writer_fd(w), false, NULL);
        read(r);
        g_assert_false(state_reader_finish(r, &error));
        g_assert_cmpstr(error->message, ==, sentence);
}

static void
read_answer(StateReader *r)
{
        HttpAnswer a = {.body_max = 100};
        http_answer_restore(&a, r);
        http_answer_clear(&a);
}

static void
check_answer(const HttpAnswer *a, const char *sentence)
{
        g_autoptr(StateWriter) w = state_writer_new(NULL);
        http_answer_save(a, w);
        check_impossible(w, read_answer, sentence);
}

static void
test_answers(void)
{
        check_answer(&(HttpAnswer){.state = HTTP_DONE}, "An answer has no status");
        check_answer(&(HttpAnswer){.state = HTTP_FIELDS, .status = 200, .head_len = SIZE_MAX - 1},
                     sizeof(size_t) == 8 ? "'head-length' can't be 18446744073709551614"
                                         : "'head-length' can't be 4294967294");
        check_answer(&(HttpAnswer){.state = HTTP_DONE, .status = 503, .retry_after = INT64_MAX},
                     "'retry-after' can't be 9223372036854775807");
}

/* An interim answer has been received, and nothing of the next one. */
static void
test_interim_answer(void)
{
        static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
        HttpAnswer a = {.body_max = 100}, b = {.body_max = 100};
        size_t used = 0;
        g_assert_false(http_answer_has_begun(&a));
        g_assert_cmpint(http_answer_push(&a, text, strlen(text), &used), ==, 0);
        g_assert_true(http_answer_has_begun(&a));
        g_autoptr(StateWriter) w = state_writer_new(NULL);
        http_answer_save(&a, w);
        g_assert_true(state_writer_finish(w, NULL));
        g_autoptr(StateReader) r = state_reader_new(state_writer_fd(w), false, NULL);
        http_answer_restore(&b, r);
        g_assert_true(state_reader_finish(r, NULL));
        g_assert_true(http_answer_has_begun(&b));
        http_answer_clear(&a);
        http_answer_clear(&b);
}

/* A time limit for what is to arrive is not over because of an upgrade. */
static void
test_arrival(void)
{
        LogArrival a = {0}, b = {0};
        log_arrival_init(&a, NULL, NULL);
        log_arrival_begin(&a);
        log_arrival_wrote(&a, 10);
        g_autoptr(StateWriter) w = state_writer_new(NULL);
        log_arrival_save(&a, w);
        g_assert_true(state_writer_finish(w, NULL));
        g_autoptr(StateReader) r = state_reader_new(state_writer_fd(w), false, NULL);
        log_arrival_restore(&b, NULL, NULL, r);
        g_assert_true(state_reader_finish(r, NULL));
        g_assert_cmpint(log_arrival_time_left(&b, 1000 * 1000), >, 0);
        log_arrival_end(&b);
}

static void
read_exits(StateReader *r)
{
        const OomScore score = {0};
        sigset_t mask;
        sigemptyset(&mask);
        ExitQueue *q = exit_queue_new(&mask, &score);
        exit_queue_restore(q, r);
        exit_queue_free(q);
}

static void
test_exits(void)
{
        g_autoptr(StateWriter) w = state_writer_new(NULL);
        state_begin(w, "running");
        state_put_uint(w, "pid", 0);
        state_end(w);
        check_impossible(w, read_exits, "An exit command can't be process 0");
}

static void
read_tls(StateReader *r)
{
        LogTls t = {0};
        state_enter(r, "tls");
        log_tls_restore(&t, r);
        state_leave(r);
}

/* In a build without conmon-tls. */
static void
test_no_tls(void)
{
        const LogTls t = {.mode = TLS_FAILED};
        g_autoptr(StateWriter) w = state_writer_new(NULL);
        g_unsetenv("CONMON_TLS");
        log_tls_save(&t, w);
        check_impossible(w, read_tls, "A log needs TLS, which this conmon was built without");
}

/* A state that can't be read would prevent upgrades of its monitors. */
static void
test_drivers_are_carried(void)
{
        for (const LogDriver *const *d = log_drivers(); *d; d++) {
                g_test_message("%s", (*d)->name);
                bool has_sink = !((*d)->flags & LOG_DRIVER_NO_SINK);
                g_assert_cmpint((*d)->save != NULL, ==, has_sink);
                g_assert_cmpint((*d)->restore != NULL, ==, has_sink);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/state/values", test_values);
        g_test_add_func("/state/large", test_large);
        g_test_add_func("/state/descriptors", test_descriptors);
        g_test_add_func("/state/failures", test_failures);
        g_test_add_func("/state/refused", test_refused);
        g_test_add_func("/state/origin", test_origin);
        g_test_add_func("/state/damage", test_damage);
        g_test_add_func("/state/newer-version", test_newer_version);
        g_test_add_func("/state/drivers-are-carried", test_drivers_are_carried);
        g_test_add_func("/state/answers", test_answers);
        g_test_add_func("/state/interim-answer", test_interim_answer);
        g_test_add_func("/state/arrival", test_arrival);
        g_test_add_func("/state/exits", test_exits);
        if (!*CONMON_TLS_PROGRAM)
                g_test_add_func("/state/no-tls", test_no_tls);
        return g_test_run();
}
