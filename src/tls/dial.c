/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "tls/dial.h"

#include "tls/answer.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

long long
dial_now_ms(void)
{
        struct timespec now;
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int
dial_wait(int fd, short events, long long deadline)
{
        struct pollfd fds[] = {{.fd = fd, .events = events}, {.fd = TLS_HELPER_FD}};
        for (;;) {
                long long left = deadline - dial_now_ms();
                if (left <= 0)
                        return -ETIMEDOUT;
                if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
                        return -errno;
                if (fds[1].revents)
                        _exit(1);
                if (fds[0].revents)
                        return 0;
        }
}

/* Returns 0 or -errno. */
static int
connect_in_time(int fd, const struct sockaddr_storage *a, int limit_ms)
{
        if (connect(fd, (const struct sockaddr *)a, lookup_address_len(a)) == 0)
                return 0;
        if (errno != EINPROGRESS)
                return -errno;
        int r = dial_wait(fd, POLLOUT, dial_now_ms() + limit_ms);
        if (r < 0)
                return r;
        int error = 0;
        socklen_t size = sizeof error;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                return -errno;
        return -error;
}

/* Returns the socket or -errno. */
static int
connect_to(const struct sockaddr_storage *a, int limit_ms)
{
        int fd = socket(a->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        int r = connect_in_time(fd, a, limit_ms);
        if (r == 0)
                return fd;
        (void)close(fd);
        return r;
}

static void
compose_failure(TlsAnswer *ret, const TlsRequest *q, const struct sockaddr_storage *a, int r)
{
        char last[NI_MAXHOST];
        lookup_describe_address(a, last, sizeof last);
        if (strcmp(last, q->host) == 0)
                answer_compose_failure(ret, -r, "connecting to %s, port %s: %s", last, q->port, strerror(-r));
        else
                answer_compose_failure(ret, -r, "connecting to '%s' (%s), port %s: %s", q->host, last,
                                       q->port, strerror(-r));
}

int
dial(Lookup *l, TlsAnswer *failure)
{
        for (const struct sockaddr_storage *a; (a = lookup_next(l));) {
                int r = connect_to(a, lookup_has_next(l) ? TLS_HELPER_NEXT_MS : TLS_HELPER_CONNECT_MS);
                if (r >= 0)
                        return r;
                compose_failure(failure, l->request, a, r);
        }
        return -1;
}
