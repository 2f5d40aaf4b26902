/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/resolver.h"

#include "base/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

/* Longer than the timeouts of any sensible resolv.conf. */
#define CHILD_SECONDS 60

static void
set_port(struct sockaddr_storage *a, uint16_t port)
{
        if (a->ss_family == AF_INET)
                ((struct sockaddr_in *)a)->sin_port = htons(port);
        else
                ((struct sockaddr_in6 *)a)->sin6_port = htons(port);
}

bool
log_resolver_numeric(const char *host, uint16_t port, struct sockaddr_storage *ret)
{
        struct sockaddr_storage a = {.ss_family = AF_INET};
        if (inet_pton(AF_INET, host, &((struct sockaddr_in *)&a)->sin_addr) != 1) {
                a.ss_family = AF_INET6;
                if (inet_pton(AF_INET6, host, &((struct sockaddr_in6 *)&a)->sin6_addr) != 1)
                        return false;
        }
        set_port(&a, port);
        *ret = a;
        return true;
}

static int
error_of(int r)
{
        switch (r) {
        case EAI_NONAME:
        case EAI_NODATA:
                return -ENOENT;
        case EAI_AGAIN:
                return -EAGAIN;
        case EAI_MEMORY:
                return -ENOMEM;
        case EAI_SYSTEM:
                return errno > 0 ? -errno : -EIO;
        default:
                return -EIO;
        }
}

static void
look_up(const char *host, uint16_t port, LogResolved *ret)
{
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
        int r = getaddrinfo(host, NULL, &hints, &list);
        if (r != 0) {
                ret->error = error_of(r);
                return;
        }
        for (const struct addrinfo *a = list; a && ret->n < LOG_RESOLVER_MAX; a = a->ai_next) {
                if (a->ai_family != AF_INET && a->ai_family != AF_INET6)
                        continue;
                memcpy(&ret->addresses[ret->n], a->ai_addr, a->ai_addrlen);
                set_port(&ret->addresses[ret->n++], port);
        }
        if (ret->n == 0)
                ret->error = -ENOENT;
}

typedef struct {
        const char *host;
        uint16_t port;
} Question;

static size_t
answer_question(const void *arg, char *answer)
{
        const Question *question = arg;
        LogResolved resolved = {0};
        (void)alarm(CHILD_SECONDS);
        look_up(question->host, question->port, &resolved);
        memcpy(answer, &resolved, sizeof resolved);
        return sizeof resolved;
}

static const WorkerKind resolver = {"conmon-resolve", answer_question, SANDBOX_RESOLVER};

static void
on_answer(const char *answer, size_t len, void *data)
{
        LogResolver *r = data;
        LogResolved resolved = {.error = -ECHILD};
        if (len == sizeof resolved)
                memcpy(&resolved, answer, len);
        if (resolved.n > LOG_RESOLVER_MAX) /* untrusted: the process has parsed a server's answer */
                resolved = (LogResolved){.error = -EPROTO};
        r->func(&resolved, r->data);
}

int
log_resolver_start(LogResolver *r, const char *host, uint16_t port)
{
        G_STATIC_ASSERT(sizeof(LogResolved) <= WORKER_ANSWER_MAX);
        Question question = {host, port};
        r->worker.func = on_answer;
        r->worker.data = r;
        return worker_start(&r->worker, &resolver, &question, PROCESS_STDIO_NULL, PROCESS_STDIO_NULL);
}

bool
log_resolver_is_busy(const LogResolver *r)
{
        return r->worker.busy;
}

void
log_resolver_stop(LogResolver *r)
{
        worker_stop(&r->worker);
}
