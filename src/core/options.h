/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The command line. */

#include "base/diag.h"
#include "base/log_request.h"
#include "base/state.h"

#include <glib.h>
#include <stdbool.h>

typedef enum OptionsHelp { OPTIONS_HELP_NONE, OPTIONS_HELP_SHORT, OPTIONS_HELP_ALL } OptionsHelp;

/* All options, named as on the command line; conmon(8) describes them. Strings and arrays are NULL if the
 * option was not given. */
typedef struct Options {
        gboolean api_version; /* false: the oldest protocol of the sync pipe */
        char *attach_queue_max;
        char *attach_stall_timeout;
        char *bundle; /* the working directory if not given; NULL for exec without it */
        gboolean check_config;
        char *cid;
        char *config;
        char *conmon_pidfile;
        char *container_pidfile; /* never NULL */
        char *cuuid;
        gboolean exec;
        gboolean exec_attach;
        char *exec_process_spec;
        char *exit_command;
        char **exit_command_args;
        int exit_delay; /* seconds */
        char *exit_dir;
        gboolean full_attach;
        OptionsHelp help;
        gboolean leave_stdin_open;
        char *log_level;
        char **log_paths;
        LogRequests *log_requests; /* --log-driver and --log-opt; NULL: there are none */
        char **log_policies;
        char *log_profile;
        gint64 log_size_max;
        gint64 log_global_size_max;
        char *log_tag;
        char **log_labels;
        gboolean log_rotate;
        int log_max_files;
        gboolean no_container_partial_message;
        char *name;
        gboolean no_new_keyring;
        gboolean no_pivot;
        gboolean no_sync_log;
        char *persist_dir;
        gboolean replace_listen_pid;
        char *restore;
        char *runtime;
        char **runtime_args;
        char **runtime_opts;
        char *sdnotify_socket;
        char *seccomp_notify_socket;
        char *seccomp_notify_plugins;
        char *socket_dir_path; /* never NULL */
        gboolean stdin_open;
        gboolean sync;
        gboolean syslog;
        gboolean systemd_cgroup;
        gboolean terminal;
        int timeout; /* seconds */
        gboolean version;
        char **files; /* of --config, or what follows --check-config; NULL: the default ones */
        char **unused; /* the values of options without effect */
} Options;

/* Parses and checks the command line and sets up the monitor's own messages (level, syslog). Returns true if
 * the monitor is to start. Otherwise everything has been printed (version, help, or the error on stderr) and
 * *ret_status is the exit status. */
bool options_load(Options *o, int argc, char **argv, int *ret_status);

/* Parses the command line of another monitor, of any version: nothing is checked or filled in, and unknown
 * options are ignored. Reorders argv. Finish with options_clear, also after a failure. */
gboolean options_parse(Options *o, int argc, char **argv, GError **error);

/* The command line of this process, as in /proc; NULL if it can't be read. The caller frees it with
 * g_strfreev. */
char **options_command_line(void);

/* Live upgrade: the command line and the values that were filled in. options_restore also sets up the
 * monitor's own messages. */
void options_save(const Options *o, StateWriter *w);
void options_restore(Options *o, StateReader *r);

/* Frees what *o holds. */
void options_clear(Options *o);
