/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Between the monitor and the server, for kernels without TLS. */

#include "tls/session.h"

/* Passes bytes on, both ways, until both sides have ended or the connection breaks. A side that does not read
 * holds up the other one. Ends with close_notify. */
void proxy_run(Session *s);
