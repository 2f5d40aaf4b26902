#pragma once

/* Which log drivers a container gets beside those of -l, and other settings that a caller left open. Of
 * command line, annotations, environment and files, the first that names a driver or a profile counts. */

#include "config/policy.h"

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* The variable with the name of a profile. */
#define SELECTION_PROFILE_VARIABLE "CONMON_LOG_PROFILE"

/* What the command line says. Borrowed; NULL where it says nothing. */
typedef struct SelectionConfig {
        const char *file;    /* --config: read instead of the usual places */
        char **policies;     /* --log-policy KEY=VALUE */
        const char *profile; /* --log-profile */
        char **paths;        /* -l */
        char **drivers;      /* --log-driver */
        char **options;      /* --log-opt */
        const char *name;    /* of the container */
        const char *cid;     /* never NULL */
        const char *bundle;
        bool exec;
} SelectionConfig;

/* The arrays of texts end with NULL, which their length counts. An origin says where the driver or option
 * with the same index is from, for messages; "" is the command line. */
typedef struct Selection {
        GPtrArray *drivers; /* with those of the command line */
        GPtrArray *driver_origins;
        GPtrArray *options; /* "[DRIVER.]KEY=VALUE", those that count more behind the others */
        GPtrArray *option_origins;
        int64_t attach_queue_max; /* bytes; in all that follow, -1 means that nothing was said */
        int64_t attach_stall_usec;
        int64_t size_max; /* bytes in the local log file */
        int64_t global_size_max;
        int max_files; /* how many old ones are kept */
        bool warn;     /* an error does not keep the container from starting */
        Config *config; /* what was read from files; NULL: there are none */
} Selection;

/* Makes *ret_selection, or NULL if no source but the command line says anything. After an error
 * *ret_selection is the command line's own share, and tells whether to go on with that. */
gboolean selection_new(const SelectionConfig *config, Selection **ret_selection, GError **error);

/* What a container gets of which this section alone decides; for checks. */
gboolean selection_of_section(const Config *config, const ConfigSection *section, Selection **ret_selection,
                              GError **error);

void selection_free(Selection *s);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Selection, selection_free)
