#pragma once

/* Not every system call is known to every version of valgrind. */

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* True under a valgrind that does not know the system call, which is tried with arguments that do nothing. */
static inline bool
valgrind_lacks(long call)
{
        const char *preload = g_getenv("LD_PRELOAD");
        return preload && strstr(preload, "vgpreload") && syscall(call, -1, -1, NULL) < 0 && errno == ENOSYS;
}

/* For main(): what to return instead of running any test. */
static inline int
skip_all(const char *reason)
{
        g_print("1..0 # SKIP %s\n", reason);
        return 0;
}
