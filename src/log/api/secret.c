/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/secret.h"

#include "base/error.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#define SECRET_MAX 4096

void
secret_protect(void)
{
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

gboolean
secret_read(const char *driver, const char *name, const SecretOptions *o, Errands *errands, char **ret,
            GError **error)
{
        char *text = NULL;
        size_t len = 0;
        if (o->file && o->env)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: options %s-file and %s-env can't be given both", driver,
                                 name, name);
        if (secret_is_given(o))
                secret_protect();
        int r = o->file ? errands_read_file(errands, o->file, SECRET_MAX, &text, &len) : 0;
        if (r < 0 && r != -EFBIG)
                return error_set_errno(error, r,
                                       "Log driver %s: failed to read %s, the value of option %s-file",
                                       driver, o->file, name);
        if (r == -EFBIG || (o->file && memchr(text, '\0', len))) {
                if (text)
                        explicit_bzero(text, len);
                g_free(text);
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: %s, the value of option %s-file, is longer than %d bytes or "
                                 "has a NUL byte",
                                 driver, o->file, name, SECRET_MAX);
        }
        if (o->env && !(text = g_strdup(g_getenv(o->env))))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: there is no environment variable %s, the value of option "
                                 "%s-env",
                                 driver, o->env, name);
        if (o->file && g_str_has_suffix(text, "\n"))
                text[strlen(text) - 1] = '\0';
        *ret = text;
        return TRUE;
}

void
secret_free(char *secret)
{
        if (secret)
                explicit_bzero(secret, strlen(secret));
        g_free(secret);
}
