/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Encryption by the kernel: its "tls" module (Documentation/networking/tls.rst of Linux). */

#include "tls/session.h"

/* Gives the session's keys to the socket, which from then on takes and gives plain bytes. Returns 0, or
 * -errno if the kernel can't: the module or the cipher is missing (-ENOENT), or the session has none that it
 * knows
 * (-EOPNOTSUPP). The session goes on as before then. Ends the program if the socket is in between. */
int kernel_take_over(Session *s);
