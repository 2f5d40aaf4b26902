/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The process at the other end of a unix socket. */

#include <stdbool.h>

/* True if it has the same user as this process, and the same user, mount and pid namespaces: then it gains
 * nothing by a request, and paths and pids mean the same to both. False also if this is unknown. The other
 * end is the process that called connect(2), or listen(2) (SO_PEERCRED, unix(7)). */
bool peer_is_alike(int sock);
