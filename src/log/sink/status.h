/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The status of a sink. Private to log/sink/. */

#include "log/sink/state.h"

/* The destination, for messages. */
const char *sink_target(const LogSink *s);

/* Describes an error of sending (-errno): a sentence without a full stop. Freed with g_free. */
char *sink_describe_error(const LogSink *s, int r);
