/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Docker's plugins: frames and discovery. */

#include "log-fixture.h"

#include "log/drivers/plugin/discovery.h"
#include "log/drivers/registry.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- frames ---- */

static void
assert_frame(const LogRecord *r, const char *bytes, size_t len)
{
        const LogDriver *driver = log_driver_find("plugin");
        LogQueue q = {0};
        LogCount none = {0};
        LogBlock *block = log_queue_block(&q, driver->format.max_encoded_len(NULL, r->len));
        g_assert_cmpuint(log_driver_encode(driver, NULL, r, 1, block), ==, 1);
        g_assert_cmpmem(block->bytes, block->end, bytes, len);
        g_assert_cmpuint(block->end, <=, driver->format.max_encoded_len(NULL, r->len));
        log_queue_clear(&q, &none);
        log_queue_release(&q);
}

#define ASSERT_FRAME(r, text) assert_frame(r, text, sizeof(text) - 1)

/* The output of Docker's encoder for the same. */
static void
test_frame(void)
{
        LogRecord r = {.bytes = "hello\n", .len = 5, .time_ns = TEST_NS};
        ASSERT_FRAME(&r, "\0\0\0\x19\x0a\6stdout\x10\x95\x9a\x97\xec\xe3\x9f\xe7\xcb\x17\x1a\5hello");
        r.len = 0;
        r.stream = STREAM_STDERR;
        ASSERT_FRAME(&r, "\0\0\0\x14\x0a\6stderr\x10\x95\x9a\x97\xec\xe3\x9f\xe7\xcb\x17\x1a\0");
}

static void
test_partial_frame(void)
{
        LogRecord r = {.bytes = "hello\n",
                       .len = 5,
                       .time_ns = TEST_NS,
                       .ordinal = 1,
                       .partial_id = 0x123456789abcdef0,
                       .flags = LOG_RECORD_PARTIAL};
        ASSERT_FRAME(&r,
                     "\0\0\0\x31\x0a\6stdout\x10\x95\x9a\x97\xec\xe3\x9f\xe7\xcb\x17\x1a\5hello\x20\1\x2a\x14"
                     "\x12\x10"
                     "123456789abcdef0\x18\1");
        r.ordinal = 300;
        r.flags = LOG_RECORD_CONTINUES;
        ASSERT_FRAME(&r,
                     "\0\0\0\x34\x0a\6stdout\x10\x95\x9a\x97\xec\xe3\x9f\xe7\xcb\x17\x1a\5hello\x20\1\x2a\x17"
                     "\x08\1\x12\x10"
                     "123456789abcdef0\x18\xac\2");
}

/* The longest line, time and number are within max_encoded_len. */
static void
test_longest_frame(void)
{
        g_autofree char *text = g_strnfill(1 << 20, 'x');
        LogRecord r = {.bytes = text,
                       .len = 1 << 20,
                       .time_ns = -1,
                       .ordinal = UINT32_MAX,
                       .partial_id = UINT64_MAX,
                       .flags = LOG_RECORD_PARTIAL | LOG_RECORD_ENDS};
        const LogDriver *driver = log_driver_find("plugin");
        LogQueue q = {0};
        LogCount none = {0};
        LogBlock *block = log_queue_block(&q, driver->format.max_encoded_len(NULL, r.len));
        g_assert_cmpuint(log_driver_encode(driver, NULL, &r, 1, block), ==, 1);
        g_assert_cmpuint(block->end, <=, driver->format.max_encoded_len(NULL, r.len));
        log_queue_clear(&q, &none);
        log_queue_release(&q);
}

/* ---- discovery ---- */

static void
put(const char *dir, const char *below, const char *name, const char *text)
{
        g_autofree char *parent = g_build_filename(dir, below, NULL),
                        *path = g_build_filename(parent, name, NULL);
        g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void
put_socket(const char *dir, const char *below, const char *name)
{
        g_autofree char *parent = g_build_filename(dir, below, NULL),
                        *path = g_build_filename(parent, name, NULL);
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
        g_strlcpy(a.sun_path, path, sizeof a.sun_path);
        g_assert_cmpint(bind(fd, (struct sockaddr *)&a, sizeof a), ==, 0);
        (void)close(fd);
}

static void
assert_found(const char *name, const char *expected)
{
        LogAddress a = {0};
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;
        if (plugin_find(name, &a, &error))
                text = g_strdup_printf("%s %s %u", a.scheme == LOG_SCHEME_UNIX ? "unix" : "tcp", a.host,
                                       a.port);
        g_assert_cmpstr(text ? text : error->message, ==, expected);
        log_address_clear(&a);
}

/* The directories of an ordinary user, in search order. */
static void
test_find(void)
{
        char *dir = tempdir_new();
        g_autofree char *config = g_build_filename(dir, "config", NULL);
        uid_t before = geteuid();
        put_socket(dir, "docker/plugins", "one.sock");
        put_socket(dir, "docker/plugins/two", "two.sock");
        put(dir, "docker/plugins", "three.sock", "no socket");
        put(dir, "config/docker/plugins", "one.spec", "unix:///other\n");
        put(dir, "config/docker/plugins", "three.spec", "unix:///three\n");
        put(dir, "config/docker/plugins", "four.spec", "tcp://h:7\n");
        put(dir, "config/docker/plugins", "five.json",
            "{\"Name\":\"x\",\"Addr\":\"http://[::1]:80\",\"A\":{\"Addr\":1}}");
        put(dir, ".local/lib/docker/plugins", "six.json", "{\"Addr\":\"unix:///six\"}");
        put(dir, ".local/lib/docker/plugins", "seven.json", "{\"Addr\":\"https://h:1\"}");
        put(dir, ".local/lib/docker/plugins", "eight.json", "no json");
        put(dir, ".local/lib/docker/plugins", "nine.spec", "");
        g_setenv("XDG_RUNTIME_DIR", dir, TRUE);
        g_setenv("XDG_CONFIG_HOME", config, TRUE);
        g_setenv("HOME", dir, TRUE);
        g_assert_cmpint(chmod(dir, 0755), ==, 0);
        if (before == 0)
                g_assert_cmpint(seteuid(65534), ==, 0);

        g_autofree char *one = g_strdup_printf("unix %s/docker/plugins/one.sock 0", dir);
        g_autofree char *two = g_strdup_printf("unix %s/docker/plugins/two/two.sock 0", dir);
        g_autofree char *seven =
                g_strdup_printf("the address 'https://h:1' in %s/.local/lib/docker/plugins/seven.json "
                                "is none of unix://PATH and tcp://HOST:PORT",
                                dir);
        g_autofree char *nine =
                g_strdup_printf("the address '' in %s/.local/lib/docker/plugins/nine.spec is none of "
                                "unix://PATH and tcp://HOST:PORT",
                                dir);
        g_autofree char *ten =
                g_strdup_printf("there is no ten.sock in %s/docker/plugins, and no ten.spec or ten.json in "
                                "%s/config/docker/plugins or %s/.local/lib/docker/plugins",
                                dir, dir, dir);
        assert_found("one", one);
        assert_found("two", two);
        assert_found("three", "unix /three 0");
        assert_found("four", "tcp h 7");
        assert_found("five", "tcp ::1 80");
        assert_found("six", "unix /six 0");
        assert_found("seven", seven);
        assert_found("nine", nine);
        assert_found("ten", ten);
        LogAddress a;
        g_autoptr(GError) error = NULL;
        g_assert_false(plugin_find("eight", &a, &error));
        g_assert_nonnull(strstr(error->message, "eight.json"));

        g_assert_cmpint(seteuid(before), ==, 0);
        tempdir_remove(dir);
}

static void
test_names(void)
{
        static const char *const good[] = {"a", "loki-docker_driver.2"}, *const bad[] = {"",   ".",   "..",
                                                                                         ".a", "a/b", "a b"};
        for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
                g_assert_true(plugin_is_name(good[i]));
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                g_assert_false(plugin_is_name(bad[i]));
        g_assert_false(plugin_is_name(NULL));
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log-plugin/frame", test_frame);
        g_test_add_func("/log-plugin/partial-frame", test_partial_frame);
        g_test_add_func("/log-plugin/longest-frame", test_longest_frame);
        g_test_add_func("/log-plugin/find", test_find);
        g_test_add_func("/log-plugin/names", test_names);
        return g_test_run();
}
