/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A proxy between the monitor and the server, for kernels without TLS. */

#include "tls/session.h"

/* Passes bytes in both directions until both sides have closed theirs or the connection breaks. If one side
 * does not read, the other one has to wait. Sends close_notify at the end. */
void proxy_run(Session *s);
