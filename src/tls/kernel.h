/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Kernel TLS (Documentation/networking/tls.rst of Linux). */

#include "tls/session.h"

/* Passes the session's keys to the kernel; from then on, plain bytes are read from and written to the socket.
 * Returns 0, or -errno if the kernel lacks the module or the cipher (-ENOENT), or the session is not one for
 * the kernel (-EOPNOTSUPP); then the session continues unchanged. Exits with an answer if only one direction
 * could be set up. */
int kernel_take_over(Session *s);
