/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/setup.h"

#include "base/error.h"
#include "ctl/parent_pipe.h"
#include "log/plan.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a stalled disk may block the main loop during a reload. */
#define OPENING_USEC (G_USEC_PER_SEC / 4)

/* The command line takes precedence over the configuration, and rotation is one setting of two numbers. */
static LogConfig
describe_log(const Options *o, ConfigJson *json, const Selection *s)
{
        bool keep_old = !o->log_rotate && s && s->max_files > 0;
        LogConfig config = {
                .paths = o->log_paths,
                .requests = s ? s->requests : o->log_requests,
                .annotation_sockets = s ? s->sockets : NULL,
                .cid = o->cid,
                .name = o->name,
                .tag = o->log_tag,
                .labels = o->log_labels,
                .no_partial_message = o->no_container_partial_message,
                .size_max = o->log_size_max <= 0 && s ? s->size_max : o->log_size_max,
                .global_max = o->log_global_size_max <= 0 && s ? s->global_size_max : o->log_global_size_max,
                .rotate = o->log_rotate || keep_old,
                .max_files = keep_old ? s->max_files : o->log_max_files,
                .sync_at_end = !o->no_sync_log,
                .bundle = o->bundle,
                .config_json = json,
                .persist_dir = o->persist_dir,
                .exec = o->exec,
        };
        return config;
}

static gboolean
open_log(const LogConfig *config, void *data, GError **error)
{
        Monitor *m = data;
        LogConfig own = *config;
        own.stand_in = m->stand_in;
        m->log = log_new(&own, error);
        return m->log != NULL;
}

/* The first of command line, configuration and default that is set. */
static int64_t
choose_setting(const char *name, const char *given, int64_t configured)
{
        const ConfigKey *key = config_key_find("attach", name);
        return !given && configured >= 0 ? configured : config_key_number(key, given ? given : key->fallback);
}

static AttachClientConfig
describe_clients(const Options *o, const Selection *s)
{
        return (AttachClientConfig){
                .queue_max = (size_t)choose_setting("queue-max", o->attach_queue_max,
                                                    s ? s->attach_queue_max : -1),
                .stall_usec = choose_setting("stall-timeout", o->attach_stall_timeout,
                                             s ? s->attach_stall_usec : -1),
        };
}

/* Podman uses the same test to decide whether systemd timers are available. */
static bool
wants_health_checks(const Options *o, const Selection *s)
{
        HealthChecks checks = s ? s->health_checks : HEALTH_CHECKS_AUTO;
        if (o->exec || !o->exit_command || checks == HEALTH_CHECKS_OFF)
                return false;
        const char *disabled = getenv("DISABLE_HC_SYSTEMD");
        return checks == HEALTH_CHECKS_ON || (disabled && strcmp(disabled, "true") == 0) ||
               access("/run/systemd/system", F_OK) < 0;
}

/* Podman searches our messages for these words, and takes them for errors of the container's program. */
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

/* The policy decides whether a container starts; exec sessions always do. */
const char *
setup_starts_anyway(const Options *o, bool warn)
{
        if (o->exec && !o->log_profile)
                return "the process";
        return warn ? "the container" : NULL;
}

/* A driver of the configuration is unavailable. A caller with a sync pipe expects the reason there. */
static gboolean
refuse(Monitor *m, bool warn, GError *refused, GError **error)
{
        const char *pipe = getenv(PARENT_PIPE_SYNC), *who = setup_starts_anyway(m->options, warn);
        if (m->options->exec && !m->options->log_profile)
                diag_debug("%s", refused->message);
        else if (who)
                diag_warn("%s; %s starts without what the configuration adds", refused->message, who);
        else if (pipe && *pipe)
                m->refusal = reword(refused->message);
        else
                return error_set(error, CONMON_ERROR_USAGE, "%s", refused->message);
        return TRUE;
}

/* Whether these drivers and their options exist. */
static gboolean
check_section(const Config *c, const ConfigSection *section, GError **error)
{
        g_autoptr(Selection) s = NULL;
        if (!selection_of_section(c, section, &s, error))
                return FALSE;
        if (s->requests->list->len == 0)
                return TRUE;
        g_autoptr(GPtrArray) plan = log_plan(&(LogConfig){.requests = s->requests, .cid = ""}, error);
        return plan != NULL;
}

gboolean
setup_check_sections(const Config *c, GError **error)
{
        for (guint i = 0; c && i < c->sections->len; i++)
                if (!check_section(c, c->sections->pdata[i], error))
                        return FALSE;
        return TRUE;
}

/* Errors anywhere in the files are fatal, as for --check-config; but exec sessions are never affected. */
static gboolean
choose_log(const Options *o, const SelectionConfig *asked, SetupLogFunc make, void *data,
           Selection **ret_selection, GError **error)
{
        if (!selection_new(asked, ret_selection, error) || !*ret_selection)
                return FALSE;
        LogConfig config = describe_log(o, asked->config_json, *ret_selection);
        return (asked->exec || setup_check_sections((*ret_selection)->config, error)) &&
               make(&config, data, error);
}

gboolean
setup_choose_log(const Options *o, const SelectionConfig *asked, SetupLogFunc make, void *data,
                 Selection **ret_selection, GError **ret_refused, GError **error)
{
        if (choose_log(o, asked, make, data, ret_selection, ret_refused))
                return TRUE;
        /* Errors of the command line alone are reported to the caller as usual. */
        LogConfig config = describe_log(o, asked->config_json, NULL);
        return make(&config, data, error);
}

SelectionConfig
setup_describe_choice(const Options *o, ConfigJson *json)
{
        LogPaths paths = log_describe_paths(&(LogConfig){.paths = o->log_paths, .requests = o->log_requests});
        return (SelectionConfig){
                .files = o->files,
                .policies = o->log_policies,
                .profile = o->log_profile,
                .requests = o->log_requests,
                .has_path = paths.any,
                .no_log = paths.none,
                .passthrough = paths.passthrough,
                .own_file = paths.own_file,
                .name = o->name,
                .cid = o->cid,
                .config_json = json,
                .exec = o->exec,
        };
}

gboolean
monitor_set_up(Monitor *m, GError **error)
{
        const Options *o = m->options;
        g_autoptr(ConfigJson) json = o->bundle ? config_json_new(o->bundle) : NULL;
        SelectionConfig asked = setup_describe_choice(o, json);
        g_autoptr(Selection) selection = NULL;
        g_autoptr(GError) refused = NULL;
        if (!setup_choose_log(o, &asked, open_log, m, &selection, &refused, error))
                return FALSE;
        m->endpoints.client = describe_clients(o, selection);
        m->health_checks = wants_health_checks(o, selection);
        return !refused || refuse(m, selection->warn, refused, error);
}

/* The disk or server of the files may stall; then the stand-in runs the loop, perhaps until the container has
 * ended. config.json, which drivers may need later, is kept. */
static gboolean
read_files(Monitor *m, const SelectionConfig *asked, Selection **ret_selection, GError **error)
{
        const char *text;
        size_t len;
        StandIn *lent = stand_in_lend(m->stand_in);
        gboolean done = selection_new(asked, ret_selection, error);
        if (done && asked->config_json)
                (void)config_json_read(asked->config_json, &text, &len);
        stand_in_take_back(lent);
        if (done && m->state != MONITOR_RUNNING)
                return error_set(error, CONMON_ERROR_FAILED, "the container has ended");
        return done;
}

/* Without configuration there is no selection, and the command line is used. */
static gboolean
reload_log(Monitor *m, const SelectionConfig *asked, Selection **ret_selection, GError **error)
{
        if (!read_files(m, asked, ret_selection, error))
                return FALSE;
        const Selection *s = *ret_selection;
        if (s && !asked->exec && !setup_check_sections(s->config, error))
                return FALSE;
        LogConfig config = describe_log(m->options, asked->config_json, s);
        config.stand_in = m->stand_in;
        config.errands = m->openings;
        return log_reload(m->log, &config, error);
}

static gboolean
check_disks(const Monitor *m, GError **error)
{
        if (!stand_in_serves(m->stand_in) && errands_pending(m->openings) == 0)
                return TRUE;
        g_clear_error(error);
        return error_set(error, CONMON_ERROR_FAILED,
                         "the disk or server of a file of the log does not answer; try again when it does");
}

gboolean
setup_reload(Monitor *m, GError **error)
{
        const Options *o = m->options;
        g_autoptr(ConfigJson) json = o->bundle ? config_json_new(o->bundle) : NULL;
        SelectionConfig asked = setup_describe_choice(o, json);
        g_autoptr(Selection) selection = NULL;
        if (!check_disks(m, error))
                return FALSE;
        if (!m->openings)
                m->openings = errands_new();
        errands_grant(m->openings, OPENING_USEC);
        if (!reload_log(m, &asked, &selection, error)) {
                (void)check_disks(m, error);
                return FALSE;
        }
        m->endpoints.client = describe_clients(o, selection);
        if (m->endpoints.attach)
                attach_server_set_limits(m->endpoints.attach, &m->endpoints.client);
        return TRUE;
}
