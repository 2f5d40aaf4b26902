/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The table of all drivers, generated from their names in meson.build. */

#include "log/api/driver.h"

/* All drivers, in the order of their names; ends with NULL. */
const LogDriver *const *log_drivers(void);

/* By name or alias. NULL if there is none. */
const LogDriver *log_driver_find(const char *name);
