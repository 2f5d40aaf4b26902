/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "fuzz-server.h"

#include <arpa/inet.h>
#include <netinet/in.h>

/* A server's answers to each HTTP driver: the counters are correct (asserted in the build), and the number of
 * requests is limited. */

/* The limit of connections and requests for four records. */
#define TURNS 40

static const struct {
        const char *driver, *url;
        const char *options[2][2];
} drivers[] = {
        {"otlp", "otlp-endpoint", {{NULL}}},
        {"splunk", "splunk-url", {{"splunk-token-env", "FUZZ_TOKEN"}}},
        {"splunk",
         "splunk-url",
         {{"splunk-token-env", "FUZZ_TOKEN"}, {"splunk-index-acknowledgment", "true"}}},
        {"loki", "loki-url", {{NULL}}},
        {"http", "http-url", {{"http-format", "elasticsearch"}}},
};

static int
listen_once(uint16_t *ret_port)
{
        static int fd = -1;
        static uint16_t port;
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof a;
        if (fd < 0) {
                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                g_assert_cmpint(bind(fd, (struct sockaddr *)&a, sizeof a), ==, 0);
                g_assert_cmpint(listen(fd, 8), ==, 0);
                g_assert_cmpint(getsockname(fd, (struct sockaddr *)&a, &len), ==, 0);
                port = ntohs(a.sin_port);
        }
        *ret_port = port;
        return fd;
}

static Log *
start(size_t which, uint16_t port)
{
        g_autofree char *url = g_strdup_printf("http://127.0.0.1:%u/", port);
        g_autoptr(LogRequests) requests = log_requests_new();
        LogRequest *request =
                log_requests_add(requests, drivers[which].driver, LOG_SOURCE_COMMAND_LINE, NULL);
        fuzz_set_option(requests, request, drivers[which].url, url);
        fuzz_set_option(requests, request, "batch-wait", "0");
        for (size_t i = 0; i < 2 && drivers[which].options[i][0]; i++)
                fuzz_set_option(requests, request, drivers[which].options[i][0],
                                drivers[which].options[i][1]);
        return fuzz_start_log(requests);
}

/* Sends the answer in pieces, continuing on the next connection if one is closed. */
static void
answer(int server, const uint8_t *data, size_t size, size_t step)
{
        size_t at = 0;
        for (int i = 0; i < TURNS && at < size; i++) {
                autofd int fd = fuzz_accept(server);
                if (fd < 0)
                        return;
                fuzz_turn();
                for (; at < size; at += MIN(step, size - at)) {
                        fuzz_drain(fd);
                        if (send(fd, data + at, MIN(step, size - at), MSG_NOSIGNAL) < 0)
                                break;
                        fuzz_turn();
                }
        }
}

/* The first byte selects the driver, the second is the length of the pieces. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        uint16_t port;
        if (size < 2)
                return 0;
        fuzz_be_quiet();
        g_setenv("FUZZ_TOKEN", "token", TRUE);
        int server = listen_once(&port);
        Log *log = start(data[0] % G_N_ELEMENTS(drivers), port);
        fuzz_write(log, "one\ntwo\nthree\nfour\n");
        answer(server, data + 2, size - 2, 1 + (size_t)data[1]);
        fuzz_end_log(log, server);
        return 0;
}
