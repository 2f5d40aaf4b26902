/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

#include "base/config_json.h"
#include "base/log_request.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Errands Errands;
typedef struct StandIn StandIn;

/* The settings of the monitor's caller. Strings and arrays are borrowed for the call of log_new only;
 * members that may be NULL say so. */
typedef struct LogConfig {
        char **paths;         /* each -l/--log-path as given; may be NULL if there are requests */
        const LogRequests *requests; /* drivers in addition to those of -l, and options; may be NULL */
        char **annotation_sockets; /* that annotations may choose, see log/permission.h; may be NULL */
        const char *cid;      /* never NULL */
        const char *name;     /* may be NULL */
        const char *tag;      /* --log-tag; may be NULL */
        char **labels;        /* each --log-label NAME=VALUE; may be NULL */
        bool no_partial_message; /* --no-container-partial-message */
        int64_t size_max;     /* --log-size-max, bytes; <= 0: no limit */
        int64_t global_max;   /* --log-global-size-max, bytes; <= 0: no limit */
        bool rotate;          /* --log-rotate */
        int max_files;        /* --log-max-files */
        bool sync_at_end;     /* not --no-sync-log */
        const char *bundle;   /* directory of log-status.json; may be NULL */
        ConfigJson *config_json; /* of the bundle; NULL if there is none */
        const char *persist_dir; /* may be NULL */
        StandIn *stand_in;    /* for calls on files that may block, see base/stand_in.h; may be NULL */
        Errands *errands;     /* for files that are opened while the container runs; NULL: that may block */
        bool exec;            /* an exec session: only its own command line applies */
} LogConfig;
