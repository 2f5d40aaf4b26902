#include "log/losses.h"

#include <stdio.h>

static const struct {
        const char *name; /* in the status */
        const char *text;
} causes[N_LOG_DROPS] = {
        [LOG_DROP_FULL] = {"queue-full", "queue full"},
        [LOG_DROP_RATE] = {"rate-limit", "rate limit"},
        [LOG_DROP_ENCODE] = {"encoding", "can't be encoded"},
        [LOG_DROP_LIMIT] = {"size-limit", "size limit"},
        [LOG_DROP_FILTER] = {"filtered", "filtered"},
        [LOG_DROP_END] = {"at-end", "container ended"},
};

void
log_losses_add(LogLosses *l, LogDropCause cause, LogCount count)
{
        l->total[cause].records += count.records;
        l->total[cause].bytes += count.bytes;
        l->unannounced[cause] += count.records;
}

bool
log_losses_pending(const LogLosses *l)
{
        for (int i = 0; i < N_LOG_DROPS_ANNOUNCED; i++)
                if (l->unannounced[i] > 0)
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
