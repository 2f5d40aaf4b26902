/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* For builds without GnuTLS. */

#include "tls_stream.h"

#include <stdio.h>
#include <stdlib.h>

void
tls_stream_load(const char *file)
{
        (void) fprintf(stderr, "%s: this build has no TLS\n", file);
        exit(1);
}

void
tls_stream_accept(int fd)
{
}

size_t
tls_stream_read(void *data, size_t size)
{
        return 0;
}
