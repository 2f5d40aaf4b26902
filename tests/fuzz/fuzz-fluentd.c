/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/sockpath.h"

#include "fuzz-server.h"

#include <stdlib.h>
#include <unistd.h>

/* A server's answers to the fluentd driver: greetings, acknowledgements, or garbage. */

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
        g_autofree char *address = g_strdup_printf("unix://%s", path);
        g_autoptr(LogRequests) requests = log_requests_new();
        LogRequest *request = log_requests_add(requests, "fluentd", LOG_SOURCE_COMMAND_LINE, NULL);
        fuzz_set_option(requests, request, "fluentd-address", address);
        fuzz_set_option(requests, request, "fluentd-request-ack", "true");
        if (handshake)
                fuzz_set_option(requests, request, "fluentd-shared-key-env", "FUZZ_KEY");
        return fuzz_start_log(requests);
}

/* The lowest bit of the first byte selects the handshake; the others the size of the pieces. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        fuzz_be_quiet();
        g_setenv("FUZZ_KEY", "key", TRUE);
        int server = listen_once();
        Log *log = start(data[0] & 1);
        fuzz_write(log, "line\n");
        autofd int fd = fuzz_accept(server);
        size_t step = 1 + (data[0] >> 1);
        for (size_t at = 1; at < size && fd >= 0; at += step) {
                if (send(fd, data + at, MIN(step, size - at), MSG_NOSIGNAL) < 0)
                        break;
                fuzz_turn();
                fuzz_write(log, "line\n");
                fuzz_drain(fd);
        }
        fuzz_end_log(log, server);
        return 0;
}
