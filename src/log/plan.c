/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/plan.h"

#include "log/file/log_file.h"
#include "log/sinks.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void
planned_free(void *data)
{
        LogPlanned *p = data;
        g_free(p->arg);
        log_options_free(p->options);
        g_free(p->origin);
        g_ptr_array_unref(p->settings);
        g_free(p);
}

/* A later setting of the same option takes precedence. */
static bool
is_overridden(const LogOptions *options, const GPtrArray *settings, guint number)
{
        const LogOption *option = log_options_find(options, ((LogSetting *)settings->pdata[number])->key);
        for (guint i = number + 1; option && !option->repeats && i < settings->len; i++)
                if (log_options_find(options, ((LogSetting *)settings->pdata[i])->key) == option)
                        return true;
        return false;
}

void
log_plan_add(GPtrArray *plan, const LogSinkSetup *setup, const char *origin, const GPtrArray *settings)
{
        LogPlanned *p = g_new(LogPlanned, 1);
        *p = (LogPlanned){
                .driver = setup->driver,
                .arg = g_strdup(setup->arg),
                .options = log_options_ref(setup->options),
                .from_log_path = setup->from_log_path,
                .origin = g_strdup(origin),
                .settings = g_ptr_array_new(),
        };
        for (guint i = 0; i < settings->len; i++)
                if (!is_overridden(p->options, settings, i))
                        g_ptr_array_add(p->settings, settings->pdata[i]);
        g_ptr_array_add(plan, p);
}

GPtrArray *
log_plan(const LogConfig *config, GError **error)
{
        g_autoptr(GPtrArray) plan = g_ptr_array_new_with_free_func(planned_free);
        return log_sinks_plan(plan, config, error) ? g_steal_pointer(&plan) : NULL;
}

static void G_GNUC_PRINTF(3, 4) add_missing(GPtrArray *found, const LogPlanned *p, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args);
        va_end(args);
        const char *option = p->from_log_path ? "--log-path " : "--log-driver ";
        g_ptr_array_add(found, g_strconcat(p->origin ? p->origin : option, p->origin ? "" : p->driver->name,
                                           ": ", text, NULL));
}

static void
look_for_directory(GPtrArray *found, const LogPlanned *p)
{
        if (p->driver->transport != &log_file_transport || !p->arg)
                return;
        g_autofree char *dir = g_path_get_dirname(p->arg);
        if (!strchr(dir, '{') && access(p->arg, W_OK) < 0 && access(dir, W_OK | X_OK) < 0)
                add_missing(found, p, "no file can be made in %s: %s", dir, g_strerror(errno));
}

static void
look_for_files(GPtrArray *found, const LogPlanned *p)
{
        const LogOption *option;
        for (size_t i = 0; (option = log_options_at(p->options, i)); i++) {
                const char *path = option->type.kind == VALUE_FILE ? log_options_text(p->options, i) : NULL;
                if (path && access(path, R_OK) < 0)
                        add_missing(found, p, "%s=%s can't be read: %s", option->name, path,
                                    g_strerror(errno));
        }
}

GPtrArray *
log_plan_find_missing(const GPtrArray *plan)
{
        GPtrArray *found = g_ptr_array_new_with_free_func(g_free);
        for (guint i = 0; i < plan->len; i++) {
                look_for_directory(found, plan->pdata[i]);
                look_for_files(found, plan->pdata[i]);
        }
        return found;
}
