/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Checks the counters of a sink, and aborts if they are inconsistent. Does nothing unless the build has
 * the Meson option assert-accounting. */

#include "log/api/queue.h"
#include "log/sink/losses.h"

/* The queue's own counters: bytes, messages, payload, dropped messages that are not passed yet, the
 * cursor. */
void log_audit_queue(const LogQueue *q);

/* in = out + queued + dropped. */
void log_audit_counts(LogCount in, const LogQueue *q, const LogLosses *losses);
