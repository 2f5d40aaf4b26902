/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/net/host.h"

#include <errno.h>
#include <glib.h>
#include <netinet/in.h>
#include <string.h>

int
log_host_look_up(LogHost *h, const char *host, uint16_t port)
{
        if (log_resolver_is_busy(&h->resolver))
                return 0;
        h->resolved_usec = g_get_monotonic_time();
        return log_resolver_start(&h->resolver, host, port);
}

bool
log_host_set_number(LogHost *h, const char *host, uint16_t port)
{
        if (!log_resolver_numeric(host, port, &h->known.addresses[0]))
                return false;
        h->known.n = 1;
        return true;
}

void
log_host_update(LogHost *h, const LogResolved *resolved)
{
        if (resolved->n > 0 || resolved->error == -ENOENT || h->known.n == 0)
                h->known = *resolved;
        h->next = 0;
}

bool
log_host_compare(LogHost *h, const LogResolved *resolved, const struct sockaddr_storage *current,
                 socklen_t len)
{
        bool found = false;
        h->known = *resolved;
        for (h->next = 0; !found && h->next < h->known.n; h->next++)
                found = memcmp(&h->known.addresses[h->next], current, len) == 0;
        return found;
}

static socklen_t
length(const struct sockaddr_storage *a)
{
        return a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

const struct sockaddr *
log_host_next(LogHost *h, socklen_t *ret_len)
{
        if (!log_host_has_next(h))
                return NULL;
        const struct sockaddr_storage *a = &h->known.addresses[h->next++];
        *ret_len = length(a);
        return (const struct sockaddr *)a;
}

bool
log_host_has_next(const LogHost *h)
{
        return h->next < h->known.n;
}

void
log_host_rewind(LogHost *h)
{
        h->next = 0;
}

void
log_host_save(const LogHost *h, StateWriter *w)
{
        state_put_bytes(w, "resolved", h->known.addresses, h->known.n * sizeof *h->known.addresses);
}

void
log_host_restore(LogHost *h, StateReader *r)
{
        size_t len = 0, size = sizeof *h->known.addresses;
        const char *bytes = state_get_bytes(r, "resolved", &len);
        if (len % size != 0 || len / size > LOG_RESOLVER_MAX) {
                state_fail(r, "The addresses of a host are invalid");
                return;
        }
        memcpy(h->known.addresses, bytes, len);
        h->known.n = (uint32_t)(len / size);
        for (uint32_t i = 0; i < h->known.n; i++)
                if (h->known.addresses[i].ss_family != AF_INET && h->known.addresses[i].ss_family != AF_INET6)
                        state_fail(r, "An address of a host is neither IPv4 nor IPv6");
        h->next = h->known.n;
        h->resolved_usec = g_get_monotonic_time();
}
