/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "core/options.h"

#include "base/error.h"
#include "base/fd.h"
#include "build-config.h"
#include "config/key.h"
#include "core/check_config.h"
#include "log/help.h"

#include <errno.h>
#include <locale.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void
set_defaults(Options *o)
{
        *o = (Options){
                .log_size_max = -1,
                .log_global_size_max = -1,
                .log_max_files = 1,
        };
}

typedef enum Group {
        GROUP_CONTAINER,
        GROUP_STREAMS,
        GROUP_LOGGING,
        GROUP_END,
        GROUP_ENGINE,
        GROUPS,
} Group;

static const char *const headings[GROUPS] = {
        [GROUP_CONTAINER] = "Container",       [GROUP_STREAMS] = "Streams and clients",
        [GROUP_LOGGING] = "Logging",           [GROUP_END] = "End of the container",
        [GROUP_ENGINE] = "Engine and monitor",
};

/* Where the help has an option: with a line of its own, only by name, or not at all (old names, which conmon
 * 2 does not show either). --help-all has a line for each. */
typedef enum Place { SHOWN, RARE, OLD } Place;

/* In the order of the help. A callback without a value is one of the help options. "*": may be repeated. */
static const struct {
        Group group;
        Place place;
        const char *name;
        char letter;
        GOptionArg type;
        size_t offset;
        const char *help;
        const char *value;
} table[] = {
        {GROUP_CONTAINER, SHOWN, "cid", 'c', G_OPTION_ARG_STRING, offsetof(Options, cid), "Container id",
         "ID"},
        {GROUP_CONTAINER, SHOWN, "cuuid", 'u', G_OPTION_ARG_STRING, offsetof(Options, cuuid),
         "Name of the link in the socket directory", "ID"},
        {GROUP_CONTAINER, SHOWN, "name", 'n', G_OPTION_ARG_STRING, offsetof(Options, name), "Container name",
         "NAME"},
        {GROUP_CONTAINER, SHOWN, "bundle", 'b', G_OPTION_ARG_STRING, offsetof(Options, bundle),
         "OCI bundle; also has attach, ctl and winsz", "DIR"},
        {GROUP_CONTAINER, SHOWN, "container-pidfile", 'p', G_OPTION_ARG_STRING,
         offsetof(Options, container_pidfile), "File to which the runtime writes the pid", "FILE"},
        {GROUP_CONTAINER, SHOWN, "runtime", 'r', G_OPTION_ARG_STRING, offsetof(Options, runtime),
         "OCI runtime", "PATH"},
        {GROUP_CONTAINER, RARE, "runtime-arg", 0, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, runtime_args),
         "Argument before the runtime's command *", "ARG"},
        {GROUP_CONTAINER, SHOWN, "runtime-opt", 0, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, runtime_opts),
         "Argument after the runtime's command *", "ARG"},
        {GROUP_CONTAINER, SHOWN, "systemd-cgroup", 's', G_OPTION_ARG_NONE, offsetof(Options, systemd_cgroup),
         "Pass --systemd-cgroup to the runtime", NULL},
        {GROUP_CONTAINER, RARE, "no-new-keyring", 0, G_OPTION_ARG_NONE, offsetof(Options, no_new_keyring),
         "Pass --no-new-keyring to the runtime", NULL},
        {GROUP_CONTAINER, RARE, "no-pivot", 0, G_OPTION_ARG_NONE, offsetof(Options, no_pivot),
         "Pass --no-pivot to the runtime", NULL},
        {GROUP_CONTAINER, RARE, "restore", 0, G_OPTION_ARG_STRING, offsetof(Options, restore),
         "Restore the container from this checkpoint", "DIR"},
        {GROUP_CONTAINER, SHOWN, "exec", 'e', G_OPTION_ARG_NONE, offsetof(Options, exec),
         "Run a process in a running container", NULL},
        {GROUP_CONTAINER, SHOWN, "exec-process-spec", 0, G_OPTION_ARG_STRING,
         offsetof(Options, exec_process_spec), "OCI process document for --exec", "FILE"},
        {GROUP_CONTAINER, RARE, "replace-listen-pid", 0, G_OPTION_ARG_NONE,
         offsetof(Options, replace_listen_pid), "Set LISTEN_PID to the runtime's pid", NULL},
        {GROUP_CONTAINER, RARE, "sdnotify-socket", 0, G_OPTION_ARG_STRING, offsetof(Options, sdnotify_socket),
         "Notify socket of the service manager", "SOCKET"},
        {GROUP_CONTAINER, RARE, "seccomp-notify-plugins", 0, G_OPTION_ARG_STRING,
         offsetof(Options, seccomp_notify_plugins), "Seccomp plugins, separated by colons", "PATHS"},
        {GROUP_CONTAINER, RARE, "seccomp-notify-socket", 0, G_OPTION_ARG_STRING,
         offsetof(Options, seccomp_notify_socket), "Socket that receives a seccomp listener", "SOCKET"},
        {GROUP_CONTAINER, OLD, "pidfile", 0, G_OPTION_ARG_STRING, offsetof(Options, container_pidfile),
         "Old name of --container-pidfile", "FILE"},
        {GROUP_CONTAINER, OLD, "restore-arg", 0, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, runtime_opts),
         "Old name of --runtime-opt *", "ARG"},
        {GROUP_STREAMS, SHOWN, "stdin", 'i', G_OPTION_ARG_NONE, offsetof(Options, stdin_open),
         "Give the container a stdin", NULL},
        {GROUP_STREAMS, RARE, "leave-stdin-open", 0, G_OPTION_ARG_NONE, offsetof(Options, leave_stdin_open),
         "Keep stdin open when a client leaves", NULL},
        {GROUP_STREAMS, SHOWN, "terminal", 't', G_OPTION_ARG_NONE, offsetof(Options, terminal),
         "Give the container a terminal", NULL},
        {GROUP_STREAMS, SHOWN, "exec-attach", 0, G_OPTION_ARG_NONE, offsetof(Options, exec_attach),
         "Let the caller attach before --exec starts", NULL},
        {GROUP_STREAMS, SHOWN, "socket-dir-path", 0, G_OPTION_ARG_STRING, offsetof(Options, socket_dir_path),
         "Directory of the links to bundles", "DIR"},
        {GROUP_STREAMS, RARE, "full-attach", 0, G_OPTION_ARG_NONE, offsetof(Options, full_attach),
         "Create no link in the socket directory", NULL},
        {GROUP_STREAMS, RARE, "attach-queue-max", 0, G_OPTION_ARG_STRING, offsetof(Options, attach_queue_max),
         "Maximum queue of a client (default: 1m)", "SIZE"},
        {GROUP_STREAMS, RARE, "attach-stall-timeout", 0, G_OPTION_ARG_STRING,
         offsetof(Options, attach_stall_timeout), "Limit for stalled clients (default: 2s)", "DURATION"},
        {GROUP_LOGGING, SHOWN, "log-path", 'l', G_OPTION_ARG_STRING_ARRAY, offsetof(Options, log_paths),
         "Log file, journald, none or passthrough *", "[DRIVER:]PATH"},
        {GROUP_LOGGING, SHOWN, "log-driver", 0, G_OPTION_ARG_CALLBACK, 0, "Log driver to add, or `help` *",
         "NAME[:ARG]"},
        {GROUP_LOGGING, SHOWN, "log-opt", 0, G_OPTION_ARG_CALLBACK, 0,
         "Option of the preceding driver or of all *", "[DRIVER.]KEY=VALUE"},
        {GROUP_LOGGING, SHOWN, "log-profile", 0, G_OPTION_ARG_STRING, offsetof(Options, log_profile),
         "Profile of conmon.conf(5) to use", "NAME"},
        {GROUP_LOGGING, RARE, "log-policy", 0, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, log_policies),
         "Setting of [policy] of conmon.conf(5) *", "KEY=VALUE"},
        {GROUP_LOGGING, SHOWN, "log-size-max", 0, G_OPTION_ARG_INT64, offsetof(Options, log_size_max),
         "Maximum size of a log file in bytes", "N"},
        {GROUP_LOGGING, SHOWN, "log-global-size-max", 0, G_OPTION_ARG_INT64,
         offsetof(Options, log_global_size_max), "Stop logging after this many bytes", "N"},
        {GROUP_LOGGING, SHOWN, "log-rotate", 0, G_OPTION_ARG_NONE, offsetof(Options, log_rotate),
         "Keep old log files", NULL},
        {GROUP_LOGGING, SHOWN, "log-max-files", 0, G_OPTION_ARG_INT, offsetof(Options, log_max_files),
         "Old log files to keep (default: 1)", "N"},
        {GROUP_LOGGING, SHOWN, "log-tag", 0, G_OPTION_ARG_STRING, offsetof(Options, log_tag),
         "Tag of the log entries", "TAG"},
        {GROUP_LOGGING, RARE, "log-label", 0, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, log_labels),
         "Field to add to each record *", "NAME=VALUE"},
        {GROUP_LOGGING, RARE, "no-container-partial-message", 0, G_OPTION_ARG_NONE,
         offsetof(Options, no_container_partial_message), "Omit this field from journald entries", NULL},
        {GROUP_LOGGING, RARE, "no-sync-log", 0, G_OPTION_ARG_NONE, offsetof(Options, no_sync_log),
         "Do not sync the log to disk at the end", NULL},
        {GROUP_LOGGING, RARE, "log-allowlist-dir", 0, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, unused),
         "Accepted without effect *", "DIR"},
        {GROUP_END, SHOWN, "timeout", 'T', G_OPTION_ARG_INT, offsetof(Options, timeout),
         "Kill the container after N seconds", "N"},
        {GROUP_END, SHOWN, "exit-dir", 0, G_OPTION_ARG_STRING, offsetof(Options, exit_dir),
         "Directory for the exit file", "DIR"},
        {GROUP_END, SHOWN, "persist-dir", '0', G_OPTION_ARG_STRING, offsetof(Options, persist_dir),
         "Directory for the files exit and oom", "DIR"},
        {GROUP_END, SHOWN, "exit-command", 0, G_OPTION_ARG_STRING, offsetof(Options, exit_command),
         "Program to run after the container's end", "PATH"},
        {GROUP_END, SHOWN, "exit-command-arg", 0, G_OPTION_ARG_STRING_ARRAY,
         offsetof(Options, exit_command_args), "Argument of the exit command *", "ARG"},
        {GROUP_END, RARE, "exit-delay", 0, G_OPTION_ARG_INT, offsetof(Options, exit_delay),
         "Seconds to wait before the exit command", "N"},
        {GROUP_ENGINE, SHOWN, "api-version", 0, G_OPTION_ARG_NONE, offsetof(Options, api_version),
         "Use version 1 of the sync pipe protocol", NULL},
        {GROUP_ENGINE, SHOWN, "conmon-pidfile", 'P', G_OPTION_ARG_STRING, offsetof(Options, conmon_pidfile),
         "File to which the monitor writes its pid", "FILE"},
        {GROUP_ENGINE, SHOWN, "sync", 0, G_OPTION_ARG_NONE, offsetof(Options, sync), "Stay in the foreground",
         NULL},
        {GROUP_ENGINE, SHOWN, "config", 0, G_OPTION_ARG_STRING, offsetof(Options, config),
         "Configuration file, instead of the default", "FILE"},
        {GROUP_ENGINE, SHOWN, "check-config", 0, G_OPTION_ARG_NONE, offsetof(Options, check_config),
         "Check and show the configuration, and exit", NULL},
        {GROUP_ENGINE, SHOWN, "log-level", 0, G_OPTION_ARG_STRING, offsetof(Options, log_level),
         "error, warn (default), info, debug, trace", "LEVEL"},
        {GROUP_ENGINE, SHOWN, "syslog", 0, G_OPTION_ARG_NONE, offsetof(Options, syslog),
         "Send own messages to syslog as well", NULL},
        {GROUP_ENGINE, SHOWN, "version", 0, G_OPTION_ARG_NONE, offsetof(Options, version),
         "Print the version and exit", NULL},
        {GROUP_ENGINE, SHOWN, "help", 'h', G_OPTION_ARG_CALLBACK, 0, "Print this list and exit", NULL},
        {GROUP_ENGINE, SHOWN, "help-all", 0, G_OPTION_ARG_CALLBACK, 0, "Print all options and exit", NULL},
        {GROUP_ENGINE, OLD, "?", '?', G_OPTION_ARG_CALLBACK, 0, "Same as --help", NULL},
};

/* --log-driver and --log-opt share a function because their order matters. */
static gboolean
take_log_option(const char *name, const char *value, void *data, GError **error)
{
        Options *o = data;
        if (!o->log_requests)
                o->log_requests = log_requests_new();
        if (strcmp(name, "--log-opt") == 0)
                return log_requests_add_option(o->log_requests, value, error);
        (void)log_requests_add(o->log_requests, value, LOG_SOURCE_COMMAND_LINE, NULL);
        return TRUE;
}

static bool
is_ascii(char **argv)
{
        for (; *argv; argv++)
                if (!g_str_is_ascii(*argv))
                        return false;
        return true;
}

/* Strings are converted from the caller's charset, which has to be looked up in several files, and are
 * refused if they are not valid there. Neither matters to ASCII: GLib takes file names as they are. */
static GOptionArg
plain_type(GOptionArg type)
{
        if (type == G_OPTION_ARG_STRING)
                return G_OPTION_ARG_FILENAME;
        return type == G_OPTION_ARG_STRING_ARRAY ? G_OPTION_ARG_FILENAME_ARRAY : type;
}

/* Once help is requested, errors in what follows don't matter. */
static gboolean
take_help_option(const char *name, const char *value, void *data, GError **error)
{
        Options *o = data;
        if (o->help == OPTIONS_HELP_NONE)
                o->help = strcmp(name, "--help-all") == 0 ? OPTIONS_HELP_ALL : OPTIONS_HELP_SHORT;
        return TRUE;
}

static void
describe_option(GString *text, size_t i)
{
        g_autofree char *letter = table[i].letter ? g_strdup_printf("-%c,", table[i].letter) : NULL;
        g_autofree char *name = table[i].value ? g_strdup_printf("--%s=%s", table[i].name, table[i].value)
                                               : g_strdup_printf("--%s", table[i].name);
        g_string_append_printf(text, "  %-3s %-31s %s\n", letter ? letter : "", name, table[i].help);
}

/* The names of the options that have no line of their own. */
static void
list_rare_options(GString *text)
{
        gsize column = 0;
        g_string_append(text, "\nMore options, described by --help-all and conmon(8):");
        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                if (table[i].place != RARE)
                        continue;
                gsize width = strlen(table[i].name) + strlen(" --");
                if (column == 0 || column + width > 79) {
                        g_string_append(text, "\n ");
                        column = 1;
                }
                g_string_append_printf(text, " --%s", table[i].name);
                column += width;
        }
        g_string_append_c(text, '\n');
}

/* Returns the exit status. */
static int
show_help(OptionsHelp help)
{
        g_autoptr(GString) text = g_string_new("Usage: conmon [OPTION...] - monitor one container\n");
        for (Group group = 0; group < GROUPS; group++) {
                g_string_append_printf(text, "\n%s:\n", headings[group]);
                for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
                        if (table[i].group == group && (help == OPTIONS_HELP_ALL || table[i].place == SHOWN))
                                describe_option(text, i);
        }
        if (help != OPTIONS_HELP_ALL)
                list_rare_options(text);
        g_string_append(text,
                        "\n*: may be repeated. `--log-driver help` lists the log drivers, such as k8s-file,\n"
                        "json-file and journald; `--log-driver NAME:help` lists the options of one.\n");
        return fputs(text->str, stdout) >= 0 && fflush(stdout) == 0 ? 0 : 1;
}

static void
make_entries(Options *o, bool plain, GOptionEntry *entries)
{
        /* GLib has one member for data and functions. */
        const union {
                GOptionArgFunc func;
                void *data;
        } log_option = {.func = take_log_option}, help_option = {.func = take_help_option};
        for (size_t i = 0; i < G_N_ELEMENTS(table); i++) {
                bool callback = table[i].type == G_OPTION_ARG_CALLBACK;
                int flags = callback && plain ? G_OPTION_FLAG_FILENAME : G_OPTION_FLAG_NONE;
                if (callback && !table[i].value)
                        flags = G_OPTION_FLAG_NO_ARG;
                void *callback_data = table[i].value ? log_option.data : help_option.data;
                entries[i] = (GOptionEntry){
                        .long_name = table[i].name,
                        .short_name = table[i].letter,
                        .flags = flags,
                        .arg = plain ? plain_type(table[i].type) : table[i].type,
                        .arg_data = callback ? callback_data : (char *)o + table[i].offset,
                };
        }
}

static gboolean
parse(Options *o, bool ignore_unknown, int argc, char **argv, GError **error)
{
        GOptionEntry entries[G_N_ELEMENTS(table) + 1] = {0};
        bool plain = is_ascii(argv);
        if (!plain)
                (void)setlocale(LC_CTYPE, "");
        make_entries(o, plain, entries);
        g_autoptr(GOptionContext) context = g_option_context_new(NULL);
        g_option_context_set_help_enabled(context, FALSE);
        GOptionGroup *group = g_option_group_new(NULL, NULL, NULL, o, NULL);
        g_option_group_add_entries(group, entries);
        g_option_context_set_main_group(context, group);
        g_option_context_set_ignore_unknown_options(context, ignore_unknown);
        if (!g_option_context_parse(context, &argc, &argv, error))
                return FALSE;
        if (o->log_requests)
                log_requests_share(o->log_requests);
        char *one[] = {o->config, NULL};
        if (o->check_config && argc > 1)
                o->files = g_strdupv(argv + 1);
        else if (o->config)
                o->files = g_strdupv(one);
        return TRUE;
}

/* Checks whose message has the prefix "conmon: ". */
static gboolean
check_files(const Options *o, GError **error)
{
        if (o->log_max_files < 0)
                return error_set(error, CONMON_ERROR_USAGE, "log-max-files must be non-negative, got %d",
                                 o->log_max_files);
        if (o->log_rotate && o->log_max_files == 0)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "log-max-files must be at least 1 when log-rotate is enabled, got 0");
        return TRUE;
}

static gboolean
check_first(const Options *o, GError **error)
{
        if (!check_files(o, error))
                return FALSE;
        if (!o->cid)
                return error_set(error, CONMON_ERROR_USAGE, "Container ID not provided. Use --cid");
        return TRUE;
}

/* The other checks, in the order and with the messages that callers know. */
static gboolean
check_second(const Options *o, GError **error)
{
        bool legacy_exec = o->exec && !o->api_version;
        const char *text = NULL;
        if (o->exec && o->restore)
                text = "Cannot use 'exec' and 'restore' at the same time";
        else if (o->exec_attach && !o->exec)
                text = "Attach can only be specified with exec";
        else if (o->exec_attach && !o->api_version)
                text = "Attach can only be specified for a non-legacy exec session";
        else if (!o->cuuid && !legacy_exec)
                text = "Container UUID not provided. Use --cuuid";
        else if (!o->runtime)
                text = "Runtime path not provided. Use --runtime";
        if (text)
                return error_set(error, CONMON_ERROR_USAGE, "%s", text);

        if (access(o->runtime, X_OK) < 0)
                return error_set(error, CONMON_ERROR_USAGE, "Runtime path %s is not valid %s", o->runtime,
                                 strerror(errno));
        if (o->exec && !o->exec_process_spec)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Exec process spec path not provided. Use --exec-process-spec");
        if (o->exit_delay < 0)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Delay before invoking exit command must be greater than or equal to 0");
        return TRUE;
}

/* Checks a setting that also exists in configuration files, with the same values. */
static gboolean
check_setting(const char *option, const char *section, const char *key, const char *value, GError **error)
{
        if (!value || config_key_check(config_key_find(section, key), value, error))
                return TRUE;
        g_prefix_error(error, "%s: ", option);
        return FALSE;
}

static gboolean
check_settings(const Options *o, GError **error)
{
        return check_setting("--attach-queue-max", "attach", "queue-max", o->attach_queue_max, error) &&
               check_setting("--attach-stall-timeout", "attach", "stall-timeout", o->attach_stall_timeout,
                             error);
}

static gboolean
check_level(const Options *o, GError **error)
{
        DiagLevel level = DIAG_WARNING;
        if (o->log_level && !diag_parse_level(o->log_level, &level))
                return error_set(error, CONMON_ERROR_USAGE, "No such log level %s", o->log_level);
        diag_set_level(level);
        if (o->syslog)
                diag_use_syslog(o->cid, o->log_tag);
        return TRUE;
}

static gboolean
fill_in(Options *o, GError **error)
{
        bool need_bundle = !o->bundle && !o->exec;
        g_autofree char *cwd = need_bundle || !o->container_pidfile ? getcwd(NULL, 0) : NULL;
        if (!cwd && (need_bundle || !o->container_pidfile))
                return error_set_errno(error, errno, "Failed to get working directory");
        if (need_bundle)
                o->bundle = g_strdup(cwd);
        if (!o->container_pidfile)
                o->container_pidfile = g_strdup_printf("%s/pidfile-%s", cwd, o->cid);
        if (!o->socket_dir_path)
                o->socket_dir_path = g_strdup("/var/run/crio");
        return TRUE;
}

/* True if the text was requested; then *ret_status is that of the program. */
static bool
show_log_help(const Options *o, int *ret_status)
{
        for (guint i = 0; o->log_requests && i < o->log_requests->list->len; i++) {
                const LogRequest *request = o->log_requests->list->pdata[i];
                g_autofree char *text = log_help(request->driver, request->arg);
                if (!text)
                        continue;
                *ret_status = fputs(text, stdout) >= 0 && fflush(stdout) == 0 ? 0 : 1;
                return true;
        }
        return false;
}

/* The same for all options that only show something. */
static bool
show(const Options *o, int *ret_status)
{
        g_autoptr(GError) error = NULL;
        if (o->version) {
                printf("conmon version %s\ncommit: %s\n", CONMON_VERSION, CONMON_COMMIT);
                *ret_status = fflush(stdout) == 0 ? 0 : 1;
                return true;
        }
        if (!o->check_config)
                return show_log_help(o, ret_status);
        if (check_files(o, &error) && check_level(o, &error) && check_settings(o, &error))
                *ret_status = check_config_run(o);
        else
                g_printerr("conmon: %s\n", error->message);
        return true;
}

gboolean
options_parse(Options *o, int argc, char **argv, GError **error)
{
        set_defaults(o);
        return parse(o, true, argc, argv, error);
}

bool
options_load(Options *o, int argc, char **argv, int *ret_status)
{
        g_autoptr(GError) error = NULL;
        set_defaults(o);
        *ret_status = 1;
        bool parsed = parse(o, false, argc, argv, &error);
        if (o->help != OPTIONS_HELP_NONE) {
                *ret_status = show_help(o->help);
                return false;
        }
        if (!parsed) {
                (void)setlocale(LC_CTYPE, ""); /* the message may quote with characters that are not ASCII */
                g_printerr("conmon: option parsing failed: %s\n", error->message);
                return false;
        }
        if (show(o, ret_status))
                return false;
        if (!check_first(o, &error)) {
                g_printerr("conmon: %s\n", error->message);
                return false;
        }
        if (!check_level(o, &error) || !check_second(o, &error) || !check_settings(o, &error) ||
            !fill_in(o, &error)) {
                diag_error("%s", error->message);
                return false;
        }
        *ret_status = 0;
        return true;
}

void
options_clear(Options *o)
{
        char **strings[] = {
                &o->attach_queue_max,
                &o->attach_stall_timeout,
                &o->bundle,
                &o->cid,
                &o->config,
                &o->conmon_pidfile,
                &o->container_pidfile,
                &o->cuuid,
                &o->exec_process_spec,
                &o->exit_command,
                &o->exit_dir,
                &o->log_level,
                &o->log_profile,
                &o->log_tag,
                &o->name,
                &o->persist_dir,
                &o->restore,
                &o->runtime,
                &o->sdnotify_socket,
                &o->seccomp_notify_socket,
                &o->seccomp_notify_plugins,
                &o->socket_dir_path,
        };
        char ***arrays[] = {
                &o->exit_command_args, &o->files,  &o->log_paths,    &o->log_policies,
                &o->log_labels,        &o->unused, &o->runtime_args, &o->runtime_opts,
        };
        g_clear_pointer(&o->log_requests, log_requests_free);
        for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
                g_clear_pointer(strings[i], g_free);
        for (size_t i = 0; i < G_N_ELEMENTS(arrays); i++)
                g_clear_pointer(arrays[i], g_strfreev);
}

/* ---- live upgrade ---- */

/* More than the kernel allows for an argument vector. */
#define COMMAND_LINE_MAX (4 << 20)

char **
options_command_line(void)
{
        g_autofree char *text = NULL;
        size_t len = 0;
        if (fd_read_file("/proc/self/cmdline", COMMAND_LINE_MAX, &text, &len) < 0 || len == 0)
                return NULL;
        GPtrArray *words = g_ptr_array_new();
        for (size_t at = 0; at < len; at += strlen(text + at) + 1)
                g_ptr_array_add(words, g_strdup(text + at));
        g_ptr_array_add(words, NULL);
        return (char **)g_ptr_array_free(words, FALSE);
}

void
options_save(const Options *o, StateWriter *w)
{
        g_auto(GStrv) words = options_command_line();
        if (!words)
                state_refuse(w, "the command line can't be read from /proc/self/cmdline");
        state_put_texts(w, "command-line", words);
        state_put_text(w, "bundle", o->bundle);
        state_put_text(w, "container-pidfile", o->container_pidfile);
        state_put_text(w, "socket-directory", o->socket_dir_path);
}

static void
restore_text(char **text, StateReader *r, const char *name)
{
        g_free(*text);
        *text = state_get_text(r, name);
}

void
options_restore(Options *o, StateReader *r)
{
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) words = state_get_texts(r, "command-line");
        /* Parsing reorders the words. */
        g_autofree char **moved = g_memdup(words, (guint)((g_strv_length(words) + 1) * sizeof *words));
        set_defaults(o);
        if (!words[0])
                state_fail(r, "The command line is empty");
        else if (!parse(o, false, (int)g_strv_length(moved), moved, &error) || !check_first(o, &error) ||
                 !check_level(o, &error))
                state_fail(r, "%s", error->message);
        restore_text(&o->bundle, r, "bundle");
        restore_text(&o->container_pidfile, r, "container-pidfile");
        restore_text(&o->socket_dir_path, r, "socket-directory");
}
