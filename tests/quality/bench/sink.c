/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "sink.h"

#include "tls_stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH 16
#define MESSAGE_MAX (256 * 1024)

static volatile sig_atomic_t sender_is_gone;

static void
on_term(int signo)
{
        sender_is_gone = 1;
}

/* "MESSAGE\n" + 64-bit length + value, or "MESSAGE=value\n", as the first field. */
static uint64_t
payload_of(const char *data, size_t len)
{
        uint64_t value;
        const char *newline;

        if (len >= 16 && memcmp(data, "MESSAGE\n", 8) == 0) {
                memcpy(&value, data + 8, sizeof value);
                return value;
        }
        newline = memchr(data, '\n', len);
        if (newline != NULL && len > 8 && memcmp(data, "MESSAGE=", 8) == 0)
                return (uint64_t) (newline - data) - 8;
        return 0;
}

/* An entry that is too large for a datagram is passed as a sealed memory file. */
static uint64_t
payload_of_file(struct msghdr *message)
{
        struct cmsghdr *header = CMSG_FIRSTHDR(message);
        struct stat st;
        uint64_t payload = 0;
        char *data;
        int fd;

        if (header == NULL || header->cmsg_type != SCM_RIGHTS)
                return 0;
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
        if (fstat(fd, &st) == 0) {
                data = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
                if (data != MAP_FAILED) {
                        payload = payload_of(data, (size_t) st.st_size);
                        (void) munmap(data, (size_t) st.st_size);
                }
        }
        close(fd);
        return payload;
}

static bool
take_datagrams(int fd, SinkResult *ret)
{
        static char data[BATCH][MESSAGE_MAX];
        static char control[BATCH][CMSG_SPACE(sizeof(int)) + CMSG_SPACE(64)];
        struct mmsghdr messages[BATCH] = { 0 };
        struct iovec vectors[BATCH];
        int n;

        for (int i = 0; i < BATCH; i++) {
                vectors[i] = (struct iovec){ .iov_base = data[i], .iov_len = MESSAGE_MAX };
                messages[i].msg_hdr.msg_iov = &vectors[i];
                messages[i].msg_hdr.msg_iovlen = 1;
                messages[i].msg_hdr.msg_control = control[i];
                messages[i].msg_hdr.msg_controllen = sizeof control[i];
        }
        n = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < n; i++) {
                ret->bytes += messages[i].msg_len;
                ret->payload += messages[i].msg_len > 0 ? payload_of(data[i], messages[i].msg_len)
                                                        : payload_of_file(&messages[i].msg_hdr);
        }
        ret->messages += n > 0 ? (uint64_t) n : 0;
        return n > 0;
}

static bool
take_stream(int fd, SinkResult *ret)
{
        static char data[MESSAGE_MAX];
        ssize_t n = recv(fd, data, sizeof data, MSG_DONTWAIT);

        ret->bytes += n > 0 ? (uint64_t) n : 0;
        ret->messages += n > 0;
        return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* An HTTP request that is being read. */
typedef struct {
        char head[4096];
        size_t head_len;
        size_t left; /* of the body */
} Request;

/* Parses a part of a request's header. Returns the number of bytes, 0 if it is invalid. */
static size_t
take_head(Request *r, const char *data, size_t len)
{
        static const char field[] = "\r\nContent-Length: ";
        size_t old = r->head_len, n = len < sizeof r->head - 1 - old ? len : sizeof r->head - 1 - old;
        const char *end, *length;

        memcpy(r->head + old, data, n);
        r->head[old + n] = '\0';
        end = strstr(r->head, "\r\n\r\n");
        r->head_len = end != NULL ? 0 : old + n;
        if (end == NULL)
                return n;
        length = strstr(r->head, field);
        r->left = length != NULL ? strtoul(length + sizeof field - 1, NULL, 10) : 0;
        return length != NULL ? (size_t) (end + 4 - r->head) - old : 0;
}

/* Processes received data, and answers each complete request. */
static bool
take_requests(int fd, Request *r, const char *data, size_t len)
{
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

        while (len > 0) {
                bool body = r->left > 0;
                size_t n = !body ? take_head(r, data, len) : len < r->left ? len : r->left;

                if (n == 0)
                        return false;
                data += n;
                len -= n;
                if (body)
                        r->left -= n;
                if (body && r->left == 0 && write(fd, answer, sizeof answer - 1) < 0)
                        return false;
        }
        return true;
}

static bool
take_http(int fd, SinkResult *ret)
{
        static char data[MESSAGE_MAX];
        static Request request;
        ssize_t n = recv(fd, data, sizeof data, MSG_DONTWAIT);

        ret->bytes += n > 0 ? (uint64_t) n : 0;
        ret->messages += n > 0;
        if (n > 0)
                return take_requests(fd, &request, data, (size_t) n);
        request = (Request){ 0 };
        return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* The address is "tls:PORT:FILE". */
static void
load_tls(const char *place)
{
        const char *colon = strchr(place, ':');

        if (colon != NULL)
                tls_stream_load(colon + 1);
}

static bool
take_tls(int fd, SinkResult *ret)
{
        static char data[MESSAGE_MAX];
        static int accepted = -1;
        size_t n;

        if (accepted != fd)
                tls_stream_accept(fd);
        n = tls_stream_read(data, sizeof data);
        accepted = n > 0 ? fd : -1;
        ret->bytes += n;
        ret->messages += n > 0;
        return n > 0;
}

typedef bool (*Take)(int fd, SinkResult *ret);

static void
serve(int fd, bool stream, Take take, SinkResult *ret)
{
        struct pollfd polls[2] = { { .fd = fd, .events = POLLIN }, { .fd = -1, .events = POLLIN } };

        for (;;) {
                int n = poll(polls, 2, sender_is_gone ? 0 : 100);

                if (n == 0 && sender_is_gone)
                        return;
                if (polls[0].revents != 0 && stream) {
                        close(polls[1].fd);
                        polls[1].fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
                } else if (polls[0].revents != 0) {
                        (void) take_datagrams(fd, ret);
                }
                if (polls[1].revents != 0 && !take(polls[1].fd, ret)) {
                        close(polls[1].fd);
                        polls[1].fd = -1;
                }
        }
}

/* Returns a bound socket, or -1. */
static int
bind_local(const char *path, bool stream)
{
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);

        strncpy(at.sun_path, path, sizeof at.sun_path - 1);
        (void) unlink(at.sun_path);
        return fd >= 0 && bind(fd, (struct sockaddr *) &at, sizeof at) == 0 ? fd : -1;
}

static int
bind_port(const char *port)
{
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

        at.sin_port = htons((uint16_t) strtoul(port, NULL, 10));
        (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        return fd >= 0 && bind(fd, (struct sockaddr *) &at, sizeof at) == 0 ? fd : -1;
}

static void __attribute__((noreturn))
run(const char *address, int to)
{
        bool http = strncmp(address, "http:", 5) == 0, tls = strncmp(address, "tls:", 4) == 0;
        bool inet = http || tls || strncmp(address, "tcp:", 4) == 0;
        bool stream = inet || strncmp(address, "stream:", 7) == 0;
        const char *place = strchr(address, ':') + 1;
        SinkResult result = { 0 };
        int fd = inet ? bind_port(place) : bind_local(place, stream);

        (void) signal(SIGTERM, on_term);
        if (tls)
                load_tls(place);
        if (fd < 0 || (stream && listen(fd, 8) < 0)) {
                perror(address);
                exit(1);
        }
        if (write(to, "r", 1) != 1)
                exit(1);
        serve(fd, stream, http ? take_http : tls ? take_tls : take_stream, &result);
        exit(write(to, &result, sizeof result) != sizeof result);
}

void
sink_start(Sink *s, const char *address)
{
        int fds[2];
        char ready;

        if (pipe2(fds, O_CLOEXEC) < 0 || (s->pid = fork()) < 0) {
                perror("sink");
                exit(1);
        }
        if (s->pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                run(address, fds[1]);
        }
        close(fds[1]);
        s->fd = fds[0];
        if (read(s->fd, &ready, 1) != 1)
                exit(1);
}

void
sink_finish(Sink *s, SinkResult *ret)
{
        (void) kill(s->pid, SIGTERM);
        if (read(s->fd, ret, sizeof *ret) != sizeof *ret)
                *ret = (SinkResult){ 0 };
        close(s->fd);
        (void) waitpid(s->pid, NULL, 0);
}
