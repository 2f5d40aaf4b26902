#include "log/secret.h"

#include "base/error.h"
#include "base/fd.h"

#include <string.h>
#include <sys/prctl.h>

#define SECRET_MAX 4096

void
secret_protect(void)
{
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

gboolean
secret_read(const char *driver, const LogOptions *o, const char *file_option, const char *env_option,
            char **ret, GError **error)
{
        const char *path = log_options_string(o, file_option), *name = log_options_string(o, env_option);
        char *text = NULL;
        size_t len = 0;
        if (path && name)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: options %s and %s can't be given both", driver, file_option,
                                 env_option);
        if (path || name)
                secret_protect();
        int r = path ? fd_read_file(path, SECRET_MAX + 1, &text, &len) : 0;
        if (r < 0)
                return error_set_errno(error, r, "Log driver %s: failed to read %s, the value of option %s",
                                       driver, path, file_option);
        if (path && (len > SECRET_MAX || memchr(text, '\0', len))) {
                explicit_bzero(text, len);
                g_free(text);
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: %s, the value of option %s, is longer than %d bytes or "
                                 "has a NUL byte",
                                 driver, path, file_option, SECRET_MAX);
        }
        if (name && !(text = g_strdup(g_getenv(name))))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: there is no environment variable %s, the value of option %s",
                                 driver, name, env_option);
        if (path && g_str_has_suffix(text, "\n"))
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
