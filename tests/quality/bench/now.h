/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Microseconds of the monotonic clock. */
double now_us(void);
