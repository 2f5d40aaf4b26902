#pragma once

/* Hiding secrets: option redact-file. Best effort by nature: a secret that is written in two records,
 * or encoded, is not found. */

#include "log/record.h"

#include <glib.h>

typedef struct LogRedactor LogRedactor;

/* Reads the secrets, one a line; empty lines mean nothing. More than 64 KiB, or a NUL byte, is an error. */
LogRedactor *log_redactor_new(const char *path, GError **error);
void log_redactor_free(LogRedactor *r);

/* Returns the record, or a copy in which each secret is replaced by "***"; the copy is
 * valid until the next call. */
LogRecord log_redactor_apply(LogRedactor *r, const LogRecord *record);

/* Memory that is not in use goes back to the kernel. */
void log_redactor_release(LogRedactor *r);
