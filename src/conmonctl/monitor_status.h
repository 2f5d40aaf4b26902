/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The contents of log-status.json; see conmon(8). */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct RecordCount {
        uint64_t records;
        uint64_t bytes;
} RecordCount;

typedef struct DropCount {
        char *cause;
        RecordCount count;
} DropCount;

/* A member that has no field of its own, with a path such as "connection.state". */
typedef struct StatusMember {
        char *path;
        char *value;
} StatusMember;

typedef struct SinkStatus {
        char *driver;
        char *name;   /* distinguishes sinks with the same driver; may be NULL */
        char *target; /* may be empty, never NULL */
        char *state;
        RecordCount in;
        RecordCount out;
        RecordCount queued;
        RecordCount dropped; /* of all causes */
        GArray *drops;       /* of DropCount */
        uint64_t queue_bytes;
        uint64_t queue_max;
        uint64_t errors;
        char *last_error; /* NULL: there was none */
        GArray *others;   /* of StatusMember */
} SinkStatus;

typedef struct MonitorStatus {
        char *cid;
        bool ended;
        GPtrArray *sinks; /* of SinkStatus */
        GArray *others;   /* of StatusMember */
        char *text;       /* the document */
} MonitorStatus;

/* Parses the document. Returns NULL if it is invalid. */
MonitorStatus *monitor_status_parse(const char *text, size_t len, GError **error);

/* NULL is allowed. */
void monitor_status_free(MonitorStatus *s);

/* Returns what all sinks have dropped together, except for what filters removed. */
RecordCount monitor_status_dropped(const MonitorStatus *s);

/* Returns the largest number of records that a sink got: each gets all of them. */
uint64_t monitor_status_records(const MonitorStatus *s);

/* The value of a member; NULL if there is none. Borrowed. */
const char *monitor_status_member(const GArray *members, const char *path);
