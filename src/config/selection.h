/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Which log drivers a container gets in addition to those of -l, and other settings that the caller did
 * not make. The first of command line, annotations, environment and files that names a driver or a profile
 * is used. */

#include "base/config_json.h"
#include "base/log_request.h"
#include "config/config_file.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The variable with the name of a profile. */
#define SELECTION_PROFILE_VARIABLE "CONMON_LOG_PROFILE"

/* The command line. Borrowed; NULL where nothing was given. */
typedef struct SelectionConfig {
        char **files;        /* read instead of the default locations */
        char **policies;     /* --log-policy KEY=VALUE */
        const char *profile; /* --log-profile */
        const LogRequests *requests; /* --log-driver and --log-opt */
        bool has_path;       /* there is -l; in all that follow: and what it names … */
        bool no_log;         /* is to have no log */
        bool passthrough;    /* takes the output past the monitor */
        bool own_file;       /* is a file that no other program rotates */
        const char *name;    /* of the container */
        const char *cid;     /* never NULL */
        ConfigJson *config_json; /* of the bundle */
        bool exec;
} SelectionConfig;

/* Whether the monitor schedules health checks. */
typedef enum {
        HEALTH_CHECKS_AUTO, /* if the engine has none */
        HEALTH_CHECKS_ON,
        HEALTH_CHECKS_OFF,
} HealthChecks;

typedef struct Selection {
        LogRequests *requests; /* with those of the command line */
        char **sockets; /* that annotations may choose; NULL: none */
        int64_t attach_queue_max; /* bytes; here and below, -1 means not set */
        int64_t attach_stall_usec;
        int64_t size_max; /* bytes in the local log file */
        int64_t global_size_max;
        int max_files; /* how many old ones are kept */
        HealthChecks health_checks;
        bool warn;     /* an error does not prevent the start of the container */
        Config *config; /* the files that were read; NULL: there are none */
} Selection;

/* Sets *ret_selection, to NULL if only the command line has settings. After an error, *ret_selection has
 * the settings of the command line alone, and whether to continue with them. */
gboolean selection_new(const SelectionConfig *config, Selection **ret_selection, GError **error);

/* Placeholders for the ID and the name of any container in paths of selection_of_section. */
#define SELECTION_ANY_ID   "{ID}"
#define SELECTION_ANY_NAME "{NAME}"

/* The drivers of a container for which only this section applies; for checks. */
gboolean selection_of_section(const Config *config, const ConfigSection *section, Selection **ret_selection,
                              GError **error);

void selection_free(Selection *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Selection, selection_free)
