/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The monitor's own messages. They go to stderr, as `[conmon:X]: text` with X one of e, w, i, d, and with
 * diag_use_syslog also to syslog, without blocking. This file holds the only mutable globals of the
 * program. */

#include <glib.h>
#include <stdbool.h>

typedef enum {
        DIAG_ERROR,
        DIAG_WARNING,
        DIAG_INFO,
        DIAG_DEBUG,
        DIAG_TRACE,
} DiagLevel;

/* Parses the name of a level: panic, fatal, error, warn, warning, info, debug or trace, in any case. Returns
 * false, and does not change *ret_level, if there is no such level. */
bool diag_parse_level(const char *name, DiagLevel *ret_level);

/* Messages up to this level are shown; DIAG_WARNING before the first call. */
void diag_set_level(DiagLevel level);
DiagLevel diag_level(void);

/* From now on messages also go to the local syslog daemon, facility user, marked with the first 20 characters
 * of the container's id, or of "id: tag" if tag is not NULL. */
void diag_use_syslog(const char *cid, const char *tag);

/* Prints one message, which has no newline at its end. Does not change errno. */
void diag_message(DiagLevel level, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The arguments are evaluated only if the message is shown: often one is a strerror, which loads a message
 * catalog. */
#define diag_at(level, ...)                               \
        do {                                              \
                if (diag_level() >= (level))              \
                        diag_message(level, __VA_ARGS__); \
        } while (0)

#define diag_error(...) diag_at(DIAG_ERROR, __VA_ARGS__)
#define diag_warn(...)  diag_at(DIAG_WARNING, __VA_ARGS__)
#define diag_info(...)  diag_at(DIAG_INFO, __VA_ARGS__)
#define diag_debug(...) diag_at(DIAG_DEBUG, __VA_ARGS__)
#define diag_trace(...) diag_at(DIAG_TRACE, __VA_ARGS__)
