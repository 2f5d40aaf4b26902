#include "core/monitor.h"

#include "base/error.h"
#include "config/selection.h"
#include "core/check_config.h"
#include "ctl/parent_pipe.h"

#include <stdlib.h>
#include <string.h>

/* The command line counts more than the configuration, and rotation is one setting of two numbers. */
static LogConfig
describe_log(const Options *o, const Selection *s)
{
        bool keep_old = !o->log_rotate && s && s->max_files > 0;
        LogConfig config = {
                .paths = o->log_paths,
                .drivers = s ? (char **)s->drivers->pdata : o->log_drivers,
                .driver_origins = s ? (char **)s->driver_origins->pdata : NULL,
                .options = s ? (char **)s->options->pdata : o->log_opts,
                .option_origins = s ? (char **)s->option_origins->pdata : NULL,
                .cid = o->cid,
                .name = o->name,
                .tag = o->log_tag,
                .labels = o->log_labels,
                .no_partial_message = o->no_container_partial_message,
                .size_max = o->log_size_max <= 0 && s ? s->size_max : o->log_size_max,
                .global_max = o->log_global_size_max <= 0 && s ? s->global_size_max : o->log_global_size_max,
                .rotate = o->log_rotate || keep_old,
                .max_files = keep_old ? s->max_files : o->log_max_files,
                .allowlist_dirs = o->log_allowlist_dirs,
                .sync_at_end = !o->no_sync_log,
                .bundle = o->bundle,
                .persist_dir = o->persist_dir,
                .exec = o->exec,
        };
        return config;
}

static gboolean
open_log(Monitor *m, const Selection *s, GError **error)
{
        LogConfig config = describe_log(m->options, s);
        m->log = log_new(&config, error);
        return m->log != NULL;
}

/* Of command line, configuration and default the first that says something. */
static int64_t
choose_setting(const char *name, const char *given, int64_t configured)
{
        const ConfigKey *key = config_key_find("attach", name);
        return !given && configured >= 0 ? configured : config_key_number(key, given ? given : key->fallback);
}

static void
set_up_clients(Monitor *m, const Selection *s)
{
        const Options *o = m->options;
        m->attach_client = (AttachClientConfig){
                .queue_max = (size_t)choose_setting("queue-max", o->attach_queue_max,
                                                    s ? s->attach_queue_max : -1),
                .stall_usec = choose_setting("stall-timeout", o->attach_stall_timeout,
                                             s ? s->attach_stall_usec : -1),
        };
}

/* Podman looks for these words in what it is told, and takes them to be about the container's program. */
static char *
reword(const char *sentence)
{
        static const char *const words[][2] = {
                {"no such file or directory", "no file or directory of that name"},
                {"permission denied", "no permission"},
                {"operation not permitted", "it is not allowed"},
                {"executable file not found in", "no program of that name in"},
                {"open executable", "open the program"},
        };
        char *text = g_strdup(sentence);
        for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
                for (char *at; (at = strcasestr(text, words[i][0]));) {
                        char *whole = text;
                        *at = '\0';
                        text = g_strconcat(whole, words[i][1], at + strlen(words[i][0]), NULL);
                        g_free(whole);
                }
        }
        return text;
}

/* What the configuration adds can't be had. The policy decides whether the container starts without; an exec
 * run does in any case. A caller with a sync pipe looks there for the reason. */
static gboolean
refuse(Monitor *m, bool warn, GError *refused, GError **error)
{
        const char *pipe = getenv(PARENT_PIPE_SYNC);
        if (m->options->exec && !m->options->log_profile)
                diag_debug("%s", refused->message);
        else if (warn)
                diag_warn("%s; the container starts without what the configuration adds", refused->message);
        else if (pipe && *pipe)
                m->refusal = reword(refused->message);
        else
                return error_set(error, CONMON_ERROR_USAGE, "%s", refused->message);
        return TRUE;
}

/* Errors count wherever they are in the files, as they do for --check-config; but
 * exec runs are never affected. */
static gboolean
choose_log(Monitor *m, const SelectionConfig *asked, Selection **ret_selection, GError **error)
{
        if (!selection_new(asked, ret_selection, error) || !*ret_selection)
                return FALSE;
        return (asked->exec || check_config_sections((*ret_selection)->config, error)) &&
               open_log(m, *ret_selection, error);
}

gboolean
monitor_set_up(Monitor *m, GError **error)
{
        const Options *o = m->options;
        SelectionConfig asked = {
                .file = o->config,
                .policies = o->log_policies,
                .profile = o->log_profile,
                .paths = o->log_paths,
                .drivers = o->log_drivers,
                .options = o->log_opts,
                .name = o->name,
                .cid = o->cid,
                .bundle = o->bundle,
                .exec = o->exec,
        };
        g_autoptr(Selection) selection = NULL;
        g_autoptr(GError) refused = NULL;
        if (!choose_log(m, &asked, &selection, &refused))
                /* What is wrong with the command line alone is the caller's own, and
                 * is told as it always was. */
                if (!open_log(m, NULL, error))
                        return FALSE;
        set_up_clients(m, selection);
        return !refused || refuse(m, selection->warn, refused, error);
}
