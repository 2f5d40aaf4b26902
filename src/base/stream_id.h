/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The two streams of a container's output. All output of a terminal is stdout. */
typedef enum {
        STREAM_STDOUT,
        STREAM_STDERR,
        N_STREAMS,
} StreamId;

static inline const char *
stream_name(StreamId stream)
{
        return stream == STREAM_STDOUT ? "stdout" : "stderr";
}
