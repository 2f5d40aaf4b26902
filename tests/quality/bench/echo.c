/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "echo.h"

#include "now.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PACKET_MAX 8193
#define STREAM_STDOUT 2
#define WARM_UP 100
#define CONNECT_TRIES 2000 /* the bare loop may not listen yet */

int
echo_connect(const char *path)
{
        struct sockaddr_un to = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        strncpy(to.sun_path, path, sizeof to.sun_path - 1);
        for (int tries = 0; fd >= 0 && tries < CONNECT_TRIES; tries++) {
                if (connect(fd, (struct sockaddr *) &to, sizeof to) == 0)
                        return fd;
                (void) usleep(1000);
        }
        perror(path);
        exit(1);
}

/* An answer may consist of several packets. */
static void
expect(int fd, const char *bytes, size_t size)
{
        char packet[PACKET_MAX];
        size_t done = 0;

        while (done < size) {
                ssize_t n = recv(fd, packet, sizeof packet, 0);

                if (n < 2 || packet[0] != STREAM_STDOUT || (size_t) n - 1 > size - done ||
                    memcmp(packet + 1, bytes + done, (size_t) n - 1) != 0) {
                        (void) fprintf(stderr, "an answer of the container is wrong or missing\n");
                        exit(1);
                }
                done += (size_t) n - 1;
        }
}

static int
compare(const void *a, const void *b)
{
        double difference = *(const double *) a - *(const double *) b;

        return (difference > 0) - (difference < 0);
}

void
echo_run(int fd, size_t count, size_t size, EchoResult *ret)
{
        double *times = calloc(count, sizeof *times);
        char *request = malloc(size);

        if (times == NULL || request == NULL || size == 0)
                exit(1);
        memset(request, 'r', size);
        request[size - 1] = '\n';
        expect(fd, ".", 1);
        for (size_t i = 0; i < WARM_UP + count; i++) {
                double before = now_us();

                if (send(fd, request, size, 0) != (ssize_t) size)
                        exit(1);
                expect(fd, request, size);
                if (i >= WARM_UP)
                        times[i - WARM_UP] = now_us() - before;
        }
        (void) send(fd, "\004", 1, 0);
        close(fd);
        qsort(times, count, sizeof *times, compare);
        *ret = (EchoResult){ .p50 = times[count / 2], .p99 = times[count * 99 / 100] };
        free(times);
        free(request);
}
