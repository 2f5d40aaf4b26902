#pragma once

/* Passwords and keys: they come from a file or from an environment variable, because everybody can read the arguments of
 * a process. */

#include "log/option.h"

#include <glib.h>

/* Reads the secret that one of the options `file_option` (a path) and `env_option` (a variable's name) names: the whole
 * content, without one newline at its end. Sets *ret to NULL if neither was given. The caller frees it with
 * secret_free. */
gboolean secret_read(const char *driver, const LogOptions *o, const char *file_option, const char *env_option, char **ret,
                     GError **error);

/* Overwrites and frees. NULL is fine. */
void secret_free(char *secret);
