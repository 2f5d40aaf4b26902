/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Removal of terminal control bytes: option strip. Escape sequences are those of ECMA-48, with the 8-bit
 * control characters in UTF-8; carriage returns are removed at the end of lines. */

#include "base/state.h"
#include "log/api/record.h"

typedef struct LogStripper LogStripper;

LogStripper *log_stripper_new(bool cr, bool ansi);
void log_stripper_free(LogStripper *s);

/* Returns the record, or a copy without these bytes, which is valid until the next call. Its payload is
 * unchanged. It may be one byte longer than the record: a carriage return at the end of the previous part
 * of the line. The `*ahead` bytes of the line that follow are stripped, too; *ahead is set to how many
 * remain. */
LogRecord log_stripper_apply(LogStripper *s, const LogRecord *r, size_t *ahead);

/* Gives unused memory back to the kernel. */
void log_stripper_release(LogStripper *s);

/* Live upgrade. */
void log_stripper_save(const LogStripper *s, StateWriter *w);
void log_stripper_restore(LogStripper *s, StateReader *r);
