/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The severity of lines, for formats that have one: options priority-stdout, priority-stderr and
 * parse-prefix. The numbers are syslog's, from 0 for emergencies to 7 for debugging (RFC 5424, 6.2.1). */

#include "base/state.h"
#include "log/api/option.h"
#include "log/api/record.h"

typedef struct LogSeverityOptions {
        int64_t of_stdout;
        int64_t of_stderr;
        bool parse_prefix;
} LogSeverityOptions;

/* The options, for the tables of drivers; `member` of the struct `type` is a LogSeverityOptions, `parse` the
 * default of parse-prefix. */
#define LOG_SEVERITY_OPTIONS(type, member, parse)                                                            \
        {"priority-stdout", {VALUE_INT, .max = 7}, offsetof(type, member.of_stdout), "6",                    \
         "severity of records from stdout", .annotations = LOG_ANNOTATIONS_ALLOWED},                         \
                {"priority-stderr", {VALUE_INT, .max = 7}, offsetof(type, member.of_stderr), "3",            \
                 "severity of records from stderr", .annotations = LOG_ANNOTATIONS_ALLOWED},                 \
        {                                                                                                    \
                "parse-prefix", {VALUE_BOOL}, offsetof(type, member.parse_prefix), parse,                    \
                        "whether <0> to <7> at the start of a line sets its severity",                       \
                        .annotations = LOG_ANNOTATIONS_ALLOWED                                               \
        }

typedef struct LogSeverity {
        bool parse_prefix;
        uint8_t usual[N_STREAMS]; /* of lines without a prefix */
        uint8_t line[N_STREAMS];  /* of the current line */
} LogSeverity;

void log_severity_init(LogSeverity *s, const LogSeverityOptions *o);

/* The part of log_severity_take for lines with prefixes. Removes the prefix; returns the severity. */
int log_severity_parse(LogSeverity *s, LogRecord *r);

/* Sets the severity of a record, from 0 to 7. Returns the record, or if severity prefixes are parsed, *copy
 * without the prefix, which stays in the count of the container's bytes. The first part of a line applies to
 * the others. To be called once for each record, in order; again for one that did not fit. */
static inline const LogRecord *
log_severity_take(LogSeverity *s, const LogRecord *r, LogRecord *copy, int *ret_severity)
{
        if (!s->parse_prefix) {
                *ret_severity = s->usual[r->stream];
                return r;
        }
        *copy = *r;
        *ret_severity = log_severity_parse(s, copy);
        return copy;
}

/* Live upgrade. */
void log_severity_save(const LogSeverity *s, StateWriter *w);
void log_severity_restore(LogSeverity *s, StateReader *r);
