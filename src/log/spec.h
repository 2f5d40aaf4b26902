#pragma once

/* The log sinks that a command line asks for. */

#include "log/driver.h"

typedef struct LogSpec {
        const LogDriver *driver;
        char *arg;          /* behind "NAME:"; NULL if there was none */
        bool from_log_path; /* from -l */
        char *origin;       /* as in LogConfig; NULL for the command line */
} LogSpec;

/* Reads all of -l and --log-driver, in this order; drivers without a sink are in the list too. Of several
 * files in -l the last one counts, as it always did. Returns LogSpec *, freed with the array, or NULL. */
GPtrArray *log_specs_parse(const LogConfig *config, GError **error);

/* The options that --log-opt has for the sink of this spec: KEY=VALUE is for all that --log-driver added and
 * that know the key, DRIVER.KEY=VALUE for all of this driver, also those of -l. */
LogOptions *log_spec_options(const LogSpec *spec, const LogConfig *config, GError **error);

/* Puts in front of an error's sentence where the driver is from. Always returns FALSE. */
gboolean log_spec_fail(const LogSpec *spec, GError **error);

/* Fails for a --log-opt that no sink takes. */
gboolean log_specs_check_options(const GPtrArray *specs, const LogConfig *config, GError **error);
