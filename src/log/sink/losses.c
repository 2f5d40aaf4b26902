/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/sink/losses.h"

#include <stdio.h>
#include <string.h>

static const struct {
        const char *name; /* in the status */
        const char *text;
} causes[N_LOG_DROPS] = {
        [LOG_DROP_FULL] = {"queue-full", "queue full"},
        [LOG_DROP_NOT_CONNECTED] = {"not-connected", "not connected"},
        [LOG_DROP_RATE] = {"rate-limit", "rate limit"},
        [LOG_DROP_ENCODE] = {"encoding", "can't be encoded"},
        [LOG_DROP_LIMIT] = {"size-limit", "size limit"},
        [LOG_DROP_REFUSED] = {"refused", "refused"},
        [LOG_DROP_FILTER] = {"filtered", "filtered"},
        [LOG_DROP_END] = {"at-end", "container ended"},
};

const char *
log_losses_name(LogDropCause cause)
{
        return causes[cause].name;
}

bool
log_losses_find(const char *name, LogDropCause *ret)
{
        for (LogDropCause i = 0; i < N_LOG_DROPS; i++)
                if (strcmp(causes[i].name, name) == 0) {
                        *ret = i;
                        return true;
                }
        return false;
}

void
log_losses_add(LogLosses *l, LogDropCause cause, LogCount count)
{
        log_count_add(&l->total[cause], count);
        *(cause == LOG_DROP_REFUSED ? &l->refused : &l->unannounced[cause]) += count.records;
}

void
log_losses_add_all(LogLosses *l, const LogLosses *from)
{
        for (int i = 0; i < N_LOG_DROPS; i++) {
                log_count_add(&l->total[i], from->total[i]);
                l->unannounced[i] += from->unannounced[i];
        }
        l->refused += from->refused;
}

void
log_losses_accepted(LogLosses *l)
{
        l->unannounced[LOG_DROP_REFUSED] += l->refused;
        l->refused = 0;
}

LogCount
log_losses_sum(const LogLosses *l)
{
        LogCount sum = {0};
        for (int i = 0; i < N_LOG_DROPS; i++)
                log_count_add(&sum, l->total[i]);
        return sum;
}

bool
log_losses_are_due(const LogLosses *l, LogDropCause cause)
{
        return cause <= LOG_DROP_REFUSED && cause != LOG_DROP_LIMIT && l->unannounced[cause] > 0;
}

bool
log_losses_pending(const LogLosses *l)
{
        for (LogDropCause i = 0; i < N_LOG_DROPS; i++)
                if (log_losses_are_due(l, i))
                        return true;
        return false;
}

size_t
log_losses_announce(LogLosses *l, LogDropCause cause, char *text)
{
        uint64_t n = l->unannounced[cause];
        l->unannounced[cause] = 0;
        int len = snprintf(text, LOG_LOSSES_TEXT_SIZE, "conmon: %" G_GUINT64_FORMAT " record%s dropped: %s\n",
                           n, n == 1 ? "" : "s", causes[cause].text);
        return (size_t)len - 1;
}

void
log_count_status(const char *name, LogCount count, GString *json)
{
        g_string_append_printf(json,
                               "\"%s\":{\"records\":%" G_GUINT64_FORMAT ",\"bytes\":%" G_GUINT64_FORMAT "}",
                               name, count.records, count.bytes);
}

void
log_losses_status(const LogLosses *l, GString *json)
{
        g_string_append(json, "\"dropped\":{");
        for (int i = 0; i < N_LOG_DROPS; i++) {
                if (i > 0)
                        g_string_append_c(json, ',');
                log_count_status(causes[i].name, l->total[i], json);
        }
        g_string_append_c(json, '}');
}

void
log_losses_save(const LogLosses *l, StateWriter *w)
{
        for (int i = 0; i < N_LOG_DROPS; i++) {
                state_begin(w, causes[i].name);
                uint64_t refused = i == LOG_DROP_REFUSED ? l->refused : 0;
                log_count_save(l->total[i], w, "total");
                state_put_uint(w, "unannounced", l->unannounced[i] + refused);
                state_end(w);
        }
}

/* An older state does not have newer causes. */
void
log_losses_restore(LogLosses *l, StateReader *r)
{
        for (int i = 0; i < N_LOG_DROPS; i++) {
                if (!state_enter_next(r, causes[i].name))
                        continue;
                l->total[i] = log_count_restore(r, "total");
                l->unannounced[i] = state_get_uint(r, "unannounced", UINT64_MAX);
                state_leave(r);
        }
        l->refused = l->unannounced[LOG_DROP_REFUSED];
        l->unannounced[LOG_DROP_REFUSED] = 0;
}
