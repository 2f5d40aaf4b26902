/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/sandbox.h"

#include "sandbox-filters.h"

#include <linux/seccomp.h>
#include <sys/prctl.h>

#define FILTER(name)                                                                    \
        {                                                                               \
                .len = sizeof name / sizeof *name, .filter = (struct sock_filter *)name \
        }

static const struct sock_fprog filters[] = {
        [SANDBOX_COMPRESSOR] = FILTER(filter_compressor),
        [SANDBOX_CLIENT] = FILTER(filter_client),
        [SANDBOX_LOGGER_END] = FILTER(filter_logger_end),
        [SANDBOX_RESOLVER] = FILTER(filter_resolver),
};

bool
sandbox_is_supported(void)
{
        return true;
}

void
sandbox_enter(Sandbox sandbox)
{
        if (sandbox != SANDBOX_NONE)
                (void)prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filters[sandbox]);
}
