/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "tls/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void
compose_failure(TlsAnswer *ret, int error, const char *format, va_list args)
{
        *ret = (TlsAnswer){.mode = TLS_FAILED, .error = (uint32_t)error};
        (void)vsnprintf(ret->reason, sizeof ret->reason, format, args);
}

void
answer_compose_failure(TlsAnswer *ret, int error, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        compose_failure(ret, error, format, args);
        va_end(args);
}

void
answer_send_failure(const TlsAnswer *answer)
{
        (void)send(TLS_HELPER_FD, answer, sizeof *answer, MSG_NOSIGNAL);
        _exit(1);
}

void
answer_failure(int error, const char *format, ...)
{
        TlsAnswer answer;
        va_list args;
        va_start(args, format);
        compose_failure(&answer, error, format, args);
        va_end(args);
        answer_send_failure(&answer);
}

void
answer_connected(void)
{
        TlsAnswer answer = {.mode = TLS_CONNECTED};
        (void)send(TLS_HELPER_FD, &answer, sizeof answer, MSG_NOSIGNAL);
}

static void
attach_fd(struct msghdr *message, int fd)
{
        struct cmsghdr *c = message->msg_control; /* has space for one */
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
}

void
answer_success(const TlsAnswer *answer, int fd)
{
        struct iovec piece = {(void *)answer, sizeof *answer};
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof fd)];
        } control = {0};
        struct msghdr message = {.msg_iov = &piece,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof control};
        attach_fd(&message, fd);
        if (sendmsg(TLS_HELPER_FD, &message, MSG_NOSIGNAL) != sizeof *answer)
                _exit(1);
}
