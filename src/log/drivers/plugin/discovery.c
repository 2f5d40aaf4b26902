/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/plugin/discovery.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ADDRESS_FILE_MAX 4096

bool
plugin_is_name(const char *name)
{
        return name && *name && *name != '.' &&
               strspn(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_.-") == strlen(name);
}

/* A directory from an environment variable, or one in the user's home. */
static char *
user_dir(const char *variable, const char *below_home, const char *name)
{
        const char *dir = variable ? getenv(variable) : NULL, *home = getenv("HOME");
        if (dir && *dir == '/')
                return g_build_filename(dir, "docker", name, NULL);
        return below_home && home && *home == '/' ? g_build_filename(home, below_home, "docker", name, NULL)
                                                  : NULL;
}

char *
plugin_run_dir(const char *name)
{
        if (user_is_ordinary())
                return user_dir("XDG_RUNTIME_DIR", NULL, name);
        return g_build_filename("/run/docker", name, NULL);
}

static bool
is_socket(const char *path)
{
        struct stat st;
        return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static bool
find_socket(const char *name, LogAddress *ret)
{
        g_autofree char *dir = plugin_run_dir("plugins"), *file = g_strconcat(name, ".sock", NULL);
        if (!dir)
                return false;
        g_autofree char *path = g_build_filename(dir, file, NULL),
                        *nested = g_build_filename(dir, name, file, NULL);
        const char *found = is_socket(path) ? path : is_socket(nested) ? nested : NULL;
        if (found)
                *ret = (LogAddress){.scheme = LOG_SCHEME_UNIX, .host = g_strdup(found)};
        return found;
}

static void
take_address(const JsonValue *value, void *data)
{
        char **address = data;
        if (value->depth != 1 || value->kind != JSON_STRING || strcmp(value->path[0], "Addr") != 0)
                return;
        g_free(*address);
        *address = g_strndup(value->text, value->len);
}

static gboolean
parse_address(const char *path, const char *text, LogAddress *ret, GError **error)
{
        unsigned allowed = 1u << LOG_SCHEME_UNIX | 1u << LOG_SCHEME_TCP;
        g_autofree char *plain =
                g_str_has_prefix(text, "http://") ? g_strconcat("tcp", text + 4, NULL) : g_strdup(text);
        if (log_address_parse("plugin", "address", plain, allowed, 0, ret, NULL))
                return TRUE;
        return error_set(error, CONMON_ERROR_FAILED,
                         "the address '%s' in %s is none of unix://PATH and tcp://HOST:PORT", text, path);
}

/* Returns 1 and the address, 0 if there is no such file, or -1 and *error. */
static int
read_address_file(const char *path, bool json, LogAddress *ret, GError **error)
{
        g_autofree char *text = NULL, *address = NULL;
        size_t len;
        int r = fd_read_file(path, ADDRESS_FILE_MAX, &text, &len);
        if (r == -ENOENT || r == -ENOTDIR)
                return 0;
        if (r < 0) {
                error_set_errno(error, r, "failed to read %s", path);
                return -1;
        }
        if (json && !json_read(text, len, take_address, &address, error)) {
                g_prefix_error(error, "failed to read %s: ", path);
                return -1;
        }
        if (!json)
                address = g_strdup(g_strstrip(text));
        return parse_address(path, address ? address : "", ret, error) ? 1 : -1;
}

static int
search_dir(const char *dir, const char *name, LogAddress *ret, GError **error)
{
        g_autofree char *spec = g_strconcat(dir, "/", name, ".spec", NULL),
                        *json = g_strconcat(dir, "/", name, ".json", NULL);
        int r = read_address_file(spec, false, ret, error);
        return r == 0 ? read_address_file(json, true, ret, error) : r;
}

gboolean
plugin_find(const char *name, LogAddress *ret, GError **error)
{
        bool user = user_is_ordinary();
        g_autofree char *config =
                user ? user_dir("XDG_CONFIG_HOME", ".config", "plugins") : g_strdup("/etc/docker/plugins");
        g_autofree char *lib =
                user ? user_dir(NULL, ".local/lib", "plugins") : g_strdup("/usr/lib/docker/plugins");
        g_autofree char *run = plugin_run_dir("plugins");
        if (find_socket(name, ret))
                return TRUE;
        int r = config ? search_dir(config, name, ret, error) : 0;
        if (r == 0 && lib)
                r = search_dir(lib, name, ret, error);
        if (r != 0)
                return r > 0;
        return error_set(error, CONMON_ERROR_FAILED,
                         "there is no %s.sock in %s, and no %s.spec or %s.json in %s or %s", name,
                         run ? run : "$XDG_RUNTIME_DIR/docker/plugins", name, name,
                         config ? config : "~/.config/docker/plugins",
                         lib ? lib : "~/.local/lib/docker/plugins");
}
