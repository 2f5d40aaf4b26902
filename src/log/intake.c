#include "log/intake.h"

#include "base/error.h"
#include "log/filter.h"
#include "log/rate_limit.h"
#include "log/redact.h"

#include <string.h>

struct LogIntake {
        LogOutlet outlet;
        bool streams[N_STREAMS];
        LogJoiner *joiner; /* these three may be NULL */
        LogFilter *filter;
        LogRedactor *redactor;
        LogRateLimit rate;
        bool only_joins; /* the joiner is there, and nothing else is to be done */
        LogCount *count; /* of the call that goes on */
};

/* "stdout", "stderr", or both with a comma between them. */
static bool
parse_streams(const char *text, bool ret[static N_STREAMS])
{
        g_auto(GStrv) names = g_strsplit(text, ",", -1);
        for (char **name = names; *name; name++) {
                StreamId i = STREAM_STDOUT;
                while (i < N_STREAMS && strcmp(*name, stream_name(i)) != 0)
                        i++;
                if (i == N_STREAMS)
                        return false;
                ret[i] = true;
        }
        return *names;
}

static gboolean
check_streams(const char *driver, const char *text, GError **error)
{
        bool streams[N_STREAMS];
        if (parse_streams(text, streams))
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log driver %s: option streams can't be '%s'; allowed: stdout, stderr, or both with "
                         "a comma",
                         driver, text);
}

const LogOption *
log_intake_options(void)
{
        static const LogOption options[] = {
                {"streams", LOG_OPTION_LIST, "stdout,stderr", "which output is logged",
                 .check = check_streams},
                {"max-record", LOG_OPTION_BINARY_SIZE, NULL,
                 "most bytes of a record; longer lines become several", .min = 64, .max = 1 << 20},
                {"include", LOG_OPTION_STRING, NULL,
                 "log only lines that contain this text, or fit it if there are * in it", .repeats = true},
                {"exclude", LOG_OPTION_STRING, NULL,
                 "log no lines that contain this text, or fit it if there are * in it", .repeats = true},
                {"redact-file", LOG_OPTION_STRING, NULL,
                 "a file of texts, one a line, that are logged as ***"},
                {"rate-limit-burst", LOG_OPTION_INT, "0", "most lines in an interval; 0: no limit",
                 .max = 1000000000},
                {"rate-limit-interval", LOG_OPTION_DURATION, "30s", "the interval", .min = 1000,
                 .max = 24 * G_TIME_SPAN_HOUR},
                {"rate-limit-action", LOG_OPTION_ENUM, "drop", "what happens when the limit is reached",
                 .choices = "drop|block"},
                {NULL},
        };
        return options;
}

static void
make_filter(LogIntake *in, const LogOptions *options)
{
        if (!log_options_has(options, "include") && !log_options_has(options, "exclude"))
                return;
        in->filter = g_new0(LogFilter, 1);
        in->filter->include = log_options_all(options, "include");
        in->filter->exclude = log_options_all(options, "exclude");
}

/* Whoever looks for text is to see whole lines, as far as that is possible. */
static void
make_joiner(LogIntake *in, const LogDriver *driver, const LogOptions *options)
{
        LogJoinerConfig config = {
                .max_record = driver->max_record > 0 ? driver->max_record : LOG_RECORD_MAX,
                .hold = driver->flags & LOG_DRIVER_WHOLE_LINES || in->filter || in->redactor,
                .split_full = (driver->flags & LOG_DRIVER_SPLIT_FULL) != 0,
                .characters = (driver->flags & LOG_DRIVER_UTF8) != 0,
        };
        if (log_options_has(options, "max-record"))
                config.max_record = (size_t)log_options_number(options, "max-record");
        if (config.hold || config.characters || config.max_record != LOG_RECORD_MAX)
                in->joiner = log_joiner_new(&config);
}

static void
on_rate_over(void *data)
{
        LogIntake *in = data;
        log_rate_limit_end(&in->rate);
        in->outlet.rate_over(in->outlet.data);
}

static gboolean
read_options(LogIntake *in, const LogDriver *driver, const LogOptions *options, GError **error)
{
        log_rate_limit_init(&in->rate, log_options_number(options, "rate-limit-burst"),
                            log_options_number(options, "rate-limit-interval"),
                            log_options_number(options, "rate-limit-action") == 1, on_rate_over, in);
        (void)parse_streams(log_options_string(options, "streams"), in->streams);
        const char *secrets = log_options_string(options, "redact-file");
        if (secrets && !(in->redactor = log_redactor_new(secrets, error)))
                return FALSE;
        make_filter(in, options);
        make_joiner(in, driver, options);
        return TRUE;
}

gboolean
log_intake_new(const LogDriver *driver, const LogOptions *options, const LogOutlet *outlet,
               LogIntake **ret_intake, GError **error)
{
        LogIntake *in = g_new0(LogIntake, 1);
        in->outlet = *outlet;
        gboolean ok = read_options(in, driver, options, error);
        bool chooses = in->filter || in->redactor || in->rate.burst > 0 || !in->streams[STREAM_STDOUT] ||
                       !in->streams[STREAM_STDERR];
        in->only_joins = in->joiner && !chooses;
        *ret_intake = ok && (in->joiner || chooses) ? in : NULL;
        if (!*ret_intake)
                log_intake_free(in);
        return ok;
}

void
log_intake_free(LogIntake *in)
{
        if (!in)
                return;
        log_rate_limit_end(&in->rate);
        log_joiner_free(in->joiner);
        log_redactor_free(in->redactor);
        g_free(in->filter);
        g_free(in);
}

static void
pass(const LogRecord *r, void *data)
{
        LogIntake *in = data;
        const LogOutlet *out = &in->outlet;
        in->count->records++;
        in->count->bytes += r->payload;
        bool starts = !(r->flags & LOG_RECORD_CONTINUES);
        if (!in->streams[r->stream] || (in->filter && !log_filter_passes(in->filter, r))) {
                out->refuse(r, false, out->data);
        } else if (in->rate.burst > 0 && starts && !log_rate_limit_take(&in->rate, g_get_monotonic_time())) {
                out->refuse(r, true, out->data);
        } else if (in->redactor) {
                LogRecord redacted = log_redactor_apply(in->redactor, r);
                out->take(&redacted, 1, redacted.payload, out->data);
        } else {
                out->take(r, 1, r->payload, out->data);
        }
}

/* The usual case: whole lines, to be handed on as they are. Returns how many. */
static size_t
pass_whole(LogIntake *in, const LogRecord *records, size_t n)
{
        size_t payload;
        size_t whole = log_joiner_count_whole(in->joiner, records, n, &payload);
        if (whole == 0)
                return 0;
        in->count->records += whole;
        in->count->bytes += payload;
        in->outlet.take(records, whole, payload, in->outlet.data);
        return whole;
}

void
log_intake_push(LogIntake *in, const LogBatch *batch, LogCount *count)
{
        in->count = count;
        for (size_t i = 0; i < batch->n;) {
                size_t whole = in->only_joins ? pass_whole(in, &batch->records[i], batch->n - i) : 0;
                i += whole;
                if (whole > 0)
                        continue;
                if (in->joiner && in->streams[batch->stream])
                        log_joiner_push(in->joiner, &batch->records[i], pass, in);
                else
                        pass(&batch->records[i], in);
                i++;
        }
}

void
log_intake_flush(LogIntake *in, LogCount *count)
{
        in->count = count;
        if (in->joiner)
                log_joiner_flush(in->joiner, pass, in);
}

void
log_intake_release(LogIntake *in)
{
        if (in->joiner)
                log_joiner_release(in->joiner);
        if (in->redactor)
                log_redactor_release(in->redactor);
}

bool
log_intake_has_stream(const LogIntake *in, StreamId stream)
{
        return in->streams[stream];
}

bool
log_intake_is_limited(const LogIntake *in)
{
        return in->rate.limited;
}

bool
log_intake_blocks(const LogIntake *in)
{
        return in->rate.limited && in->rate.block;
}
