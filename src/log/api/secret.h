/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Passwords and keys: they come from a file or an environment variable, because arguments of processes are
 * public. */

#include "base/errands.h"
#include "log/api/option.h"

#include <glib.h>

/* Where the secret is; both NULL: there is none. */
typedef struct SecretOptions {
        const char *file;
        const char *env; /* the name of a variable */
} SecretOptions;

static inline bool
secret_is_given(const SecretOptions *o)
{
        return o->file || o->env;
}

/* The options NAME-file and NAME-env; `member` of the struct `type` is a SecretOptions. */
#define SECRET_OPTIONS(name, type, member, help)                                                             \
        {name "-file", {VALUE_FILE}, offsetof(type, member.file), "", "file with " help},                    \
        {                                                                                                    \
                name "-env", {VALUE_TEXT}, offsetof(type, member.env), "",                                   \
                        "environment variable with " help                                                    \
        }

/* Reads the secret of the options NAME-file and NAME-env: the whole content, without one newline at its end.
 * Sets *ret to NULL if neither was given. The caller frees it with secret_free.
 * `errands` may be NULL: then a slow disk blocks. */
gboolean secret_read(const char *driver, const char *name, const SecretOptions *o, Errands *errands,
                     char **ret, GError **error);

/* To be called before a secret is read: from now on this process and its children don't dump core, and
 * their memory can only be read with CAP_SYS_PTRACE. Does not affect programs that it executes
 * (PR_SET_DUMPABLE). */
void secret_protect(void);

/* Overwrites and frees. NULL is allowed. */
void secret_free(char *secret);
