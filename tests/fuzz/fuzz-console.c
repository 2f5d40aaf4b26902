/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "io/console_socket.h"

#include "base/fd.h"
#include "base/watch.h"

#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct {
        int n, fd;
} Result;

static void
on_console(int fd, void *data)
{
        Result *result = data;
        result->n++;
        result->fd = fd;
}

static int
count_fds(void)
{
        DIR *dir = opendir("/proc/self/fd");
        int n = 0;
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

/* Sends a message with this text and number of descriptors. */
static void
send_message(int sock, const uint8_t *text, size_t len, size_t n_fds)
{
        union {
                struct cmsghdr align;
                char space[CMSG_SPACE(32 * sizeof(int))];
        } control = {0};
        struct iovec iov = {(void *)text, len};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        if (n_fds > 0) {
                msg.msg_control = &control;
                msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
                struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
                for (size_t i = 0; i < n_fds; i++) {
                        int null = STDIN_FILENO;
                        memcpy(CMSG_DATA(c) + i * sizeof null, &null, sizeof null);
                }
        }
        (void)sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int
connect_to(const char *path)
{
        struct sockaddr_un addr = {.sun_family = AF_UNIX};
        int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_strlcpy(addr.sun_path, path, sizeof addr.sun_path);
        if (connect(sock, (struct sockaddr *)&addr, sizeof addr) < 0)
                fd_close(&sock);
        return sock;
}

static void
turn(void)
{
        while (loop_iterate(false))
                continue;
}

/* A sequence of messages: the low half of the first byte is the number of descriptors, the high half the
 * length of the text after it; 0xff opens another connection. */
static void
talk(const char *path, const uint8_t *data, size_t size)
{
        autofd int sock = connect_to(path);
        while (size > 0 && sock >= 0) {
                size_t len = MIN(data[0] >> 4, size - 1);
                if (data[0] == 0xff) {
                        fd_close(&sock);
                        sock = connect_to(path);
                        len = 0;
                } else {
                        send_message(sock, data + 1, len, data[0] & 15);
                }
                if (data[0] & 1)
                        turn();
                data += len + 1;
                size -= len + 1;
        }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        fuzz_be_quiet();
        turn();
        int before = count_fds();
        Result result = {.fd = -1};
        ConsoleSocket *c = console_socket_new(NULL, on_console, &result, NULL);
        g_assert_nonnull(c);
        g_autofree char *path = g_strdup(console_socket_path(c));
        console_socket_start(c);
        talk(path, data, size);
        turn();
        console_socket_check(c);
        g_assert_cmpint(result.n, <=, 1);
        console_socket_free(c);
        g_assert_cmpint(access(path, F_OK), <, 0);
        fd_close(&result.fd);
        g_assert_cmpint(count_fds(), ==, before);
        return 0;
}
