/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Some versions of valgrind don't support some system calls. */

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether this runs under a valgrind that does not support the system call. Tries it with arguments that have
 * no effect. */
static inline bool
valgrind_lacks(long call)
{
        const char *preload = g_getenv("LD_PRELOAD");
        return preload && strstr(preload, "vgpreload") && syscall(call, -1, -1, NULL) < 0 && errno == ENOSYS;
}

/* For main(): the value to return instead of running any test. */
static inline int
skip_all(const char *reason)
{
        g_print("1..0 # SKIP %s\n", reason);
        return 0;
}
