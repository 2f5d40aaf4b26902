/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/intake.h"

#include "base/error.h"
#include "log/intake/filter.h"
#include "log/intake/rate_limit.h"
#include "log/intake/redact.h"
#include "log/intake/strip.h"

#include <string.h>

/* A record may have this many bytes, even if the driver adds more than max-record leaves. */
#define ROOM_MIN 1000

struct LogIntake {
        LogOutlet outlet;
        bool streams[N_STREAMS];
        LogJoiner *joiner; /* these four may be NULL */
        LogStripper *stripper;
        LogFilter *filter;
        LogRedactor *redactor;
        LogRateLimit rate;
        bool no_blanks;
        size_t own_max;  /* the driver's max-record; 0: an option has set another */
        bool only_joins; /* there is nothing but the joiner */
        LogCount *count; /* of the current call */
};

/* True if the names are those of streams, at least one. */
static bool
parse_streams(const char *const *names, bool ret[static N_STREAMS])
{
        for (const char *const *name = names; *name; name++) {
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
        g_auto(GStrv) names = value_split_list(text);
        if (parse_streams((const char *const *)names, streams))
                return TRUE;
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log driver %s: option streams can't be '%s'; allowed: stdout, stderr or "
                         "stdout,stderr",
                         driver, text);
}

static const char *const strip_words[] = {"cr", "ansi", NULL};

static gboolean
check_strip(const char *driver, const char *text, GError **error)
{
        g_auto(GStrv) words = value_split_list(text);
        char **word = words;
        while (*word && g_strv_contains(strip_words, *word))
                word++;
        return (*words && !*word) ||
               error_set(error, CONMON_ERROR_USAGE,
                         "Log driver %s: option strip can't be '%s'; allowed: cr, ansi or cr,ansi",
                         driver, text);
}

/* The limit of max-record; the queue counts a record with its newline. */
#define MAX_RECORD_MAX (1 << 20)
G_STATIC_ASSERT(LOG_RECORD_MAX <= MAX_RECORD_MAX && MAX_RECORD_MAX < LOG_PAYLOAD_MAX);

#define AT(member) offsetof(LogIntakeOptions, member)

const LogOptionTable *
log_intake_options(void)
{
        static const LogOption options[] = {
                {"streams", {VALUE_LIST}, AT(streams), "stdout,stderr", "which output is logged",
                 .check = LOG_CHECK_FIRST, .annotations = LOG_ANNOTATIONS_ALLOWED},
                {"max-record", {VALUE_BINARY_SIZE, .min = 64, .max = MAX_RECORD_MAX}, AT(max_record), "",
                 "maximum size of a record; longer lines are split",
                 .annotations = LOG_ANNOTATIONS_ALLOWED},
                {"strip", {VALUE_LIST}, AT(strip), "",
                 "what to remove: cr (at the end of lines), ansi (escape sequences), or cr,ansi",
                 .check = LOG_CHECK_SECOND, .annotations = LOG_ANNOTATIONS_ALLOWED},
                {"include", {VALUE_TEXT}, AT(include), "",
                 "log only lines that contain this text, or match it as a pattern with *", .repeats = true,
                 .annotations = LOG_ANNOTATIONS_ALLOWED},
                {"exclude", {VALUE_TEXT}, AT(exclude), "",
                 "don't log lines that contain this text, or match it as a pattern with *", .repeats = true,
                 .annotations = LOG_ANNOTATIONS_ALLOWED},
                {"redact-file", {VALUE_FILE}, AT(redact_file), "",
                 "file with secrets, one per line, which are replaced by ***"},
                {"rate-limit-burst", {VALUE_INT, .max = 1000000000}, AT(rate_limit_burst), "0",
                 "maximum number of lines per interval; 0: no limit",
                 .annotations = LOG_ANNOTATIONS_ALLOWED},
                {"rate-limit-interval", {VALUE_DURATION, .min = 1000, .max = 24 * G_TIME_SPAN_HOUR},
                 AT(rate_limit_interval), "30s", "length of the interval",
                 .annotations = LOG_ANNOTATIONS_ALLOWED},
                {"rate-limit-action", {VALUE_CHOICE, "drop|block"}, AT(rate_limit_action), "drop",
                 "what to do when the limit is reached", .annotations = LOG_ANNOTATIONS_ALLOWED},
                {""},
        };
        static const LogOptionTable table = {options, sizeof(LogIntakeOptions), {check_streams, check_strip}};
        return &table;
}

static void
make_filter(LogIntake *in, const LogIntakeOptions *options)
{
        static const char *const none[] = {NULL};
        if (!options->include && !options->exclude)
                return;
        in->filter = g_new0(LogFilter, 1);
        in->filter->include = options->include ? options->include : none;
        in->filter->exclude = options->exclude ? options->exclude : none;
}

static void pass(const LogRecord *record, size_t ahead, void *data);

/* Filters and redaction search for text, so they get whole lines where possible. */
static void
make_joiner(LogIntake *in, const LogDriver *driver, const LogIntakeOptions *options)
{
        LogJoinerConfig config = {
                .max_record = driver->max_record > 0 ? driver->max_record : LOG_RECORD_MAX,
                .look_ahead = in->redactor ? log_redactor_look_ahead(in->redactor) : 0,
                .hold = driver->flags & LOG_DRIVER_WHOLE_LINES || in->filter || in->redactor,
                .split_full = (driver->flags & LOG_DRIVER_SPLIT_FULL) != 0,
                .characters = (driver->flags & LOG_DRIVER_UTF8) != 0,
                .emit = pass,
                .data = in,
        };
        in->own_max = options->max_record > 0 ? 0 : config.max_record;
        if (options->max_record > 0)
                config.max_record = (size_t)options->max_record;
        if (config.hold || config.characters || config.max_record != LOG_RECORD_MAX)
                in->joiner = log_joiner_new(&config);
}

static void
on_limit_end(void *data)
{
        LogIntake *in = data;
        log_rate_limit_end(&in->rate);
        in->outlet.limit_ended(in->outlet.data);
}

static gboolean
read_options(LogIntake *in, const LogDriver *driver, const LogIntakeOptions *options, Errands *errands,
             GError **error)
{
        log_rate_limit_init(&in->rate, options->rate_limit_burst, options->rate_limit_interval,
                            options->rate_limit_action == 1, on_limit_end, in);
        (void)parse_streams(options->streams, in->streams);
        const char *secrets = options->redact_file;
        if (secrets && !in->redactor && !(in->redactor = log_redactor_new(secrets, errands, error)))
                return FALSE;
        if (options->strip)
                in->stripper = log_stripper_new(g_strv_contains(options->strip, strip_words[0]),
                                                g_strv_contains(options->strip, strip_words[1]));
        make_filter(in, options);
        make_joiner(in, driver, options);
        return TRUE;
}

/* Fills in an intake that is all zero, except that it may have a redactor already. */
static gboolean
make(LogIntake *in, const LogDriver *driver, const LogIntakeOptions *options, const LogOutlet *outlet,
     Errands *errands, LogIntake **ret_intake, GError **error)
{
        in->outlet = *outlet;
        gboolean ok = read_options(in, driver, options, errands, error);
        in->no_blanks = (driver->flags & LOG_DRIVER_NO_BLANKS) != 0;
        bool chooses = in->no_blanks || in->stripper || in->filter || in->redactor || in->rate.burst > 0 ||
                       !in->streams[STREAM_STDOUT] || !in->streams[STREAM_STDERR];
        in->only_joins = in->joiner && !chooses;
        *ret_intake = ok && (in->joiner || chooses) ? in : NULL;
        if (!*ret_intake)
                log_intake_free(in);
        return ok;
}

gboolean
log_intake_new(const LogDriver *driver, const LogIntakeOptions *options, const LogOutlet *outlet,
               Errands *errands, LogIntake **ret_intake, GError **error)
{
        return make(g_new0(LogIntake, 1), driver, options, outlet, errands, ret_intake, error);
}

void
log_intake_save(const LogIntake *in, StateWriter *w)
{
        if (!in)
                return;
        state_begin(w, "intake");
        state_put_uint(w, "redacts", in->redactor != NULL);
        if (in->redactor)
                log_redactor_save(in->redactor, w);
        state_put_uint(w, "joins", in->joiner != NULL);
        if (in->joiner)
                log_joiner_save(in->joiner, w);
        state_put_uint(w, "strips", in->stripper != NULL);
        if (in->stripper)
                log_stripper_save(in->stripper, w);
        log_rate_limit_save(&in->rate, w);
        state_end(w);
}

LogIntake *
log_intake_restore(StateReader *r, const LogDriver *driver, const LogIntakeOptions *options,
                   const LogOutlet *outlet)
{
        LogIntake *in = NULL;
        if (!state_enter_next(r, "intake"))
                return NULL;
        LogIntake *half = g_new0(LogIntake, 1);
        if (state_get_bool(r, "redacts"))
                half->redactor = log_redactor_restore(r);
        if (!make(half, driver, options, outlet, NULL, &in, NULL) || !in) {
                state_fail(r, "There is state of options that %s does not have", driver->name);
                return NULL;
        }
        if (state_get_bool(r, "joins") != (in->joiner != NULL))
                state_fail(r, "Only one of the programs joins lines for %s", driver->name);
        else if (in->joiner)
                log_joiner_restore(in->joiner, r);
        if (state_get_bool(r, "strips") != (in->stripper != NULL))
                state_fail(r, "Only one of the programs strips output for %s", driver->name);
        else if (in->stripper)
                log_stripper_restore(in->stripper, r);
        log_rate_limit_restore(&in->rate, r);
        state_leave(r);
        return in;
}

void
log_intake_decide_again(LogIntake *in, StreamId stream, uint64_t partial_id)
{
        if (in->filter)
                in->filter->passing[stream] = log_joiner_is_within(in->joiner, stream, partial_id);
}

void
log_intake_free(LogIntake *in)
{
        if (!in)
                return;
        log_rate_limit_end(&in->rate);
        log_joiner_free(in->joiner);
        log_stripper_free(in->stripper);
        log_redactor_free(in->redactor);
        g_free(in->filter);
        g_free(in);
}

void
log_intake_leave_room(LogIntake *in, size_t overhead)
{
        overhead += in->stripper != NULL; /* a carriage return at the end of the previous part */
        if (in->joiner && in->own_max > 0)
                log_joiner_set_max(in->joiner,
                                   in->own_max > overhead + ROOM_MIN ? in->own_max - overhead : ROOM_MIN);
}

static bool
passes(const LogIntake *in, const LogRecord *r)
{
        if (!in->streams[r->stream] || (in->filter && !log_filter_passes(in->filter, r)))
                return false;
        return !in->no_blanks || !log_record_is_blank(r);
}

static void
pass(const LogRecord *record, size_t ahead, void *data)
{
        LogIntake *in = data;
        const LogOutlet *out = &in->outlet;
        LogRecord stripped, *r = &stripped;
        log_count_add(in->count, (LogCount){1, record->payload});
        stripped = in->stripper ? log_stripper_apply(in->stripper, record, &ahead) : *record;
        bool starts = !(r->flags & LOG_RECORD_CONTINUES);
        if (!passes(in, r)) {
                out->refuse(r, false, out->data);
        } else if (in->rate.burst > 0 && starts && !log_rate_limit_take(&in->rate, g_get_monotonic_time())) {
                out->refuse(r, true, out->data);
        } else if (in->redactor) {
                LogRecord redacted = log_redactor_apply(in->redactor, r, ahead);
                out->take(&redacted, 1, redacted.payload, out->data);
        } else {
                out->take(r, 1, r->payload, out->data);
        }
}

/* The usual case: whole lines, which are passed on unchanged. Returns how many. */
static size_t
pass_whole(LogIntake *in, const LogRecord *records, size_t n)
{
        size_t payload;
        size_t whole = log_joiner_count_whole(in->joiner, records, n, &payload);
        if (whole == 0)
                return 0;
        log_count_add(in->count, (LogCount){whole, payload});
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
                        log_joiner_push(in->joiner, &batch->records[i]);
                else
                        pass(&batch->records[i], 0, in);
                i++;
        }
}

void
log_intake_take_over(LogIntake *in, LogIntake *old)
{
        for (StreamId i = 0; i < N_STREAMS; i++) {
                if (in->joiner && old->joiner && in->streams[i])
                        log_joiner_take_over(in->joiner, old->joiner, i);
                if (in->filter)
                        in->filter->passing[i] = !old->filter || old->filter->passing[i];
        }
        if (in->redactor && old->redactor)
                log_redactor_take_over(in->redactor, old->redactor);
}

void
log_intake_flush(LogIntake *in, LogCount *count)
{
        in->count = count;
        if (in->joiner)
                log_joiner_flush(in->joiner);
}

void
log_intake_release(LogIntake *in)
{
        if (in->joiner)
                log_joiner_release(in->joiner);
        if (in->stripper)
                log_stripper_release(in->stripper);
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
