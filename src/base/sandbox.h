/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Seccomp filters (seccomp(2)) for the children that execute nothing, and for conmon-tls. They are compiled
 * when the program is built (generate-filters.c says what each allows) and cost nothing at run time. A build
 * without libseccomp, for a processor that it does not know, or with a sanitizer has none. */

#include <stdbool.h>

typedef enum {
        SANDBOX_NONE,
        SANDBOX_COMPRESSOR, /* reads and writes what is open */
        SANDBOX_CLIENT,     /* sends to open sockets and receives from them */
        SANDBOX_LOGGER_END, /* waits, and sends signals */
        /* Reads files, uses sockets and loads libraries (nsswitch.conf(5)). Calls that change files, start or
         * signal processes, or configure the kernel fail with EPERM. It may enter another filter. */
        SANDBOX_RESOLVER,
} Sandbox;

/* False if this build has no filters. */
bool sandbox_is_supported(void);

/* Installs a filter. Any other call kills the process with SIGSYS, except as described above. New privileges
 * must have been disabled (rights_give_up). A kernel without filters is not an error. */
void sandbox_enter(Sandbox sandbox);
