/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Redaction of secrets: option redact-file. Best effort: an encoded secret, or one that spans two lines, is
 * not found. */

#include "base/errands.h"
#include "base/state.h"
#include "log/api/record.h"

#include <glib.h>

typedef struct LogRedactor LogRedactor;

/* Reads the secrets, one per line; empty lines are ignored. More than 64 KiB, or a NUL byte, is an error.
 * `errands` may be NULL: then a slow disk blocks. */
LogRedactor *log_redactor_new(const char *path, Errands *errands, GError **error);
void log_redactor_free(LogRedactor *r);

/* Live upgrade, including the secrets, whose file may have changed. */
void log_redactor_save(const LogRedactor *r, StateWriter *w);
LogRedactor *log_redactor_restore(StateReader *state);

/* How many of the bytes after a record must be known to find all secrets in it: one less than the length of
 * the longest secret. */
size_t log_redactor_look_ahead(const LogRedactor *r);

/* Returns the record, or a copy in which each secret, or group of overlapping ones, is replaced by "***". The
 * copy is valid until the next call. The record's bytes are followed by `ahead` more of its line. If a secret
 * continues in them, the next records hide the rest of it. */
LogRecord log_redactor_apply(LogRedactor *r, const LogRecord *record, size_t ahead);

/* Hides the rest of the secrets that another redactor, which r replaces, has begun to hide. */
void log_redactor_take_over(LogRedactor *r, const LogRedactor *old);

/* Gives unused memory back to the kernel. */
void log_redactor_release(LogRedactor *r);
