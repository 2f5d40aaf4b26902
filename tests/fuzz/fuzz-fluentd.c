#include "log/log.h"

#include "base/fd.h"
#include "base/sockpath.h"

#include "fuzz.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a server answers to the fluentd driver: greetings, acknowledgements, or anything. */

static char *path;

static void
remove_socket(void)
{
        g_autofree char *dir = g_path_get_dirname(path);
        (void)unlink(path);
        (void)rmdir(dir);
}

static int
listen_once(void)
{
        static int fd = -1;
        if (fd >= 0)
                return fd;
        SockPath address;
        g_autofree char *dir = g_dir_make_tmp("conmon-fuzz-XXXXXX", NULL);
        path = g_build_filename(dir, "socket", NULL);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        g_assert_cmpint(sockpath_init(&address, path), ==, 0);
        g_assert_cmpint(bind(fd, (struct sockaddr *)&address.addr, address.len), ==, 0);
        g_assert_cmpint(listen(fd, 8), ==, 0);
        (void)atexit(remove_socket);
        return fd;
}

static Log *
start(bool handshake)
{
        g_autofree char *address = g_strdup_printf("fluentd-address=unix://%s", path);
        char driver[] = "fluentd", ack[] = "fluentd-request-ack=true",
             key[] = "fluentd-shared-key-env=FUZZ_KEY";
        char *drivers[] = {driver, NULL}, *options[] = {address, ack, handshake ? key : NULL, NULL};
        LogConfig config = {.drivers = drivers, .options = options, .cid = "0123456789abcdef"};
        g_autoptr(GError) error = NULL;
        Log *log = log_new(&config, &error);
        g_assert_no_error(error);
        log_start(log, NULL, NULL);
        return log;
}

static void
turn(void)
{
        for (int i = 0; i < 20 && g_main_context_iteration(NULL, FALSE); i++)
                continue;
}

static void
drain(int fd)
{
        char bytes[4096];
        while (fd >= 0 && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
                continue;
}

static void
write_line(Log *log)
{
        (void)log_write(log, STREAM_STDOUT, "line\n", 5, false, INT64_C(1700000000123456789));
        turn();
}

/* The lowest bit of the first byte: with a handshake; the others: after how many bytes the monitor looks. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        fuzz_be_quiet();
        g_setenv("FUZZ_KEY", "key", TRUE);
        int server = listen_once();
        Log *log = start(data[0] & 1);
        write_line(log);
        autofd int fd = accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        size_t step = 1 + (data[0] >> 1);
        for (size_t at = 1; at < size && fd >= 0; at += step) {
                if (send(fd, data + at, MIN(step, size - at), MSG_NOSIGNAL) < 0)
                        break;
                turn();
                write_line(log);
                drain(fd);
        }
        log_finish_local(log);
        log_free(log);
        turn();
        int again;
        while ((again = accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
                fd_close(&again);
        return 0;
}
