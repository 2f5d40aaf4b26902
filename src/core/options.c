#include "core/options.h"

#include "base/error.h"
#include "build-config.h"
#include "config/key.h"
#include "core/check_config.h"
#include "log/log.h"

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

/* One line an option; texts as `--help` shows them. */
static const struct {
        const char *name;
        char letter;
        bool hidden;
        GOptionArg type;
        size_t offset;
        const char *help;
        const char *value;
} table[] = {
        {"api-version", 0, false, G_OPTION_ARG_NONE, offsetof(Options, api_version),
         "Sync pipe protocol 1: key `data`, exec sends the pid first", NULL},
        {"attach-queue-max", 0, false, G_OPTION_ARG_STRING, offsetof(Options, attach_queue_max),
         "Bytes that may wait for an attached client", "SIZE"},
        {"attach-stall-timeout", 0, false, G_OPTION_ARG_STRING, offsetof(Options, attach_stall_timeout),
         "Time after which a client that came late and takes nothing is disconnected", "DURATION"},
        {"bundle", 'b', false, G_OPTION_ARG_STRING, offsetof(Options, bundle),
         "Directory of the OCI bundle, of attach, ctl and winsz", "DIR"},
        {"check-config", 0, false, G_OPTION_ARG_NONE, offsetof(Options, check_config),
         "Check the configuration, or the files that follow, show what is in force, and leave", NULL},
        {"cid", 'c', false, G_OPTION_ARG_STRING, offsetof(Options, cid),
         "Container id", "ID"},
        {"config", 0, false, G_OPTION_ARG_STRING, offsetof(Options, config),
         "Configuration file to read instead of the usual ones", "FILE"},
        {"conmon-pidfile", 'P', false, G_OPTION_ARG_STRING, offsetof(Options, conmon_pidfile),
         "File that gets the monitor's pid", "FILE"},
        {"container-pidfile", 'p', false, G_OPTION_ARG_STRING, offsetof(Options, container_pidfile),
         "File in which the runtime leaves the container's pid", "FILE"},
        {"pidfile", 0, true, G_OPTION_ARG_STRING, offsetof(Options, container_pidfile),
         "Old name of --container-pidfile", "FILE"},
        {"cuuid", 'u', false, G_OPTION_ARG_STRING, offsetof(Options, cuuid),
         "Name of the symlink in the socket directory", "ID"},
        {"exec", 'e', false, G_OPTION_ARG_NONE, offsetof(Options, exec),
         "Run a process in a running container", NULL},
        {"exec-attach", 0, false, G_OPTION_ARG_NONE, offsetof(Options, exec_attach),
         "Let the caller attach before the process starts", NULL},
        {"exec-process-spec", 0, false, G_OPTION_ARG_STRING, offsetof(Options, exec_process_spec),
         "OCI process document for --exec", "FILE"},
        {"exit-command", 0, false, G_OPTION_ARG_STRING, offsetof(Options, exit_command),
         "Program to run when the container has ended", "PATH"},
        {"exit-command-arg", 0, false, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, exit_command_args),
         "Argument of the exit command (repeatable)", "ARG"},
        {"exit-delay", 0, false, G_OPTION_ARG_INT, offsetof(Options, exit_delay),
         "Seconds to wait before the exit command", "N"},
        {"exit-dir", 0, false, G_OPTION_ARG_STRING, offsetof(Options, exit_dir),
         "Directory that gets a file named after the container with its exit code", "DIR"},
        {"full-attach", 0, false, G_OPTION_ARG_NONE, offsetof(Options, full_attach),
         "Keep the attach socket in the bundle only", NULL},
        {"leave-stdin-open", 0, false, G_OPTION_ARG_NONE, offsetof(Options, leave_stdin_open),
         "Keep the container's stdin open when a client leaves", NULL},
        {"log-allowlist-dir", 0, false, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, log_allowlist_dirs),
         "Directory in which log files may be rotated (repeatable)", "DIR"},
        {"log-driver", 0, false, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, log_drivers),
         "Log driver to add, or `help` (repeatable)", "NAME[:ARG]"},
        {"log-global-size-max", 0, false, G_OPTION_ARG_INT64, offsetof(Options, log_global_size_max),
         "Bytes after which nothing more is logged", "N"},
        {"log-label", 0, false, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, log_labels),
         "Field for each journald entry (repeatable)", "NAME=VALUE"},
        {"log-level", 0, false, G_OPTION_ARG_STRING, offsetof(Options, log_level),
         "Own messages to show: error, warn, info, debug, trace", "LEVEL"},
        {"log-max-files", 0, false, G_OPTION_ARG_INT, offsetof(Options, log_max_files),
         "Old log files to keep with --log-rotate", "N"},
        {"log-opt", 0, false, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, log_opts),
         "Option of a log driver (repeatable)", "[DRIVER.]KEY=VALUE"},
        {"log-path", 'l', false, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, log_paths),
         "Log file, or journald, none, passthrough (repeatable)", "[DRIVER:]PATH"},
        {"log-policy", 0, false, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, log_policies),
         "Setting of the section [policy] of conmon.conf(5) (repeatable)", "KEY=VALUE"},
        {"log-profile", 0, false, G_OPTION_ARG_STRING, offsetof(Options, log_profile),
         "Profile of conmon.conf(5) with log drivers to add", "NAME"},
        {"log-rotate", 0, false, G_OPTION_ARG_NONE, offsetof(Options, log_rotate),
         "Keep old log files instead of emptying the log", NULL},
        {"log-size-max", 0, false, G_OPTION_ARG_INT64, offsetof(Options, log_size_max),
         "Most bytes in one log file", "N"},
        {"log-tag", 0, false, G_OPTION_ARG_STRING, offsetof(Options, log_tag),
         "Tag of the container's journald entries", "TAG"},
        {"name", 'n', false, G_OPTION_ARG_STRING, offsetof(Options, name),
         "Container name", "NAME"},
        {"no-container-partial-message", 0, false, G_OPTION_ARG_NONE,
         offsetof(Options, no_container_partial_message),
         "Leave CONTAINER_PARTIAL_MESSAGE out of journald entries", NULL},
        {"no-new-keyring", 0, false, G_OPTION_ARG_NONE, offsetof(Options, no_new_keyring),
         "Pass --no-new-keyring to the runtime", NULL},
        {"no-pivot", 0, false, G_OPTION_ARG_NONE, offsetof(Options, no_pivot),
         "Pass --no-pivot to the runtime", NULL},
        {"no-sync-log", 0, false, G_OPTION_ARG_NONE, offsetof(Options, no_sync_log),
         "Do not sync the log to disk at the end", NULL},
        {"persist-dir", '0', false, G_OPTION_ARG_STRING, offsetof(Options, persist_dir),
         "Directory that gets the files exit and oom", "DIR"},
        {"replace-listen-pid", 0, false, G_OPTION_ARG_NONE, offsetof(Options, replace_listen_pid),
         "Set LISTEN_PID to the runtime's pid", NULL},
        {"restore", 0, false, G_OPTION_ARG_STRING, offsetof(Options, restore),
         "Restore the container from this checkpoint", "DIR"},
        {"restore-arg", 0, true, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, runtime_opts),
         "Old name of --runtime-opt", "ARG"},
        {"runtime", 'r', false, G_OPTION_ARG_STRING, offsetof(Options, runtime),
         "OCI runtime", "PATH"},
        {"runtime-arg", 0, false, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, runtime_args),
         "Argument for the runtime, before its command (repeatable)", "ARG"},
        {"runtime-opt", 0, false, G_OPTION_ARG_STRING_ARRAY, offsetof(Options, runtime_opts),
         "Argument for the runtime, behind its command (repeatable)", "ARG"},
        {"sdnotify-socket", 0, false, G_OPTION_ARG_STRING, offsetof(Options, sdnotify_socket),
         "Notify socket of the host's service manager", "SOCKET"},
        {"seccomp-notify-plugins", 0, false, G_OPTION_ARG_STRING, offsetof(Options, seccomp_notify_plugins),
         "Plugins that answer seccomp notifications, separated by colons", "PATHS"},
        {"seccomp-notify-socket", 0, false, G_OPTION_ARG_STRING, offsetof(Options, seccomp_notify_socket),
         "Socket on which the runtime hands over a seccomp listener", "SOCKET"},
        {"socket-dir-path", 0, false, G_OPTION_ARG_STRING, offsetof(Options, socket_dir_path),
         "Directory of the symlinks to bundles", "DIR"},
        {"stdin", 'i', false, G_OPTION_ARG_NONE, offsetof(Options, stdin_open),
         "Give the container a stdin", NULL},
        {"sync", 0, false, G_OPTION_ARG_NONE, offsetof(Options, sync),
         "Stay in the foreground", NULL},
        {"syslog", 0, false, G_OPTION_ARG_NONE, offsetof(Options, syslog),
         "Send own messages to syslog, too", NULL},
        {"systemd-cgroup", 's', false, G_OPTION_ARG_NONE, offsetof(Options, systemd_cgroup),
         "Pass --systemd-cgroup to the runtime", NULL},
        {"terminal", 't', false, G_OPTION_ARG_NONE, offsetof(Options, terminal),
         "Give the container a terminal", NULL},
        {"timeout", 'T', false, G_OPTION_ARG_INT, offsetof(Options, timeout),
         "Seconds after which the container is killed", "N"},
        {"version", 0, false, G_OPTION_ARG_NONE, offsetof(Options, version),
         "Print the version and leave", NULL},
};

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

static gboolean
parse(Options *o, int argc, char **argv, GError **error)
{
        bool plain = is_ascii(argv);
        if (!plain)
                (void)setlocale(LC_CTYPE, "");
        GOptionEntry entries[G_N_ELEMENTS(table) + 1] = {0};
        for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
                entries[i] = (GOptionEntry){
                        .long_name = table[i].name,
                        .short_name = table[i].letter,
                        .flags = table[i].hidden ? G_OPTION_FLAG_HIDDEN : G_OPTION_FLAG_NONE,
                        .arg = plain ? plain_type(table[i].type) : table[i].type,
                        .arg_data = (char *)o + table[i].offset,
                        .description = table[i].help,
                        .arg_description = table[i].value,
                };
        g_autoptr(GOptionContext) context = g_option_context_new("- monitor one container");
        g_option_context_set_description(context,
                                         "`--log-driver help` lists the log drivers, among them k8s-file, "
                                         "json-file and journald.\nconmon(8) describes every option.");
        g_option_context_add_main_entries(context, entries, NULL);
        if (!g_option_context_parse(context, &argc, &argv, error))
                return FALSE;
        if (o->check_config)
                o->files = g_strdupv(argv + 1);
        return TRUE;
}

/* Checks whose message has the prefix "conmon: ". */
static gboolean
check_first(const Options *o, GError **error)
{
        if (o->log_max_files < 0)
                return error_set(error, CONMON_ERROR_USAGE, "log-max-files must be non-negative, got %d",
                                 o->log_max_files);
        if (o->log_rotate && o->log_max_files == 0)
                return error_set(error, CONMON_ERROR_USAGE,
                                 "log-max-files must be at least 1 when log-rotate is enabled, got 0");
        if (!o->cid)
                return error_set(error, CONMON_ERROR_USAGE, "Container ID not provided. Use --cid");
        return TRUE;
}

/* The others, in the order and with the texts that callers know. */
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

/* A setting that a configuration file may have too, with the same values. */
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

/* True if the text was asked for and shown. */
static bool
show_log_help(const Options *o, int *ret_status)
{
        for (char **driver = o->log_drivers; driver && *driver; driver++) {
                g_autofree char *text = log_help(*driver);
                if (!text)
                        continue;
                *ret_status = fputs(text, stdout) >= 0 && fflush(stdout) == 0 ? 0 : 1;
                return true;
        }
        return false;
}

bool
options_load(Options *o, int argc, char **argv, int *ret_status)
{
        g_autoptr(GError) error = NULL;
        set_defaults(o);
        *ret_status = 1;
        if (!parse(o, argc, argv, &error)) {
                (void)setlocale(LC_CTYPE, ""); /* the message may quote with characters that are not ASCII */
                g_printerr("conmon: option parsing failed: %s\n", error->message);
                return false;
        }
        if (o->version) {
                printf("conmon version %s\ncommit: %s\n", CONMON_VERSION, CONMON_COMMIT);
                *ret_status = fflush(stdout) == 0 ? 0 : 1;
                return false;
        }
        if (o->check_config) {
                *ret_status = check_config(o);
                return false;
        }
        if (show_log_help(o, ret_status))
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
                &o->attach_queue_max, &o->attach_stall_timeout, &o->bundle, &o->cid, &o->config,
                &o->conmon_pidfile, &o->container_pidfile, &o->cuuid, &o->exec_process_spec,
                &o->exit_command, &o->exit_dir, &o->log_level, &o->log_profile, &o->log_tag, &o->name,
                &o->persist_dir, &o->restore, &o->runtime, &o->sdnotify_socket, &o->seccomp_notify_socket,
                &o->seccomp_notify_plugins, &o->socket_dir_path,
        };
        char ***arrays[] = {
                &o->exit_command_args, &o->files, &o->log_paths, &o->log_drivers, &o->log_opts,
                &o->log_policies, &o->log_labels, &o->log_allowlist_dirs, &o->runtime_args, &o->runtime_opts,
        };
        for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
                g_clear_pointer(strings[i], g_free);
        for (size_t i = 0; i < G_N_ELEMENTS(arrays); i++)
                g_clear_pointer(arrays[i], g_strfreev);
}
