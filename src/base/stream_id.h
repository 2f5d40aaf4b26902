#pragma once

/* The two directions in which a container's output comes. Everything of a terminal is stdout. */
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
