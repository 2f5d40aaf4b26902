/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Counters of monitors in the text format of Prometheus, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). */

#include <glib.h>

/* Appends the metrics of these MonitorInfo *; conmonctl(1) lists them. */
void metrics_format(const GPtrArray *monitors, GString *out);
