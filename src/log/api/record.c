/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/record.h"

#include <glib.h>
#include <stdio.h>

bool
log_record_is_blank(const LogRecord *r)
{
        for (const char *at = r->bytes, *end = at + r->len; at < end; at = g_utf8_next_char(at)) {
                gunichar c = g_utf8_get_char_validated(at, end - at);
                bool control = (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f);
                bool space = g_unichar_isspace(c) && c != 0xa0 && c != 0x2007 && c != 0x202f;
                if (!control && !space)
                        return false;
        }
        return true;
}

char *
log_record_put_partial(const LogRecord *r, char *at)
{
        if (r->ordinal == 0)
                return at;
        return at + sprintf(at,
                            ",\"partial_id\":\"%016" G_GINT64_MODIFIER
                            "x\",\"partial_ordinal\":%u,\"partial_last\":%s",
                            r->partial_id, r->ordinal, log_record_is_last(r) ? "true" : "false");
}
