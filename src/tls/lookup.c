/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "tls/lookup.h"

#include "base/rights.h"
#include "base/sandbox.h"
#include "tls/answer.h"
#include "tls/dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The answer of the child, written to the pipe at once. */
typedef struct {
        int error; /* of getaddrinfo(3) */
        unsigned n;
        struct sockaddr_storage addresses[LOOKUP_MAX];
} Result;

/* Adds the addresses that are found to the result. */
static void
find(Result *ret, const char *host, const char *port, int flags)
{
        const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
        struct addrinfo *found = NULL;
        ret->error = getaddrinfo(host, port, &hints, &found);
        if (ret->error != 0)
                return;
        for (const struct addrinfo *a = found; a && ret->n < LOOKUP_MAX; a = a->ai_next)
                memcpy(&ret->addresses[ret->n++], a->ai_addr, a->ai_addrlen);
        freeaddrinfo(found);
}

static void
take(Lookup *l, const Result *result)
{
        l->n = result->n;
        l->next = 0;
        memcpy(l->addresses, result->addresses, sizeof l->addresses);
}

/* ---- the child ---- */

_Noreturn static void
answer(int fd, const TlsRequest *r)
{
        Result result = {0};
        (void)close(TLS_HELPER_FD);
        rights_give_up(0);
        (void)prctl(PR_SET_NAME, "conmon-resolve");
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)alarm(TLS_HELPER_LOOKUP_MS / 1000 + 1);
        sandbox_enter(SANDBOX_RESOLVER);
        find(&result, r->host, r->port, 0);
        _exit(write(fd, &result, sizeof result) == sizeof result ? 0 : 1);
}

void
lookup_start(Lookup *l, const TlsRequest *request)
{
        Result number = {0};
        int ends[2];
        *l = (Lookup){.request = request, .fd = -1, .began_ms = dial_now_ms()};
        find(&number, request->host, request->port, AI_NUMERICHOST);
        take(l, &number);
        if (l->n > 0)
                return;
        if (pipe2(ends, O_CLOEXEC) < 0)
                answer_failure(errno, "a pipe for resolving '%s' can't be created: %s", request->host,
                               strerror(errno));
        (void)signal(SIGCHLD, SIG_IGN); /* the child needs no waitpid(2) */
        pid_t pid = fork();
        if (pid < 0)
                answer_failure(errno, "a process for resolving '%s' can't be started: %s", request->host,
                               strerror(errno));
        if (pid == 0)
                answer(ends[1], request);
        (void)close(ends[1]);
        l->fd = ends[0];
}

/* ---- its answer ---- */

static void
use_known(Lookup *l)
{
        char text[TLS_HELPER_TEXT_MAX], *rest;
        Result known = {0};
        (void)snprintf(text, sizeof text, "%s", l->request->addresses);
        for (const char *one = strtok_r(text, " ", &rest); one; one = strtok_r(NULL, " ", &rest))
                find(&known, one, l->request->port, AI_NUMERICHOST);
        take(l, &known);
}

static bool
is_unknown(int error)
{
        return error == EAI_NONAME || error == EAI_NODATA;
}

_Noreturn static void
fail(const char *host, int error)
{
        if (is_unknown(error))
                answer_failure(ENOENT, "the host name '%s' was not found", host);
        if (error == EAI_AGAIN)
                answer_failure(EAGAIN, "the name server gave no answer for '%s'", host);
        answer_failure(EIO, "the host name '%s' could not be resolved: %s", host,
                       error ? gai_strerror(error) : "the resolver process failed");
}

/* Nothing more is expected. */
static void
give_up(Lookup *l)
{
        (void)close(l->fd);
        l->fd = -1;
}

static void
finish(Lookup *l)
{
        Result result = {0};
        if (read(l->fd, &result, sizeof result) != sizeof result || result.n > LOOKUP_MAX)
                result = (Result){0}; /* untrusted: the process has parsed a server's answer */
        give_up(l);
        if (result.n > 0 || !l->request->addresses || is_unknown(result.error))
                take(l, &result);
        else if (l->n == 0)
                use_known(l);
        if (l->n == 0)
                fail(l->request->host, result.error);
}

/* Waits for more addresses; afterwards there is at least one, which may have been tried. */
static void
wait_for_addresses(Lookup *l)
{
        bool stale = l->n == 0 && l->request->addresses;
        long long now = dial_now_ms(),
                  limit = l->began_ms + (stale ? TLS_HELPER_STALE_MS : TLS_HELPER_LOOKUP_MS);
        /* The answer may have come while addresses were tried for longer than that. */
        if (dial_wait(l->fd, POLLIN, limit > now ? limit : now + 1) == 0)
                finish(l);
        else if (stale)
                use_known(l);
        else
                give_up(l);
        if (l->n == 0)
                answer_failure(ETIMEDOUT, "the host name '%s' was not resolved within %d seconds",
                               l->request->host, TLS_HELPER_LOOKUP_MS / 1000);
}

bool
lookup_has_next(const Lookup *l)
{
        return l->next < l->n || l->fd >= 0;
}

const struct sockaddr_storage *
lookup_next(Lookup *l)
{
        if (l->next == l->n && l->fd >= 0)
                wait_for_addresses(l);
        return l->next < l->n ? &l->addresses[l->next++] : NULL;
}

/* ---- as text ---- */

socklen_t
lookup_address_len(const struct sockaddr_storage *a)
{
        return a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

void
lookup_describe_address(const struct sockaddr_storage *a, char *ret, size_t size)
{
        if (getnameinfo((const struct sockaddr *)a, lookup_address_len(a), ret, (socklen_t)size, NULL, 0,
                        NI_NUMERICHOST) != 0)
                *ret = '\0';
}

void
lookup_describe(const Lookup *l, char *ret, size_t size)
{
        size_t len = 0;
        *ret = '\0';
        for (unsigned i = 0; i < l->n; i++) {
                char one[NI_MAXHOST];
                lookup_describe_address(&l->addresses[i], one, sizeof one);
                if (len + strlen(one) + 2 > size)
                        return;
                len += (size_t)snprintf(ret + len, size - len, "%s%s", len ? " " : "", one);
        }
}
