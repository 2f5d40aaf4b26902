/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sink/audit.h"

void
log_audit_queue(const LogQueue *q)
{
}

void
log_audit_counts(LogCount in, const LogQueue *q, const LogLosses *losses)
{
}
