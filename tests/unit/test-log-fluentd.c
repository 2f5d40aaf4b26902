/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "net-fixture.h"

#include "log/drivers/fluentd/msgpack.h"

#include <linux/sockios.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

typedef NetFixture Fixture;

/* Replaces libc's function: how many bytes the server has not read; negative: as the kernel says. */
static int unread = -1;

int
ioctl(int fd, IOCTL_REQUEST request, ...)
{
        va_list list;
        va_start(list, request);
        void *data = va_arg(list, void *);
        va_end(list);
        if (request != SIOCOUTQ || unread < 0)
                return (int)syscall(SYS_ioctl, fd, request, data);
        *(int *)data = unread;
        return 0;
}

static void
set_up(Fixture *f, gconstpointer data)
{
        net_set_up(f, "fluentd");
        f->fd = net_listen_unix(SOCK_STREAM, f->path);
        net_add_option(f, "fluentd-address=unix://%s", f->path);
}

static void
expect_bytes(int fd, const char *bytes, size_t len)
{
        GString *text = net_read(fd, len);
        g_assert_cmpmem(text->str, text->len, bytes, len);
        g_string_free(text, TRUE);
}

#define EXPECT(fd, bytes) expect_bytes(fd, bytes, sizeof(bytes) - 1)

/* 2023-11-14T22:13:20.123456789Z */
#define EVENT_TIME "\xd7\x00\x65\x53\xf1\x00\x07\x5b\xcd\x15"
#define ID_MEMBER  "\xac" "container_id" "\xb4" TEST_CID

static void
test_format(Fixture *f, gconstpointer data)
{
        net_add_option(f, "tag=ab12");
        net_add_option(f, "fluentd-sub-second-precision=true");
        f->config.name = "web";
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "hello\n");
        int fd = net_accept(f->fd);
#define ENTRY(source, log)                                                              \
        "\x92" EVENT_TIME "\x84" ID_MEMBER "\xae" "container_name" "\xa4" "/web" "\xa6" \
        "source" "\xa6" source "\xa3" "log" log
        EXPECT(fd, "\x93\xa4" "ab12" "\xc4\x5a" ENTRY("stdout", "\xa5" "hello") "\x81\xa4" "size" "\x01");
        log_fixture_write(f->log, STREAM_STDERR, "\na\n");
        EXPECT(fd, "\x93\xa4" "ab12" "\xc4\xab" ENTRY("stderr", "\xa0") ENTRY("stderr", "\xa1" "a")
               "\x81\xa4" "size" "\x02");
#undef ENTRY
        (void)close(fd);
}

static void
test_whole_seconds_and_attributes(Fixture *f, gconstpointer data)
{
        char *labels[] = {(char *)"A=1=2", NULL};
        f->config.labels = labels;
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "x\n");
        int fd = net_accept(f->fd);
        EXPECT(fd, "\x93\xac" "0123456789ab" "\xc4\x43" "\x92\xce\x65\x53\xf1\x00\x84" ID_MEMBER
               "\xa6" "source" "\xa6" "stdout" "\xa3" "log" "\xa1" "x" "\xa1" "A" "\xa3" "1=2"
               "\x81\xa4" "size" "\x01");
        (void)close(fd);
}

static void
test_partial(Fixture *f, gconstpointer data)
{
        net_add_option(f, "max-record=64");
        net_add_option(f, "tag=t");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        g_autofree char *line = g_strnfill(64, 'x');
        log_fixture_write(f->log, STREAM_STDOUT, line);
        log_fixture_write(f->log, STREAM_STDOUT, "ef\n");
        int fd = net_accept(f->fd);
        static const char first[] = "xx" "\xaf" "partial_message" "\xa4" "true" "\xaa" "partial_id";
        static const char second[] = "\xa3" "log" "\xa2" "ef" "\xaf" "partial_message" "\xa4" "true"
                                     "\xaa" "partial_id";
        static const char third[] = "\xaf" "partial_ordinal" "\xa1" "2" "\xac" "partial_last" "\xa4" "true"
                                    "\x81";
        GString *all = g_string_new(NULL);
        while (!memmem(all->str, all->len, third, sizeof third - 1)) {
                GString *byte = net_read(fd, 1);
                g_string_append_len(all, byte->str, (gssize)byte->len);
                g_string_free(byte, TRUE);
        }
        g_assert_nonnull(memmem(all->str, all->len, first, sizeof first - 1));
        g_assert_nonnull(memmem(all->str, all->len, second, sizeof second - 1));
        g_string_free(all, TRUE);
        (void)close(fd);
}

/* Reads a message with an acknowledgement request; returns the name of its chunk. */
static char *
take_chunk(int fd, const char *line)
{
        char text[8192];
        net_wait_readable(fd);
        ssize_t n = read(fd, text, sizeof text);
        g_assert_cmpint((int)n, >, 40);
        g_assert_nonnull(memmem(text, (size_t)n, line, strlen(line)));
        g_assert_cmpmem(text + n - 31, 7, "\xa5" "chunk" "\xb8", 7);
        return g_strndup(text + n - 24, 24);
}

static void
send_ack(int fd, const char *name)
{
        g_autofree char *ack = g_strconcat("\x81\xa3" "ack" "\xb8", name, NULL);
        /* In two pieces. */
        g_assert_cmpint((int)write(fd, ack, 10), ==, 10);
        net_run(10);
        g_assert_cmpint((int)write(fd, ack + 10, strlen(ack) - 10), ==, (int)strlen(ack) - 10);
}

/* Several messages may be unacknowledged at the same time; they are sent again after the connection is
 * lost. */
static void
test_acknowledgements(Fixture *f, gconstpointer data)
{
        net_add_option(f, "fluentd-request-ack=true");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        g_autofree char *one = take_chunk(fd, "one");
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        g_free(take_chunk(fd, "two"));
        log_fixture_write(f->log, STREAM_STDOUT, "three\n");
        g_autofree char *three = take_chunk(fd, "three");
        send_ack(fd, three);
        send_ack(fd, one);
        net_wait_delivered(f->log, f->dir, 4);
        g_autofree char *status = net_status(f->log, f->dir);
        g_assert_cmpuint(net_count(status, "queued", "bytes"), ==, 10);
        net_check_sum(status);
        (void)close(fd);
        fd = net_accept(f->fd);
        g_autofree char *again = take_chunk(fd, "two");
        send_ack(fd, again);
        net_wait_delivered(f->log, f->dir, 14);
        g_free(status);
        status = net_status(f->log, f->dir);
        net_check_sum(status);
        (void)close(fd);
}

/* The server reads nothing until the window is full, and then everything: the rest follows at once, without
 * another record. */
static void
test_full_window(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        unread = 1 << 30;
        for (int i = 0; i < 70; i++)
                log_fixture_write(f->log, STREAM_STDOUT, "x\n");
        unread = 0;
        log_fixture_write(f->log, STREAM_STDOUT, "x\n");
        g_autofree char *status = net_status(f->log, f->dir);
        unread = -1;
        net_check_sum(status);
        g_assert_cmpuint(net_count(status, "sent", "records"), ==, 71);
        g_assert_cmpuint(net_count(status, "out", "records"), ==, 71);
}

/* The connection is closed if the server does not acknowledge or sends garbage. */
static void
test_no_acknowledgement(Fixture *f, gconstpointer data)
{
        net_add_option(f, "fluentd-request-ack=true");
        net_add_option(f, "fluentd-read-timeout=1s");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        g_free(take_chunk(fd, "one"));
        int second = net_accept(f->fd);
        g_free(take_chunk(second, "one"));
        (void)close(fd);
        g_assert_cmpint((int)write(second, "nonsense", 8), ==, 8);
        int third = net_accept(f->fd);
        g_autofree char *name = take_chunk(third, "one");
        send_ack(third, name);
        net_wait_delivered(f->log, f->dir, 4);
        (void)close(second);
        (void)close(third);
}

/* The time limit for an acknowledgement is not one for the transfer of the message; and later messages do not
 * extend it. */
static void
test_slow_transfer(Fixture *f, gconstpointer data)
{
        net_add_option(f, "fluentd-request-ack=true");
        net_add_option(f, "fluentd-read-timeout=2s");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        unread = 1 << 30;
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd);
        g_free(take_chunk(fd, "one"));
        for (unread = 60; unread > 0; unread--)
                net_run(50);
        g_autofree char *status = net_status(f->log, f->dir);
        g_assert_nonnull(strstr(status, "\"errors\":{\"count\":0,"));
        GPollFD next = {.fd = f->fd, .events = G_IO_IN};
        int more = 0;
        for (; g_poll(&next, 1, 0) == 0; more++) {
                log_fixture_write(f->log, STREAM_STDOUT, "x\n");
                net_run(100);
        }
        g_assert_cmpint(more, <, 60);
        unread = -1;
        (void)close(fd);
}

/* Connects until the backlog is full. Returns the number of connections. */
static size_t
fill_backlog(const char *path, int *fds, size_t max)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        g_strlcpy(a.sun_path, path, sizeof a.sun_path);
        for (size_t n = 0; n < max; n++) {
                fds[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                if (connect(fds[n], (struct sockaddr *)&a, sizeof a) == 0)
                        continue;
                g_assert_cmpint(errno, ==, EAGAIN);
                (void)close(fds[n]);
                return n;
        }
        g_assert_not_reached();
}

/* A server that does not accept for a while is retried even if the container is idle. */
static void
test_busy_server(Fixture *f, gconstpointer data)
{
        int fds[64];
        size_t n = fill_backlog(f->path, fds, G_N_ELEMENTS(fds));
        net_add_option(f, "tag=t");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        net_run(10);
        for (size_t i = 0; i < n; i++) {
                (void)close(accept(f->fd, NULL, NULL));
                (void)close(fds[i]);
        }
        int fd = net_accept(f->fd);
        EXPECT(fd, "\x93\xa1" "t");
        (void)close(fd);
}

static char *
sha512(const char *salt, size_t salt_len, const char *rest)
{
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA512);
        g_checksum_update(sum, (const guchar *)salt, (gssize)salt_len);
        g_checksum_update(sum, (const guchar *)rest, -1);
        return g_strdup(g_checksum_get_string(sum));
}

static MsgpackValue
take(MsgpackReader *r, MsgpackType type)
{
        MsgpackValue v;
        g_assert_cmpint(msgpack_read(r, &v), ==, 0);
        g_assert_cmpint((int)v.type, ==, (int)type);
        return v;
}

#define SALT_LEN 16
#define HELO                                                                                           \
        "\x92\xa4" "HELO" "\x83\xa5" "nonce" "\xc4\x05" "NONCE" "\xa4" "auth" "\xc4\x04" "AUTH" "\xa9" \
        "keepalive" "\xc3"

/* Sends HELO, checks the PING; returns the salt. */
static char *
greet(int fd)
{
        g_assert_cmpint((int)write(fd, HELO, sizeof HELO - 1), ==, (int)sizeof HELO - 1);
        GString *ping = net_read(fd, 1 + 5 + 7 + 18 + 130 + 4 + 130);
        MsgpackReader r = {ping->str, ping->str + ping->len};
        g_assert_cmpuint(take(&r, MSGPACK_ARRAY).n, ==, 6);
        g_assert_cmpmem(take(&r, MSGPACK_STR).text, 4, "PING", 4);
        g_assert_cmpmem(take(&r, MSGPACK_STR).text, 6, "client", 6);
        MsgpackValue salt = take(&r, MSGPACK_STR), key = take(&r, MSGPACK_STR), user = take(&r, MSGPACK_STR),
                     password = take(&r, MSGPACK_STR);
        g_assert_cmpuint(salt.len, ==, SALT_LEN);
        g_autofree char *expected = sha512(salt.text, salt.len, "clientNONCEsecret");
        g_assert_cmpmem(key.text, key.len, expected, 128);
        g_assert_cmpmem(user.text, user.len, "joe", 3);
        g_autofree char *expected_password = sha512("AUTH", 4, "joepass");
        g_assert_cmpmem(password.text, password.len, expected_password, 128);
        char *copy = g_malloc(SALT_LEN);
        memcpy(copy, salt.text, SALT_LEN);
        g_string_free(ping, TRUE);
        return copy;
}

static void
answer(int fd, const char *salt, const char *key)
{
        g_autofree char *rest = g_strconcat("server", "NONCE", key, NULL);
        g_autofree char *proof = sha512(salt, SALT_LEN, rest);
        g_autofree char *pong =
                g_strconcat("\x95\xa4" "PONG" "\xc3\xa0\xa6" "server" "\xd9\x80", proof, NULL);
        g_assert_cmpint((int)write(fd, pong, strlen(pong)), ==, (int)strlen(pong));
}

static void
test_handshake(Fixture *f, gconstpointer data)
{
        tempdir_put(f->dir, "key", "secret\n");
        g_setenv("TEST_PASSWORD", "pass", TRUE);
        net_add_option(f, "fluentd-shared-key-file=%s/key", f->dir);
        net_add_option(f, "fluentd-self-hostname=client");
        net_add_option(f, "fluentd-username=joe");
        net_add_option(f, "fluentd-password-env=TEST_PASSWORD");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        /* A server that does not know the key gets no records. */
        int fd = net_accept(f->fd);
        g_autofree char *salt = greet(fd);
        answer(fd, salt, "guess");
        GString *nothing = net_read(fd, 1);
        g_assert_cmpuint(nothing->len, ==, 0);
        g_string_free(nothing, TRUE);
        (void)close(fd);

        /* Being connected again does not yet count as success. */
        fd = net_accept(f->fd);
        g_autofree char *status = net_status(f->log, f->dir);
        g_assert_nonnull(strstr(status, "\"state\":\"failing\""));
        g_autofree char *other = greet(fd);
        answer(fd, other, "secret");
        EXPECT(fd, "\x93\xac" "0123456789ab");
        (void)close(fd);
}

/* A server without a key never sends HELO: that is an error after a timeout. */
static void
test_no_handshake(Fixture *f, gconstpointer data)
{
        tempdir_put(f->dir, "key", "secret\n");
        net_add_option(f, "fluentd-shared-key-file=%s/key", f->dir);
        net_add_option(f, "fluentd-read-timeout=20ms");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        int fd = net_accept(f->fd), second = net_accept(f->fd);
        g_autofree char *status = net_status(f->log, f->dir);
        g_assert_nonnull(strstr(status, "\"last\":\"the server did not ask for the shared key in time; "
                                        "it may have none\""));
        g_assert_cmpuint(net_count(status, "queued", "bytes"), ==, 4);
        GString *nothing = net_read(fd, 1);
        g_assert_cmpuint(nothing->len, ==, 0);
        g_string_free(nothing, TRUE);
        (void)close(fd);
        (void)close(second);
}

/* What the server says is wrong, and what the status says about that. */
static void
test_reasons(Fixture *f, gconstpointer data)
{
        static const struct {
                const char *options[2], *said, *last;
        } cases[] = {
                {{"tag=t"}, HELO, "the server requires a shared key; set fluentd-shared-key-file"},
                {{"fluentd-request-ack=true"},
                 HELO,
                 "the server requires a shared key; set fluentd-shared-key-file"},
                {{"tag=t"}, "\x15\x03\x03", "the server does not speak the forward protocol"},
                {{"fluentd-request-ack=true"},
                 "\x81\xa3" "ack" "\xa1" "x",
                 "the server sent something else than an acknowledgement"},
                {{"fluentd-request-ack=true", "fluentd-read-timeout=20ms"},
                 "",
                 "the server did not acknowledge a message in time"},
                {{"fluentd-shared-key-env=TEST_KEY"},
                 "HTTP/1.1 400 Bad Request",
                 "the server does not speak the forward protocol"},
                {{"fluentd-shared-key-env=TEST_KEY"},
                 HELO "\x95\xa4" "PONG" "\xc2\xa9" "wrong\nkey" "\xa0\xa0",
                 "the server refused: wrong key"},
                {{"fluentd-shared-key-env=TEST_KEY"},
                 HELO "\x95\xa4" "PONG" "\xc3\xa0\xa6" "server" "\xa1" "x",
                 "the server does not know the shared key"},
        };
        g_setenv("TEST_KEY", "secret", TRUE);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const char *said = cases[i].said;
                char *options[] = {f->options[0], (char *)cases[i].options[0], (char *)cases[i].options[1],
                                   NULL};
                f->log = log_fixture_start_with(&f->config, f->drivers, options);
                log_fixture_write(f->log, STREAM_STDOUT, "one\n");
                int fd = net_accept(f->fd);
                g_assert_cmpint(write(fd, said, strlen(said)), ==, (ssize_t)strlen(said));
                int second = net_accept(f->fd);
                g_autofree char *status = net_status(f->log, f->dir);
                g_autofree char *last = g_strdup_printf("\"last\":\"%s\"", cases[i].last);
                if (!strstr(status, last))
                        g_error("no %s in %s", last, status);
                (void)close(fd);
                (void)close(second);
                log_free(f->log);
                f->log = NULL;
        }
}

/* All data arrives, even if it is read slowly. */
static void
test_slow(Fixture *f, gconstpointer data)
{
        net_add_option(f, "max-buffer-size=64m");
        net_add_option(f, "tag=t");
        f->log = log_fixture_start_with(&f->config, f->drivers, f->options);
        g_autofree char *line = g_strnfill(99, 'x');
        g_autofree char *text = g_strconcat(line, "\n", line, "\n", NULL);
        for (int i = 0; i < 20000; i++)
                log_fixture_write(f->log, STREAM_STDOUT, text);
        int fd = net_accept(f->fd);
        size_t entries = 0, expected = 40000;
        GString *bytes = g_string_new(NULL);
        while (entries < expected) {
                char part[65536];
                net_wait_readable(fd);
                ssize_t n = read(fd, part, sizeof part);
                g_assert_cmpint((int)n, >, 0);
                g_string_append_len(bytes, part, n);
                MsgpackReader r = {bytes->str, bytes->str + bytes->len};
                MsgpackReader before = r;
                MsgpackValue head, tag, packed, option, size;
                while (msgpack_read(&r, &head) == 0 && msgpack_read(&r, &tag) == 0 &&
                       msgpack_read(&r, &packed) == 0 && msgpack_read(&r, &option) == 0 &&
                       msgpack_read(&r, &size) == 0 && msgpack_skip(&r) == 0) {
                        MsgpackReader inner = {packed.text, packed.text + packed.len};
                        while (inner.at < inner.end) {
                                g_assert_cmpint(msgpack_skip(&inner), ==, 0);
                                entries++;
                        }
                        before = r;
                }
                g_string_erase(bytes, 0, before.at - bytes->str);
        }
        g_assert_cmpuint(bytes->len, ==, 0);
        g_string_free(bytes, TRUE);
        net_wait_delivered(f->log, f->dir, 4000000);
        g_autofree char *status = net_status(f->log, f->dir);
        net_check_sum(status);
        (void)close(fd);
}

static void
test_refused(Fixture *f, gconstpointer data)
{
        static const char *const cases[][2] = {
                {"fluentd-address=udp://x",
                 "Log driver fluentd: option fluentd-address can't be 'udp://x'; allowed: "
                 "tcp://HOST[:PORT], HOST[:PORT], tls://HOST[:PORT], unix://PATH"},
                {"fluentd-shared-key-file=/nonexistent/key",
                 "Log driver fluentd: failed to read /nonexistent/key, the value of option "
                 "fluentd-shared-key-file: No such file or directory"},
                {"fluentd-shared-key-file=/dev/zero",
                 "Log driver fluentd: /dev/zero, the value of option fluentd-shared-key-file, is longer "
                 "than 4096 bytes or has a NUL byte"},
                {"fluentd-shared-key-env=TEST_NOT_SET",
                 "Log driver fluentd: there is no environment variable TEST_NOT_SET, the "
                                                        "value of option fluentd-shared-key-env"},
                {"fluentd-shared-key=x", NULL},
                {"fluentd-username=x",
                 "Log driver fluentd: option fluentd-username and fluentd-password-file or "
                                       "fluentd-password-env must be given together"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                char *opts[] = {(char *)cases[i][0], NULL};
                g_autofree char *message = log_fixture_refusal(&f->config, f->drivers, opts);
                if (cases[i][1])
                        g_assert_cmpstr(message, ==, cases[i][1]);
        }
}

/* Numbers from the specification, and invalid MessagePack. */
static void
test_msgpack(void)
{
        static const struct {
                uint32_t value;
                const char *bytes;
                size_t len;
        } numbers[] = {
                {0, "\x00", 1}, {127, "\x7f", 1}, {128, "\xcc\x80", 2}, {256, "\xcd\x01\x00", 3},
                {65536, "\xce\x00\x01\x00\x00", 5},
        };
        char out[16];
        for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
                g_assert_cmpmem(out, (size_t)(msgpack_put_uint(out, numbers[i].value) - out),
                                numbers[i].bytes, numbers[i].len);
        g_assert_cmpmem(out, (size_t)(msgpack_put_str_head(out, 31) - out), "\xbf", 1);
        g_assert_cmpmem(out, (size_t)(msgpack_put_str_head(out, 32) - out), "\xd9\x20", 2);
        g_assert_cmpmem(out, (size_t)(msgpack_put_str_head(out, 256) - out), "\xda\x01\x00", 3);
        g_assert_cmpmem(out, (size_t)(msgpack_put_str_head(out, 65536) - out), "\xdb\x00\x01\x00\x00", 5);
        g_assert_cmpmem(out, (size_t)(msgpack_put_bin_head(out, 0) - out), "\xc4\x00", 2);
        g_assert_cmpmem(out, (size_t)(msgpack_put_map(out, 16) - out), "\xde\x00\x10", 3);
        g_assert_cmpmem(out, (size_t)(msgpack_put_array(out, 16) - out), "\xdc\x00\x10", 3);

        static const struct {
                const char *bytes;
                size_t len;
                int result;
        } inputs[] = {
                {"\xc1", 1, -EBADMSG}, {"", 0, -EAGAIN}, {"\xa2" "a", 2, -EAGAIN}, {"\x92\x01", 2, -EAGAIN},
                {"\x92\x01\xc0", 3, 0}, {"\xcb" "12345678", 9, 0}, {"\xd8" "t1234567890123456", 18, 0},
                {"\xc7\x01" "tx", 4, 0}, {"\xdf\xff\xff\xff\xff\x01", 6, -EAGAIN},
                {"\xd3" "1234567", 8, -EAGAIN},
                {"\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x01",
                 20, -EBADMSG},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(inputs); i++) {
                MsgpackReader r = {inputs[i].bytes, inputs[i].bytes + inputs[i].len};
                g_assert_cmpint(msgpack_skip(&r), ==, inputs[i].result);
                g_assert_true(r.at == (inputs[i].result == 0 ? r.end : inputs[i].bytes));
        }
}

/* A server that sends single bytes: each is parsed once. */
static void
test_scan(void)
{
        enum { N = 60000 };
        g_autofree char *text = g_malloc(3 + N);
        MsgpackScan scan = {0};
        memcpy(text, "\xdc\xea\x60", 3);
        memset(text + 3, 7, N);
        for (size_t len = 1; len < 3 + N; len++) {
                g_assert_cmpint(msgpack_scan(&scan, text, len), ==, -EAGAIN);
                g_assert_cmpuint(scan.at, ==, len < 3 ? 0 : len);
        }
        g_assert_cmpint(msgpack_scan(&scan, text, 3 + N), ==, 0);
        g_assert_cmpuint(scan.at, ==, 3 + N);

        g_autofree char *deep = g_strnfill(MSGPACK_DEPTH_MAX + 1, '\x91');
        scan = (MsgpackScan){0};
        g_assert_cmpint(msgpack_scan(&scan, deep, MSGPACK_DEPTH_MAX + 1), ==, -EBADMSG);
}

int
main(int argc, char **argv)
{
        log_fixture_set_up();
        g_test_init(&argc, &argv, NULL);
        g_test_add("/log-fluentd/format", Fixture, NULL, set_up, test_format, net_tear_down);
        g_test_add("/log-fluentd/seconds", Fixture, NULL, set_up, test_whole_seconds_and_attributes,
                   net_tear_down);
        g_test_add("/log-fluentd/partial", Fixture, NULL, set_up, test_partial, net_tear_down);
        g_test_add("/log-fluentd/acknowledgements", Fixture, NULL, set_up, test_acknowledgements,
                   net_tear_down);
        g_test_add("/log-fluentd/full-window", Fixture, NULL, set_up, test_full_window, net_tear_down);
        g_test_add("/log-fluentd/no-acknowledgement", Fixture, NULL, set_up, test_no_acknowledgement,
                   net_tear_down);
        g_test_add("/log-fluentd/slow-transfer", Fixture, NULL, set_up, test_slow_transfer, net_tear_down);
        g_test_add("/log-fluentd/busy-server", Fixture, NULL, set_up, test_busy_server, net_tear_down);
        g_test_add("/log-fluentd/handshake", Fixture, NULL, set_up, test_handshake, net_tear_down);
        g_test_add("/log-fluentd/no-handshake", Fixture, NULL, set_up, test_no_handshake, net_tear_down);
        g_test_add("/log-fluentd/slow", Fixture, NULL, set_up, test_slow, net_tear_down);
        g_test_add("/log-fluentd/reasons", Fixture, NULL, set_up, test_reasons, net_tear_down);
        g_test_add("/log-fluentd/refused", Fixture, NULL, set_up, test_refused, net_tear_down);
        g_test_add_func("/log-fluentd/msgpack", test_msgpack);
        g_test_add_func("/log-fluentd/scan", test_scan);
        return g_test_run();
}
