#pragma once

/* conmon --check-config. */

#include "config/config_file.h"
#include "core/options.h"

/* Checks the configuration files that follow on the command line, or that of --config, or the usual
 * ones; prints what is in force, and from which line. Returns the exit status: 1 after the first error,
 * which is printed to stderr. */
int check_config(const Options *o);

/* Checks whether there are the drivers, options and profiles that any section names. */
gboolean check_config_sections(const Config *c, GError **error);
