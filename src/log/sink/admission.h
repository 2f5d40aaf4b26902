/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What enters the queue of a sink. Private to log/sink/. */

#include "log/sink/state.h"

#include <stdbool.h>
#include <stddef.h>

/* True if the destination has ever accepted anything: a record, or bytes that its kernel has acknowledged,
 * such as a request that is not answered yet. */
bool sink_has_taken(const LogSink *s);

/* Updates the admission from the length of the queue and the condition. */
void sink_review_admission(LogSink *s);

/* Queues, drops or holds records of one stream; see LogOutlet. */
void sink_admit(const LogRecord *records, size_t n, size_t payload, void *sink);
void sink_refuse(const LogRecord *r, bool limited, void *sink);

/* Reports what was dropped for causes that are over. */
void sink_announce(LogSink *s);
