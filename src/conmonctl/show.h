/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The output of conmonctl. */

#include <glib.h>
#include <stdbool.h>

typedef struct ShowConfig {
        bool color;
        bool legend;    /* header and summary */
        guint max_rows; /* of the table; 0: all */
} ShowConfig;

/* A table of MonitorInfo *, one row each. */
void show_list(const GPtrArray *monitors, const ShowConfig *config, GString *out);

/* The same as a JSON array of objects; the monitor's status document is the member "status". */
void show_json(const GPtrArray *monitors, GString *out);

/* Everything about each of them, as text. */
void show_status(const GPtrArray *monitors, const ShowConfig *config, GString *out);
