/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/rights.h"

#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
        uint64_t effective;
        uint64_t permitted;
        uint64_t inheritable;
} Rights;

/* capget(2) splits the sets into two halves. */
typedef struct __user_cap_header_struct Header;
typedef struct __user_cap_data_struct Half;

static uint64_t
join(uint32_t low, uint32_t high)
{
        return (uint64_t)high << 32 | low;
}

static bool
get_rights(Rights *ret)
{
        Header header = {.version = _LINUX_CAPABILITY_VERSION_3};
        Half h[_LINUX_CAPABILITY_U32S_3] = {0};
        if (syscall(SYS_capget, &header, h) < 0)
                return false;
        ret->effective = join(h[0].effective, h[1].effective);
        ret->permitted = join(h[0].permitted, h[1].permitted);
        ret->inheritable = join(h[0].inheritable, h[1].inheritable);
        return true;
}

static void
set_rights(const Rights *r)
{
        Header header = {.version = _LINUX_CAPABILITY_VERSION_3};
        Half h[_LINUX_CAPABILITY_U32S_3];
        for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
                h[i] = (Half){
                        .effective = (uint32_t)(r->effective >> 32 * i),
                        .permitted = (uint32_t)(r->permitted >> 32 * i),
                        .inheritable = (uint32_t)(r->inheritable >> 32 * i),
                };
        (void)syscall(SYS_capset, &header, h);
}

void
rights_lower(uint64_t keep)
{
        Rights r;
        if (!get_rights(&r) || r.effective == (r.permitted & keep))
                return;
        r.effective = r.permitted & keep;
        set_rights(&r);
}

uint64_t
rights_raise(void)
{
        Rights r = {0};
        if (get_rights(&r))
                rights_lower(UINT64_MAX);
        return r.effective;
}

void
rights_seal(void)
{
        (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* Clears the bounding set, which limits what programs of root get. Impossible without CAP_SETPCAP. */
static void
narrow_bounding_set(uint64_t keep)
{
        for (unsigned i = 0; i < 64; i++)
                if (!(keep & RIGHT(i)) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
                        return; /* beyond the last capability, or not permitted */
}

void
rights_give_up(uint64_t keep)
{
        const struct rlimit none = {0};
        Rights r;
        (void)setrlimit(RLIMIT_CORE, &none);
        rights_seal();
        if (!get_rights(&r) || (r.permitted | r.inheritable) == 0)
                return;
        (void)rights_raise();
        narrow_bounding_set(keep);
        r.permitted &= keep;
        r.effective = r.permitted;
        r.inheritable &= keep;
        set_rights(&r);
}
