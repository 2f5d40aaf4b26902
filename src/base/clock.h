/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The wall clock, and its text forms. */

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Nanoseconds since 1970-01-01 00:00 UTC. Never fails: 0 for a clock that can't be read. */
int64_t clock_realtime_ns(void);

/* Length of the text that clock_format_local writes: "2026-11-21T20:41:05.490952399+00:00". */
#define CLOCK_LOCAL_LEN 35

/* Caches the parts of a local time that change at most once a second. All zero is valid. */
typedef struct ClockFormatter {
        time_t second;
        char head[20];  /* "2026-11-21T20:41:05." */
        char offset[6]; /* "+00:00" */
} ClockFormatter;

/* Writes the local time with nine digits and a numeric offset (RFC 3339) into `buf`, CLOCK_LOCAL_LEN
 * bytes without a NUL. */
void clock_format_local(ClockFormatter *f, int64_t ns, char *buf);

/* Size of the buffer of clock_format_utc, including the NUL. */
#define CLOCK_UTC_SIZE 31

/* Writes UTC in the form of Go's RFC3339Nano: no trailing zeros in the fraction, no fraction if it is zero,
 * "Z". Adds a NUL. Returns the length without it. */
size_t clock_format_utc(int64_t ns, char *buf);
