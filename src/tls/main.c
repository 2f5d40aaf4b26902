/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* conmon-tls: makes a TLS connection for the monitor. See tls/protocol.h.
 *
 * Input from the network is parsed without capabilities, in a process that can't be traced, start others or
 * change files. The filter for the look-up and the handshake is wide: names may be resolved by modules
 * (nsswitch.conf(5)) and trust stores read by others (PKCS #11), which load libraries and read files. A
 * proxy, which may live as long as the container, has a filter that allows nothing but memory and its two
 * sockets. */

#include "base/rights.h"
#include "base/sandbox.h"
#include "tls/answer.h"
#include "tls/dial.h"
#include "tls/kernel.h"
#include "tls/lookup.h"
#include "tls/proxy.h"
#include "tls/request.h"
#include "tls/session.h"

#include <malloc.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* glibc's: returns memory of the handshake, mostly of the trust store, to the kernel. */
extern int malloc_trim(size_t pad) __attribute__((weak));

static bool
is_started_by_monitor(int argc)
{
        int domain = 0;
        socklen_t len = sizeof domain;
        return argc <= 1 && getsockopt(TLS_HELPER_FD, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
               domain == AF_UNIX;
}

/* A failure to be reported if no address leads to a server. */
static void
note_failure(TlsAnswer *ret, const Session *s, const Lookup *l)
{
        char address[NI_MAXHOST];
        *ret = s->failure;
        if (l->n <= 1)
                return;
        lookup_describe_address(&l->addresses[l->next - 1], address, sizeof address);
        answer_compose_failure(ret, (int)s->failure.error, "at %s: %s", address, s->failure.reason);
}

/* Tries the addresses of the host until a handshake succeeds. If none does, the first failure of a handshake
 * is reported: its server is there, while others that don't answer may be down on purpose. */
static void
connect_to_server(Session *s, Lookup *l)
{
        TlsAnswer refused = {0}, unreachable = {0};
        for (int fd; (fd = dial(l, &unreachable)) >= 0;) {
                answer_connected();
                if (session_shake_hands(s, fd))
                        return;
                if (!refused.reason[0])
                        note_failure(&refused, s, l);
        }
        answer_send_failure(refused.reason[0] ? &refused : &unreachable);
}

static void
answer(const Session *s, TlsMode mode, const Lookup *lookup)
{
        TlsAnswer a = {.mode = mode};
        (void)snprintf(a.version, sizeof a.version, "%s", session_version(s));
        (void)snprintf(a.cipher, sizeof a.cipher, "%s", session_cipher(s));
        lookup_describe(lookup, a.addresses, sizeof a.addresses);
        answer_success(&a, s->fd);
}

static void
run_proxy(Session *s)
{
        session_forget_credentials(s);
        if (malloc_trim)
                (void)malloc_trim(0);
        sandbox_enter(SANDBOX_CLIENT);
        proxy_run(s);
}

int
main(int argc, char **argv)
{
        if (!is_started_by_monitor(argc)) {
                fputs("conmon-tls makes TLS connections for conmon, which starts it; it has no options\n",
                      stderr);
                return 2;
        }
        (void)signal(SIGPIPE, SIG_IGN);
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);

        /* Files are read first; everything after that, with input from the network, runs without
         * capabilities. */
        TlsRequest *request = request_read();
        Lookup lookup;
        lookup_start(&lookup, request);
        Session s;
        session_init(&s, request);
        rights_give_up(0);
        sandbox_enter(SANDBOX_RESOLVER);

        connect_to_server(&s, &lookup);
        bool in_kernel = kernel_take_over(&s) == 0;
        answer(&s, in_kernel ? TLS_KERNEL : TLS_PROXY, &lookup);
        if (!in_kernel)
                run_proxy(&s);
        return 0;
}
