/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* conmon --check-config. */

#include "core/options.h"

/* Checks the configuration files on the command line, or that of --config, or the default ones; prints the
 * settings in effect, and from which line each comes. Returns the exit status: 1 after the first error,
 * which is printed to stderr. */
int check_config_run(const Options *o);
