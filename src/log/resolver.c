#include "log/resolver.h"

#include "base/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Longer than any sensible resolv.conf waits. */
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
        if (r == EAI_SYSTEM)
                return -errno;
        return r == EAI_AGAIN ? -EAGAIN : -EADDRNOTAVAIL;
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
                ret->error = -EADDRNOTAVAIL;
}

/* What the monitor has open must not be kept open by a name server that doesn't answer. */
G_NORETURN static void
run_child(const char *host, uint16_t port, int fd)
{
        sigset_t none;
        LogResolved resolved = {0};
        fd_close_range(3, (unsigned)fd - 1);
        fd_close_range((unsigned)fd + 1, ~0U);
        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        (void)alarm(CHILD_SECONDS);
        look_up(host, port, &resolved);
        _exit(fd_write_all(fd, &resolved, sizeof resolved) == 0 ? 0 : 1);
}

static void
finish(LogResolver *r)
{
        watch_done(&r->watch);
        fd_close(&r->fd);
        fd_close(&r->pidfd);
        r->busy = false;
}

/* The answer is shorter than PIPE_BUF, so it comes in one piece. */
static void
on_answer(GIOCondition revents, void *data)
{
        LogResolver *r = data;
        LogResolved resolved;
        ssize_t n = fd_read(r->fd, &resolved, sizeof resolved);
        if (n != (ssize_t)sizeof resolved)
                resolved = (LogResolved){.error = -EADDRNOTAVAIL};
        finish(r);
        r->func(&resolved, r->data);
}

int
log_resolver_start(LogResolver *r, const char *host, uint16_t port)
{
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        pid_t pid = fork();
        if (pid == 0)
                run_child(host, port, fds[1]);
        int error = errno;
        (void)close(fds[1]);
        r->fd = fds[0];
        if (pid < 0) {
                fd_close(&r->fd);
                return -error;
        }
        /* Not reaped yet, so the number can't be somebody else's. */
        r->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        r->busy = true;
        watch_init(&r->watch, r->fd, WATCH_PRIORITY_IO, on_answer, r);
        watch_arm(&r->watch, G_IO_IN);
        return 0;
}

void
log_resolver_stop(LogResolver *r)
{
        if (!r->busy)
                return;
        if (r->pidfd >= 0)
                (void)syscall(SYS_pidfd_send_signal, r->pidfd, SIGKILL, NULL, 0);
        finish(r);
}
