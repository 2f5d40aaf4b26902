/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* An external logger: writes the data from descriptors 3 and 4 to files, and exits when both are closed.
 *
 *   logger out PATH err PATH [crash N]
 *
 * With crash it exits when it has written N bytes of standard output. */

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
        int files[2] = {-1, -1};
        long crash = 0, left = 0;
        for (int i = 1; i + 1 < argc; i += 2) {
                if (strcmp(argv[i], "crash") == 0)
                        crash = left = atol(argv[i + 1]);
                else
                        files[strcmp(argv[i], "err") == 0] =
                                open(argv[i + 1], O_WRONLY | O_CREAT | O_APPEND, 0644);
        }
        if (files[0] < 0 || files[1] < 0 || getenv("CONTAINER_ID") == NULL)
                return 1;
        (void)close(5);
        struct pollfd polls[2] = {{.fd = 3, .events = POLLIN}, {.fd = 4, .events = POLLIN}};
        while (polls[0].fd >= 0 || polls[1].fd >= 0) {
                (void)poll(polls, 2, -1);
                for (int i = 0; i < 2; i++) {
                        char data[4096];
                        if (polls[i].fd < 0 || polls[i].revents == 0)
                                continue;
                        ssize_t n = read(polls[i].fd, data, sizeof data);
                        if (n <= 0) {
                                polls[i].fd = -1;
                                continue;
                        }
                        if (write(files[i], data, (size_t)n) != n)
                                return 1;
                        if (i == 0 && crash > 0 && (left -= n) <= 0)
                                return 1;
                }
        }
        return 0;
}
