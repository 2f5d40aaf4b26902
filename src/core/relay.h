/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Bytes between the container, its log and its clients. */

#include "core/monitor.h"

/* Output of the runtime is held back, because it is only logged if the runtime succeeds. Output beyond
 * this limit is always logged. */
#define RELAY_HOLD_MAX 65536

/* How much of the runtime's stderr is kept for the caller in case it fails. */
#define RUNTIME_STDERR_MAX 8191

/* An OutputFunc: to the log first, then to the clients. */
size_t relay_output(StreamId id, const char *bytes, size_t len, bool more, void *data);

/* For the stand-in: finishes what the main thread, blocked on a log file, has not done. */
void relay_go_on(Monitor *m);

/* Forwards what was held back while the runtime ran. */
void relay_release(Monitor *m);

/* Pauses and resumes the streams as the log and the clients require. */
void relay_update(void *data);

/* The container's stdin is writable again, or full. */
void relay_on_stdin_wants(bool wants, void *data);
