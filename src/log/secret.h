#pragma once

/* Passwords and keys: they come from a file or from an environment variable, because everybody can read
 * the arguments of a process. */

#include "log/option.h"

#include <glib.h>

/* Reads the secret that one of the options `file_option` (a path) and `env_option` (a variable's name)
 * names: the whole content, without one newline at its end. Sets *ret to NULL if neither was given. The
 * caller frees it with secret_free. */
gboolean secret_read(const char *driver, const LogOptions *o, const char *file_option, const char *env_option,
                     char **ret, GError **error);

/* To be called before a secret is read: from now on there are no core dumps of this process and its
 * children, and nobody without CAP_SYS_PTRACE can look into its memory. Programs that it executes are not
 * concerned (PR_SET_DUMPABLE). */
void secret_protect(void);

/* Overwrites and frees. NULL is fine. */
void secret_free(char *secret);
