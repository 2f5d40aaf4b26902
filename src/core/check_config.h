#pragma once

/* conmon --check-config. */

#include "core/options.h"

/* Checks the configuration files that follow on the command line, or that of --config, or the usual ones; prints what
 * is in force, and from which line. Returns the exit status: 1 after the first error, which is printed to stderr. */
int check_config(const Options *o);
