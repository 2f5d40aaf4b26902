/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* The journald driver, with a socket in place of the real one in a private mount namespace. */

#include "base/watch.h"
#include "log-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_PATH "/run/systemd/journal/socket"

typedef struct {
        int fd;
        char *paths[2];
        LogConfig config;
        Log *log;
} Fixture;

static int
bind_journal(void)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = SOCKET_PATH};
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)unlink(SOCKET_PATH);
        g_assert_cmpint(bind(fd, (struct sockaddr *)&a, sizeof a), ==, 0);
        return fd;
}

static void
set_up(Fixture *f, gconstpointer data)
{
        f->fd = bind_journal();
        f->paths[0] = (char *)"journald";
        f->config = log_fixture_config(f->paths);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
        log_free(f->log);
        (void)close(f->fd);
        (void)unlink(SOCKET_PATH);
}

/* One entry, or NULL if none is available. */
static GString *
receive(const Fixture *f)
{
        g_autofree char *text = g_malloc(1 << 20);
        ssize_t n = recv(f->fd, text, 1 << 20, 0);
        return n < 0 ? NULL : g_string_new_len(text, n);
}

static void
assert_entry(const Fixture *f, const char *bytes, size_t len)
{
        GString *entry = receive(f);
        g_assert_nonnull(entry);
        g_assert_cmpmem(entry->str, entry->len, bytes, len);
        g_string_free(entry, TRUE);
}

#define ASSERT_ENTRY(f, text) assert_entry(f, text, sizeof(text) - 1)
#define LENGTH(octal) octal "\0\0\0\0\0\0\0"
#define FIELDS(priority) \
        "\nCONTAINER_ID_FULL=" TEST_CID "\nPRIORITY=" priority "\nCONTAINER_ID=0123456789ab\n"

static void
test_plain(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "hello\n\n");
        log_fixture_write(f->log, STREAM_STDERR, "oh\r\n");
        ASSERT_ENTRY(f, "MESSAGE\n" LENGTH("\6") "hello\n" FIELDS("6") "SYSLOG_IDENTIFIER=0123456789ab\n");
        ASSERT_ENTRY(f, "MESSAGE\n" LENGTH("\1") "\n" FIELDS("6") "SYSLOG_IDENTIFIER=0123456789ab\n");
        ASSERT_ENTRY(f, "MESSAGE\n" LENGTH("\4") "oh\r\n" FIELDS("3") "SYSLOG_IDENTIFIER=0123456789ab\n");
        g_assert_null(receive(f));
}

static void
test_metadata(Fixture *f, gconstpointer data)
{
        char *labels[] = {(char *)"A_1=x=y", (char *)"B=", (char *)"C=1\n2", NULL};
        f->config.labels = labels;
        f->config.name = "web";
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "a\n");
        ASSERT_ENTRY(f, "MESSAGE\n" LENGTH("\2") "a\n" FIELDS("6")
                        "CONTAINER_NAME=web\nSYSLOG_IDENTIFIER=web\nA_1=x=y\nB=\nC\n" LENGTH("\3") "1\n2\n");
}

static void
test_tag(Fixture *f, gconstpointer data)
{
        f->config.name = "web";
        f->config.tag = "the tag";
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "a\n");
        ASSERT_ENTRY(f, "MESSAGE\n" LENGTH("\2") "a\n" FIELDS("6")
                        "CONTAINER_TAG=the tag\nCONTAINER_NAME=web\nSYSLOG_IDENTIFIER=the tag\n");
}

static void
test_prefix(Fixture *f, gconstpointer data)
{
        static const struct {
                const char *line, *message;
                char priority;
        } cases[] = {
                {"<0>panic\n", "panic\n", '0'}, {"<7>x\n", "x\n", '7'},     {"<8>x\n", "<8>x\n", '6'},
                {"<3>\n", "\n", '3'},           {"<3\n", "<3\n", '6'},      {" <3>x\n", " <3>x\n", '6'},
                {"<10>x\n", "<10>x\n", '6'},    {"<3><4>x\n", "<4>x\n", '3'},
        };
        f->log = log_fixture_start(&f->config);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                log_fixture_write(f->log, STREAM_STDOUT, cases[i].line);
                GString *entry = receive(f);
                g_assert_cmpmem(entry->str, 8, "MESSAGE\n", 8);
                g_assert_cmpint(entry->str[8], ==, (int)strlen(cases[i].message));
                g_assert_cmpmem(entry->str + 16, strlen(cases[i].message), cases[i].message,
                                strlen(cases[i].message));
                const char *priority = strstr(entry->str + 16, "PRIORITY=");
                g_assert_cmpint(priority[9], ==, cases[i].priority);
                g_string_free(entry, TRUE);
        }
}

static void
test_options(Fixture *f, gconstpointer data)
{
        char *opts[] = {(char *)"journald.parse-prefix=no", (char *)"journald.priority-stdout=5",
                        (char *)"journald.tag=T", NULL};
        log_fixture_ask(&f->config, NULL, opts);
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "<3>a\n");
        ASSERT_ENTRY(f, "MESSAGE\n" LENGTH("\5") "<3>a\n" FIELDS("5")
                        "CONTAINER_TAG=T\nSYSLOG_IDENTIFIER=T\n");
}

/* The last line has no newline: it is sent at the end of the container. */
static void
test_unfinished(Fixture *f, gconstpointer data)
{
        f->config.no_partial_message = data != NULL;
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "tail");
        log_finish_local(f->log, g_get_monotonic_time() + 100 * 1000);
        if (data)
                ASSERT_ENTRY(f, "MESSAGE=tail" FIELDS("6") "SYSLOG_IDENTIFIER=0123456789ab\n");
        else
                ASSERT_ENTRY(f, "MESSAGE=tail" FIELDS("6") "SYSLOG_IDENTIFIER=0123456789ab\n"
                                "CONTAINER_PARTIAL_MESSAGE=true\n");
        g_assert_null(receive(f));
}

/* Labels can make an entry very large. */
static void
test_large(Fixture *f, gconstpointer data)
{
        g_autofree char *value = g_strnfill(600000, 'v');
        g_autofree char *label = g_strconcat("LARGE=", value, NULL);
        char *labels[] = {label, NULL};
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control;
        char byte;
        struct iovec piece = {&byte, 1};
        struct msghdr message = {.msg_iov = &piece,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof control};
        f->config.labels = labels;
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "hello\n");

        g_assert_cmpint((int)recvmsg(f->fd, &message, 0), ==, 0);
        g_assert_cmpint(control.header.cmsg_type, ==, SCM_RIGHTS);
        int fd;
        memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
        g_assert_cmpint(fcntl(fd, F_GET_SEALS), ==, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
        struct stat st;
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        char *entry = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        g_assert_true(entry != MAP_FAILED);
        static const char head[] = "MESSAGE\n" LENGTH("\6") "hello\n";
        g_assert_cmpmem(entry, sizeof head - 1, head, sizeof head - 1);
        g_assert_cmpmem(entry + st.st_size - 600007, 600006, label, 600006);
        (void)munmap(entry, (size_t)st.st_size);
        (void)close(fd);
}

/* Records written while the journal is down arrive after its restart. */
static void
test_restart(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        g_string_free(receive(f), TRUE);
        (void)close(f->fd);
        (void)unlink(SOCKET_PATH);
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        log_fixture_write(f->log, STREAM_STDOUT, "three\n");
        f->fd = bind_journal();
        GString *entry;
        gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        while (!(entry = receive(f)) && g_get_monotonic_time() < end)
                loop_iterate(true);
        g_assert_nonnull(entry);
        g_assert_cmpmem(entry->str + 16, 4, "two\n", 4);
        g_string_free(entry, TRUE);
        entry = receive(f);
        g_assert_cmpmem(entry->str + 16, 6, "three\n", 6);
        g_string_free(entry, TRUE);
}

/* A journal restarted since the last entry gets the next one at once. */
static void
test_new_journal(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "one\n");
        (void)close(f->fd);
        f->fd = bind_journal();
        log_fixture_write(f->log, STREAM_STDOUT, "two\n");
        GString *entry = receive(f);
        g_assert_nonnull(entry);
        g_assert_cmpmem(entry->str + 16, 4, "two\n", 4);
        g_string_free(entry, TRUE);
}

/* A journal that does not read does not block the container. */
static void
test_full(Fixture *f, gconstpointer data)
{
        char *opts[] = {(char *)"journald.mode=non-blocking", NULL};
        log_fixture_ask(&f->config, NULL, opts);
        f->log = log_fixture_start(&f->config);
        for (int i = 0; i < 5000; i++)
                log_fixture_write(f->log, STREAM_STDOUT, "a line that is not read\n");
        g_assert_true(log_wants(f->log, STREAM_STDOUT));
        log_finish_local(f->log, g_get_monotonic_time() + 100 * 1000);
}

/* By default the container waits for a slow journal, but not for one that is down. */
static void
test_waits(Fixture *f, gconstpointer data)
{
        f->log = log_fixture_start(&f->config);
        for (int i = 0; i < 20000 && log_wants(f->log, STREAM_STDOUT); i++)
                log_fixture_write(f->log, STREAM_STDOUT, "a line that is not read\n");
        g_assert_false(log_wants(f->log, STREAM_STDOUT));
        (void)close(f->fd);
        (void)unlink(SOCKET_PATH);
        gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        while (!log_wants(f->log, STREAM_STDOUT) && g_get_monotonic_time() < end)
                loop_iterate(true);
        g_assert_true(log_wants(f->log, STREAM_STDOUT));
        f->fd = bind_journal();
}

/* Records of 8192 bytes, regardless of how the line is written. */
static void
test_long_line(Fixture *f, gconstpointer data)
{
        g_autofree char *line = g_strnfill(8192, 'x');
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "ab");
        log_fixture_write(f->log, STREAM_STDOUT, line);
        log_fixture_write(f->log, STREAM_STDOUT, "c\n");
        GString *entry = receive(f);
        g_assert_cmpmem(entry->str, 11, "MESSAGE=abx", 11);
        g_assert_cmpint(entry->str[8 + 8192], ==, '\n');
        g_assert_nonnull(strstr(entry->str, "\nCONTAINER_PARTIAL_MESSAGE=true\n"));
        g_string_free(entry, TRUE);
        ASSERT_ENTRY(f, "MESSAGE\n" LENGTH("\4") "xxc\n" FIELDS("6") "SYSLOG_IDENTIFIER=0123456789ab\n");
        g_assert_null(receive(f));
}

static void
test_missing(Fixture *f, gconstpointer data)
{
        g_autofree char *dir = tempdir_new();
        g_autofree char *option = g_strdup_printf("journald.on-missing=file:%s/fallback", dir);
        char *fail[] = {(char *)"journald.on-missing=fail", NULL}, *file[] = {option, NULL};
        (void)unlink(SOCKET_PATH);
        g_autofree char *message = log_fixture_refusal(&f->config, NULL, fail);
        g_assert_cmpstr(message, ==,
                        "Log driver journald: there is no journal at " SOCKET_PATH
                        ": No such file or directory");
        log_fixture_ask(&f->config, NULL, file);
        f->log = log_fixture_start(&f->config);
        log_fixture_write(f->log, STREAM_STDOUT, "a\n");
        g_autofree char *content = tempdir_get(dir, "fallback");
        g_assert_cmpstr(content, ==, TEST_CRI("stdout", "F") "a\n");
        tempdir_remove(g_steal_pointer(&dir));
}

/* Without a journal the cause of losses is that it is missing, not that it is slow. */
static void
test_missing_is_the_cause(Fixture *f, gconstpointer data)
{
        char *options[] = {(char *)"journald.max-buffer-size=1k", NULL};
        g_autofree char *path = NULL, *json = NULL, *line = g_strnfill(99, 'x');
        g_autofree char *text = g_strconcat(line, "\n", NULL);
        (void)unlink(SOCKET_PATH);
        log_fixture_ask(&f->config, NULL, options);
        f->config.bundle = "/nowhere";
        f->log = log_fixture_start(&f->config);
        for (int i = 0; i < 50; i++)
                log_fixture_write(f->log, STREAM_STDOUT, text);
        g_assert_true(log_describe(f->log, false, NULL, &path, &json));
        g_assert_nonnull(strstr(json, "\"queue-full\":{\"records\":0,"));
        g_assert_nonnull(strstr(json, "\"not-connected\":{\"records\":"));
        g_assert_null(strstr(json, "\"not-connected\":{\"records\":0,"));
}

static void
test_refused(Fixture *f, gconstpointer data)
{
        static const struct {
                const char *cid, *label, *option, *error;
        } cases[] = {
                {"123456789012", "A=b", NULL, "Container ID must be longer than 12 characters"},
                {TEST_CID, "=b", NULL,
                 "Container labels must be in format LABEL=VALUE (the name is missing in '=b')"},
                {TEST_CID, "A", NULL,
                 "Container labels must be in format LABEL=VALUE (there is no = in 'A')"},
                {TEST_CID, "a=b", NULL,
                 "Container label names must contain only uppercase letters, numbers and underscore (not so "
                 "in 'a=b')"},
                {TEST_CID, NULL, "journald.on-missing=file:",
                 "Log driver journald: option on-missing can't be 'file:'; allowed: warn, fail, file:PATH"},
                {TEST_CID, NULL, "journald.priority-stdout=8",
                 "Log driver journald: option priority-stdout can't be '8'; allowed: a whole number, "
                 "from 0 to 7"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                char *labels[] = {(char *)cases[i].label, NULL}, *opts[] = {(char *)cases[i].option, NULL};
                f->config.cid = cases[i].cid;
                f->config.labels = labels;
                g_autofree char *message = log_fixture_refusal(&f->config, NULL, opts);
                g_assert_cmpstr(message, ==, cases[i].error);
        }
}

static bool
put(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
        (void)close(fd);
        return done;
}

/* Enters a user namespace, to be able to mount. Only mapped users and groups can own files. */
static bool
new_user_namespace(void)
{
        g_autofree char *user = g_strdup_printf("0 %d 1", (int)getuid());
        g_autofree char *group = g_strdup_printf("0 %d 1", (int)getgid());
        return unshare(CLONE_NEWNS | CLONE_NEWUSER) == 0 && put("/proc/self/uid_map", user) &&
               put("/proc/self/setgroups", "deny") && put("/proc/self/gid_map", group);
}

/* Mounts a private /run. */
static bool
hide_run(void)
{
        if (unshare(CLONE_NEWNS) < 0 && !new_user_namespace())
                return false;
        return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount("none", "/run", "tmpfs", 0, NULL) == 0 &&
               g_mkdir_with_parents("/run/systemd/journal", 0755) == 0;
}

int
main(int argc, char **argv)
{
        if (!hide_run()) {
                (void)printf("1..0 # SKIP no mount namespace: %s\n", g_strerror(errno));
                return 0;
        }
        log_fixture_set_up();
        g_test_init(&argc, &argv, NULL);
        g_test_add("/log-journald/plain", Fixture, NULL, set_up, test_plain, tear_down);
        g_test_add("/log-journald/metadata", Fixture, NULL, set_up, test_metadata, tear_down);
        g_test_add("/log-journald/tag", Fixture, NULL, set_up, test_tag, tear_down);
        g_test_add("/log-journald/prefix", Fixture, NULL, set_up, test_prefix, tear_down);
        g_test_add("/log-journald/options", Fixture, NULL, set_up, test_options, tear_down);
        g_test_add("/log-journald/unfinished", Fixture, NULL, set_up, test_unfinished, tear_down);
        g_test_add("/log-journald/unfinished-silent", Fixture, "x", set_up, test_unfinished, tear_down);
        g_test_add("/log-journald/large", Fixture, NULL, set_up, test_large, tear_down);
        g_test_add("/log-journald/restart", Fixture, NULL, set_up, test_restart, tear_down);
        g_test_add("/log-journald/new-journal", Fixture, NULL, set_up, test_new_journal, tear_down);
        g_test_add("/log-journald/full", Fixture, NULL, set_up, test_full, tear_down);
        g_test_add("/log-journald/waits", Fixture, NULL, set_up, test_waits, tear_down);
        g_test_add("/log-journald/long-line", Fixture, NULL, set_up, test_long_line, tear_down);
        g_test_add("/log-journald/missing", Fixture, NULL, set_up, test_missing, tear_down);
        g_test_add("/log-journald/missing-is-the-cause", Fixture, NULL, set_up, test_missing_is_the_cause,
                   tear_down);
        g_test_add("/log-journald/refused", Fixture, NULL, set_up, test_refused, tear_down);
        return g_test_run();
}
