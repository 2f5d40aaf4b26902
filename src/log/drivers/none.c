/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/driver.h"

static const char *const aliases[] = {"off", "null", NULL};

const LogDriver log_driver_none = {
        .name = "none",
        .aliases = aliases,
        .help = "no log",
        .flags = LOG_DRIVER_NO_SINK,
};
