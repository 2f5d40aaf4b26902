/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What conmonctl prints about monitors. */

#include <glib.h>
#include <stdbool.h>

typedef struct ShowConfig {
        bool colour;
        bool legend;    /* header and the line that counts */
        guint max_rows; /* of the table; 0: all */
} ShowConfig;

/* A table of MonitorInfo *, one row each. */
void show_list(const GPtrArray *monitors, const ShowConfig *config, GString *out);

/* The same as a JSON array of objects; each has the monitor's own status document as "status". */
void show_json(const GPtrArray *monitors, GString *out);

/* Everything about each of them, for a person. */
void show_status(const GPtrArray *monitors, const ShowConfig *config, GString *out);
