/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "seccomp/notify_plugins.h"

#include "base/error.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

typedef struct Plugin {
        void *library;
        void *opaque;
        NotifyHandleFunc handle;
        NotifyStopFunc stop; /* may be NULL */
} Plugin;

struct NotifyPlugins {
        GPtrArray *plugins;
        NotifyPluginConf conf; /* strings are owned; a plugin may keep pointers to them */
};

static void
plugin_free(void *data)
{
        Plugin *plugin = data;
        if (plugin->stop)
                (void)plugin->stop(plugin->opaque);
        if (plugin->library)
                (void)dlclose(plugin->library);
        g_free(plugin);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Plugin, plugin_free)

/* Stores the function's address in *ret_func, a pointer to a function of any type, or NULL. (ISO C has no
 * cast from dlsym's result to that; POSIX guarantees that it works.) */
static void
find_function(const Plugin *plugin, const char *name, void *ret_func)
{
        void *address = dlsym(plugin->library, name);
        memcpy(ret_func, &address, sizeof address);
}

static gboolean
check_version(Plugin *plugin, const char *path, GError **error)
{
        NotifyVersionFunc version;
        find_function(plugin, NOTIFY_VERSION_SYMBOL, &version);
        if (!version || version() == NOTIFY_ABI_VERSION)
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "The seccomp notify plugin %s has interface version %d, not %d", path, version(),
                         NOTIFY_ABI_VERSION);
}

static Plugin *
plugin_load(const char *path, NotifyPluginConf *conf, GError **error)
{
        g_autoptr(Plugin) plugin = g_new0(Plugin, 1);
        plugin->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!plugin->library) {
                error_set(error, CONMON_ERROR_USAGE, "Cannot load the seccomp notify plugin %s: %s", path,
                          dlerror());
                return NULL;
        }
        if (!check_version(plugin, path, error))
                return NULL;
        find_function(plugin, NOTIFY_HANDLE_SYMBOL, &plugin->handle);
        if (!plugin->handle) {
                error_set(error, CONMON_ERROR_USAGE,
                          "The seccomp notify plugin %s does not have the function %s", path,
                          NOTIFY_HANDLE_SYMBOL);
                return NULL;
        }
        NotifyStartFunc start;
        find_function(plugin, NOTIFY_START_SYMBOL, &start);
        int r = start ? start(&plugin->opaque, conf, sizeof *conf) : 0;
        if (r != 0) {
                error_set_errno(error, r, "The seccomp notify plugin %s failed to start", path);
                return NULL;
        }
        find_function(plugin, NOTIFY_STOP_SYMBOL, &plugin->stop);
        return g_steal_pointer(&plugin);
}

NotifyPlugins *
notify_plugins_load(const char *list, const NotifyPluginConf *conf, GError **error)
{
        NotifyPlugins *p = g_new0(NotifyPlugins, 1);
        p->plugins = g_ptr_array_new_with_free_func(plugin_free);
        p->conf = (NotifyPluginConf){
                .runtime_root_path = g_strdup(conf->runtime_root_path),
                .name = g_strdup(conf->name),
                .bundle_path = g_strdup(conf->bundle_path),
                .oci_config_path = g_strdup(conf->oci_config_path),
        };
        g_auto(GStrv) paths = g_strsplit(list, ":", -1);
        for (char **path = paths; *path; path++) {
                Plugin *plugin = plugin_load(*path, &p->conf, error);
                if (!plugin) {
                        notify_plugins_free(p);
                        return NULL;
                }
                g_ptr_array_add(p->plugins, plugin);
        }
        return p;
}

int
notify_plugins_handle(NotifyPlugins *p, struct seccomp_notif_sizes *sizes, struct seccomp_notif *request,
                      struct seccomp_notif_resp *response, int fd)
{
        for (guint i = 0; i < p->plugins->len; i++) {
                Plugin *plugin = p->plugins->pdata[i];
                int handled = NOTIFY_NOT_HANDLED;
                memset(response, 0, sizes->seccomp_notif_resp);
                response->id = request->id;
                int r = plugin->handle(plugin->opaque, sizes, request, response, fd, &handled);
                if (r != 0)
                        return r < 0 ? r : -r;
                if (handled != NOTIFY_NOT_HANDLED)
                        return handled;
        }
        return -ENOTSUP;
}

void
notify_plugins_free(NotifyPlugins *p)
{
        if (!p)
                return;
        g_ptr_array_unref(p->plugins);
        g_free((char *)p->conf.runtime_root_path);
        g_free((char *)p->conf.name);
        g_free((char *)p->conf.bundle_path);
        g_free((char *)p->conf.oci_config_path);
        g_free(p);
}
