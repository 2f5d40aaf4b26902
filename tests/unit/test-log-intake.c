/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/intake/filter.h"
#include "log/intake/intake.h"
#include "log/intake/rate_limit.h"
#include "log/intake/redact.h"
#include "log/sink/sink.h"
#include "log/split.h"
#include "tempdir.h"

#include <glib.h>
#include <string.h>

/* The resulting records: "stream flags ordinal [content]". */
static GString *seen;
static int n_over;

static void
take_one(const LogRecord *r)
{
        char flags[4] = {r->flags & LOG_RECORD_PARTIAL ? 'P' : '-',
                         r->flags & LOG_RECORD_CONTINUES ? 'C' : '-',
                         r->flags & LOG_RECORD_ENDS     ? 'E'
                         : r->flags & LOG_RECORD_PAUSED ? 'W'
                                                        : '-', '\0'};
        g_string_append_printf(seen, "%s%s%u[%.*s]", r->stream == STREAM_STDERR ? "err" : "", flags,
                               r->ordinal, (int)r->len, r->bytes);
        g_assert_cmpint(r->partial_id != 0, ==, r->ordinal != 0);
        if (!(r->flags & LOG_RECORD_PARTIAL))
                g_assert_cmpint(r->bytes[r->len], ==, '\n');
}

static void
take(const LogRecord *records, size_t n, size_t payload, void *data)
{
        for (size_t i = 0; i < n; i++, payload -= records[i - 1].payload)
                take_one(&records[i]);
        g_assert_cmpuint(payload, ==, 0);
}

static void
refuse(const LogRecord *r, bool limited, void *data)
{
        g_string_append_printf(seen, "%s(%.*s)", limited ? "limit" : "", (int)r->len, r->bytes);
}

static void
rate_over(void *data)
{
        n_over++;
}

typedef struct {
        LogOptions *options;
        LogIntake *intake;
        LogCount count;
        LogSplitter splitters[N_STREAMS];
} Case;

/* `options` are KEY=VALUE and end with NULL. */
static void
case_start(Case *c, const LogDriver *driver, const char *const *options)
{
        g_autoptr(GError) error = NULL;
        *c = (Case){.options = log_sink_options(driver)};
        for (; *options; options++) {
                g_auto(GStrv) pair = g_strsplit(*options, "=", 2);
                (void)log_options_set(c->options, pair[0], pair[1], &error);
                g_assert_no_error(error);
        }
        LogOutlet outlet = {take, refuse, rate_over, NULL};
        const LogIntakeOptions *values = log_options_values(c->options, LOG_OPTIONS_OF_INTAKE);
        (void)log_intake_new(driver, values, &outlet, NULL, &c->intake, &error);
        g_assert_no_error(error);
        for (StreamId i = 0; i < N_STREAMS; i++)
                log_splitter_init(&c->splitters[i], i, 1);
        g_string_truncate(seen, 0);
}

static void
case_end(Case *c)
{
        log_intake_free(c->intake);
        log_options_free(c->options);
}

static void
push(Case *c, StreamId stream, const char *text, bool more)
{
        LogRecord records[64];
        LogSplitter *s = &c->splitters[stream];
        s->more = more;
        for (size_t at = 0, len = strlen(text), used; at < len; at += used) {
                LogBatch batch = {.records = records, .stream = stream};
                batch.n = log_splitter_cut(s, text + at, len - at, records, G_N_ELEMENTS(records), &used);
                batch.payload = used;
                log_intake_push(c->intake, &batch, &c->count);
        }
}

static void
assert_seen(const char *expected)
{
        g_assert_cmpstr(seen->str, ==, expected);
        g_string_truncate(seen, 0);
}

#define EURO "\xe2\x82\xac"

static const LogDriver plain = {.name = "plain"};
static const LogDriver journal_like = {
        .name = "journal-like",
        .max_record = 8,
        .flags = LOG_DRIVER_WHOLE_LINES | LOG_DRIVER_SPLIT_FULL,
};

static const LogDriver json_like = {.name = "json-like", .flags = LOG_DRIVER_UTF8, .max_record = 8};
static const LogDriver gelf_like = {
        .name = "gelf-like",
        .max_record = 8,
        .flags = LOG_DRIVER_WHOLE_LINES | LOG_DRIVER_UTF8,
};

static void
test_nothing_to_do(void)
{
        Case c;
        case_start(&c, &plain, (const char *[]){"max-record=16384", NULL});
        g_assert_null(c.intake);
        case_end(&c);
}

static void
test_streams(void)
{
        Case c;
        case_start(&c, &plain, (const char *[]){"streams=stderr", NULL});
        push(&c, STREAM_STDOUT, "a\n", false);
        push(&c, STREAM_STDERR, "b\n", false);
        assert_seen("(a)err---0[b]");
        g_assert_false(log_intake_has_stream(c.intake, STREAM_STDOUT));
        g_assert_cmpuint(c.count.records, ==, 2);
        g_assert_cmpuint(c.count.bytes, ==, 4);
        case_end(&c);
}

static void
test_bad_streams(void)
{
        static const char *const bad[] = {"", "stdin", "stdout,", "stdout,,stderr", "stdout err"};
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autoptr(GError) error = NULL;
                g_autoptr(LogOptions) options = log_sink_options(&plain);
                g_assert_false(log_options_set(options, "streams", bad[i], &error));
                g_assert_nonnull(strstr(error->message, "option streams can't be"));
        }
}

static void
test_smaller_records(void)
{
        Case c;
        case_start(&c, &plain, (const char *[]){"max-record=64", NULL});
        g_autofree char *line = g_strnfill(64, 'x');
        g_autofree char *text = g_strconcat(line, line, "yz\n", line, "\nab", NULL);
        push(&c, STREAM_STDOUT, text, false);
        g_autofree char *expected =
                g_strdup_printf("P--1[%s]PC-2[%s]-C-3[yz]---0[%s]P-W1[ab]", line, line, line);
        assert_seen(expected);
        push(&c, STREAM_STDOUT, "\n", false);
        assert_seen("-C-2[]");
        g_assert_cmpuint(c.count.bytes, ==, strlen(text) + 1);
        case_end(&c);
}

static void
test_bigger_records(void)
{
        Case c;
        case_start(&c, &plain, (const char *[]){"max-record=40000", NULL});
        g_autofree char *text = g_strnfill(50001, 'x');
        text[50000] = '\n';
        push(&c, STREAM_STDOUT, text, false);
        g_autofree char *expected = g_strdup_printf("P--1[%.40000s]-C-2[%.10000s]", text, text);
        assert_seen(expected);
        push(&c, STREAM_STDERR, text + 20000, false);
        g_autofree char *joined = g_strdup_printf("err---0[%.30000s]", text);
        assert_seen(joined);
        /* A prompt is not delayed. */
        push(&c, STREAM_STDOUT, "login: ", false);
        assert_seen("P-W1[login: ]");
        case_end(&c);
}

static void
test_whole_lines(void)
{
        Case c;
        case_start(&c, &journal_like, (const char *[]){NULL});
        push(&c, STREAM_STDOUT, "aaa", false);
        push(&c, STREAM_STDERR, "E\n", false);
        push(&c, STREAM_STDOUT, "bb\nx", false);
        assert_seen("err---0[E]---0[aaabb]");
        push(&c, STREAM_STDOUT, "2345678", false);
        assert_seen("P--1[x2345678]");
        push(&c, STREAM_STDOUT, "\n1234567\n12345678\n", false);
        assert_seen("-C-2[]---0[1234567]P--1[12345678]-C-2[]");
        push(&c, STREAM_STDOUT, "tail", false);
        assert_seen("");
        log_intake_flush(c.intake, &c.count);
        assert_seen("P-E0[tail]");
        g_assert_cmpuint(c.count.bytes, ==, 3 + 2 + 4 + 7 + 18 + 4);
        case_end(&c);
}

/* The last part of a line that ends with the stream is marked as such, even if it has the maximum length. */
static void
test_end_within_line(void)
{
        static const struct {
                const char *text, *at_once, *at_end;
        } cases[] = {
                {"tail", "", "P-E0[tail]"},
                {"12345678", "", "P-E0[12345678]"},
                {"123456789", "P--1[12345678]", "PCE2[9]"},
                {"1234567812345678", "P--1[12345678]", "PCE2[12345678]"},
                {"1234567" EURO, "P--1[1234567]", "PCE2[" EURO "]"},
                {"12345678\n", "---0[12345678]", ""},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Case c;
                case_start(&c, &gelf_like, (const char *[]){NULL});
                push(&c, STREAM_STDOUT, cases[i].text, false);
                assert_seen(cases[i].at_once);
                log_intake_flush(c.intake, &c.count);
                assert_seen(cases[i].at_end);
                g_assert_cmpuint(c.count.bytes, ==, strlen(cases[i].text));
                case_end(&c);
        }
}

static void
test_patterns(void)
{
        static const struct {
                const char *pattern, *line;
                bool matches;
        } cases[] = {
                {"b", "abc", true},        {"abc", "abc", true},      {"x", "abc", false},
                {"", "abc", true},         {"a*", "abc", true},       {"b*", "abc", false},
                {"*c", "abc", true},       {"*b", "abc", false},      {"a*c", "abc", true},
                {"a*c", "ac", true},       {"a*c", "acx", false},     {"*", "", true},
                {"*b*", "abc", true},      {"**", "abc", true},       {"a*a", "a", false},
                {"*ab*bc*", "abc", false}, {"*ab*bc*", "abbc", true}, {"a**c", "abc", true},
                {"*aab", "aaab", true},    {"a*b*", "axbxb", true},   {"*x*y", "xyxy", true},
                {"*abab", "ababab", true}, {"aa*aa", "aaa", false},   {"*a*a*a*", "aa", false},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_test_message("%s | %s", cases[i].pattern, cases[i].line);
                g_assert_cmpint(log_pattern_matches(cases[i].pattern, cases[i].line, strlen(cases[i].line)),
                                ==, cases[i].matches);
        }
        g_assert_true(log_pattern_matches("b", "a\0b", 3));
}

/* With quadratic complexity this would not finish. */
static void
test_hostile_pattern(void)
{
        g_autofree char *line = g_strnfill(1 << 20, 'a');
        g_assert_false(log_pattern_matches("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*ab*a*a*a", line, 1 << 20));
}

static void
test_include_exclude(void)
{
        Case c;
        case_start(&c, &plain, (const char *[]){"include=warn", "include=*error", "exclude=noise", NULL});
        push(&c, STREAM_STDOUT, "a warning\nok\nan error\nerrors\nwarn noise\n", false);
        assert_seen("---0[a warning](ok)---0[an error](errors)(warn noise)");
        case_end(&c);
        case_start(&c, &plain, (const char *[]){"exclude=GET /health*", NULL});
        push(&c, STREAM_STDOUT, "GET /hea", false);
        push(&c, STREAM_STDOUT, "lthz\nPOST GET /health\n", false);
        assert_seen("(GET /healthz)---0[POST GET /health]");
        case_end(&c);
}

/* All records of a line are treated like the first. */
static void
test_filtered_long_line(void)
{
        Case c;
        case_start(&c, &plain, (const char *[]){"exclude=secret", "max-record=64", NULL});
        g_autofree char *fill = g_strnfill(80, 'x');
        g_autofree char *text = g_strconcat("secret", fill, "\n", fill, "secret\n", NULL);
        push(&c, STREAM_STDOUT, text, false);
        g_autofree char *expected =
                g_strdup_printf("(secret%.58s)(%.22s)P--1[%.64s]-C-2[%.16ssecret]", fill, fill, fill, fill);
        assert_seen(expected);
        case_end(&c);
}

static LogRedactor *
redactor(const char *secrets)
{
        char *dir = tempdir_new();
        tempdir_put(dir, "secrets", secrets);
        g_autofree char *path = g_build_filename(dir, "secrets", NULL);
        g_autoptr(GError) error = NULL;
        LogRedactor *r = log_redactor_new(path, NULL, &error);
        g_assert_no_error(error);
        tempdir_remove(dir);
        return r;
}

static void
assert_redacted(LogRedactor *r, const char *line, const char *expected)
{
        g_autofree char *text = g_strconcat(line, "\n", NULL);
        LogRecord record = {
                .bytes = text, .len = (uint32_t)strlen(line), .payload = (uint32_t)strlen(line) + 1};
        LogRecord out = log_redactor_apply(r, &record, 0);
        g_assert_cmpmem(out.bytes, out.len, expected, strlen(expected));
        g_assert_cmpint(out.bytes[out.len], ==, '\n');
        g_assert_cmpuint(out.payload, ==, record.payload);
}

static void
test_redaction(void)
{
        LogRedactor *r = redactor("abcd\ncdefgh\nfg\naba");
        assert_redacted(r, "-abcdefgh-", "-***-");
        assert_redacted(r, "-ababa-abcdefg-", "-***-***e***-");
        assert_redacted(r, "abacdabcd", "***cd***");
        log_redactor_free(r);
        r = redactor("hunter2\n\nhunter22\nx\npass word");
        assert_redacted(r, "nothing here", "nothing here");
        assert_redacted(r, "hunter2", "***");
        assert_redacted(r, "hunter22 hunter2hunter2", "*** ******");
        assert_redacted(r, "a pass word b", "a *** b");
        assert_redacted(r, "xxxx", "************");
        assert_redacted(r, "", "");
        log_redactor_release(r);
        assert_redacted(r, "x", "***");
        log_redactor_free(r);
        r = redactor("hunter2\r\n\r\n pass word \r\nlast\r");
        assert_redacted(r, "a hunter2 \r hunter2\r", "a *** \r ***\r");
        assert_redacted(r, "a pass word b last", "a***b ***");
        log_redactor_free(r);
}

static void
test_redact_option(void)
{
        Case c;
        char *dir = tempdir_new();
        tempdir_put(dir, "s", "sesame\n");
        g_autofree char *option = g_strdup_printf("redact-file=%s/s", dir);
        case_start(&c, &plain, (const char *[]){option, NULL});
        push(&c, STREAM_STDOUT, "open ses", false);
        push(&c, STREAM_STDOUT, "ame\n", false);
        assert_seen("---0[open ***]");
        case_end(&c);
        tempdir_remove(dir);
        g_autoptr(GError) error = NULL;
        g_assert_null(log_redactor_new("/nonexistent/s", NULL, &error));
        g_assert_cmpstr(error->message, ==,
                        "Failed to read the secrets of redact-file=/nonexistent/s: No such file or "
                        "directory");
}

/* A line that is longer than a record may be cut within a secret: no part of the secret is logged. */
static void
test_redaction_across_records(void)
{
        Case c;
        char *dir = tempdir_new();
        g_autofree char *fill = g_strnfill(64, '-');
        g_autofree char *huge = g_strnfill(150, 'h');
        g_autofree char *secrets = g_strdup_printf("sesame\nmeow\n%s\n", huge);
        g_autofree char *option = g_strdup_printf("redact-file=%s/s", dir);
        tempdir_put(dir, "s", secrets);
        const struct {
                const char *parts[3];
                const char *expected;
        } cases[] = {
                {{"%.62ssesame.\n"}, "P--1[%.62s***]-C-2[.]"},
                {{"%.62sses", "ame.\n"}, "P--1[%.62s***]-C-2[.]"},
                {{"%.63ssesame", "ow.", "\n"}, "P--1[%.63s***]-C-2[.]"},
                {{"%.62ssesame\n"}, "P--1[%.62s***]-C-2[]"},
                {{"%.62ssesamy\n"}, "P--1[%.62sse]-C-2[samy]"},
                {{"%.62ssesamesesame\n"}, "P--1[%.62s***]-C-2[***]"},
                {{"%.58ssesame\n"}, "---0[%.58s***]"},
                {{"%.58ssesame", "x\n"}, "P--1[%.58s***]-C-2[x]"},
                {{"%.64ssesame\n"}, "P--1[%.64s]-C-2[***]"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                case_start(&c, &plain, (const char *[]){option, "max-record=64", NULL});
                for (size_t k = 0; k < 3 && cases[i].parts[k]; k++) {
                        g_autofree char *part = g_strdup_printf(cases[i].parts[k], fill);
                        push(&c, STREAM_STDOUT, part, false);
                }
                g_autofree char *expected = g_strdup_printf(cases[i].expected, fill);
                assert_seen(expected);
                case_end(&c);
        }
        /* Longer than a record; and at the end of the container, when no more data follows. */
        case_start(&c, &plain, (const char *[]){option, "max-record=64", NULL});
        g_autofree char *line = g_strconcat("x", huge, "y\n", NULL);
        push(&c, STREAM_STDOUT, line, false);
        assert_seen("P--1[x***]PC-2[]-C-3[y]");
        push(&c, STREAM_STDERR, huge, false);
        push(&c, STREAM_STDOUT, huge + 1, false);
        log_intake_flush(c.intake, &c.count);
        g_autofree char *expected = g_strdup_printf(
                "P--1[%.64s]PC-2[%.64s]PCE3[%.21s]errP--1[***]errPC-2[]errPCE3[]", huge, huge, huge);
        assert_seen(expected);
        case_end(&c);
        tempdir_remove(dir);
}

static void
assert_no_secrets(const char *content, size_t len, const char *why)
{
        char *dir = tempdir_new();
        g_autofree char *path = g_build_filename(dir, "s", NULL);
        g_autofree char *expected = g_strdup_printf("The secrets of redact-file=%s %s", path, why);
        g_autoptr(GError) error = NULL;
        g_assert_true(g_file_set_contents(path, content, (gssize)len, NULL));
        g_assert_null(log_redactor_new(path, NULL, &error));
        g_assert_cmpstr(error->message, ==, expected);
        tempdir_remove(dir);
}

/* Secrets that can't be hidden are an error. */
static void
test_odd_secrets(void)
{
        g_autofree char *text = g_strnfill(65537, 'x');
        assert_no_secrets(text, 65537, "are longer than 65536 bytes");
        assert_no_secrets("one\ntw\0o\nthree\n", 15, "contain a NUL byte");
        text[65529] = '\n';
        text[65536] = '\0';
        LogRedactor *r = redactor(text);
        assert_redacted(r, "xxxxxx", "***");
        log_redactor_free(r);
}

#define ESC "\x1b"

static void
test_strip(void)
{
        static const struct {
                const char *option, *text, *expected;
        } cases[] = {
                {"strip=cr", "a\r\nb\r\r\n\rc\rd\n\r\n", "---0[a]---0[b]---0[\rc\rd]---0[]"},
                {"strip=cr", ESC "[1mx\r\n", "---0[" ESC "[1mx]"},
                {"strip=ansi", ESC "[1;31mred" ESC "[0m\r\n", "---0[red\r]"},
                {"strip=cr,ansi", ESC "[1;31mred\r" ESC "[0m\r\n", "---0[red]"},
                {"strip=ansi", ESC "]0;title\aa" ESC "]8;;http://x" ESC "\\b\n", "---0[ab]"},
                {"strip=ansi", ESC "Pq#0" ESC "\\a" ESC "(Bb" ESC "7c" ESC "%/Gd\n", "---0[abcd]"},
                {"strip=ansi", ESC "[?25l" EURO ESC "[38:2::1:2:3m" EURO ESC "[ q\n", "---0[" EURO EURO "]"},
                /* Incomplete or invalid sequences: the first byte that does not belong to one is kept. */
                {"strip=ansi", "a" ESC "\nb" ESC "[3\nc" ESC "]x\nd\n", "---0[a]---0[b]---0[c]---0[d]"},
                {"strip=ansi", ESC EURO ESC "[1" EURO ESC "[1" ESC "[2mx" ESC "]y" ESC "[2mz\n",
                 "---0[" EURO EURO "xz]"},
                {"strip=ansi", ESC "]x\x18y" ESC "[1\tz\n", "---0[y\tz]"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Case c;
                case_start(&c, &plain, (const char *[]){cases[i].option, NULL});
                push(&c, STREAM_STDOUT, cases[i].text, false);
                assert_seen(cases[i].expected);
                g_assert_cmpuint(c.count.bytes, ==, strlen(cases[i].text));
                case_end(&c);
        }
}

/* The result does not depend on where a line is split into parts. */
static void
test_strip_in_parts(void)
{
        static const char text[] = "a\rb" ESC "[1;31mred" ESC "[0m\r\r" ESC "]0;t" ESC "\\c\r\n";
        for (size_t at = 1; at + 1 < sizeof text; at++) {
                Case c;
                g_autofree char *first = g_strndup(text, at), *left = NULL;
                case_start(&c, &plain, (const char *[]){"strip=cr,ansi", NULL});
                push(&c, STREAM_STDOUT, first, false);
                push(&c, STREAM_STDERR, "\ro\r\n", false);
                push(&c, STREAM_STDOUT, text + at, false);
                g_auto(GStrv) parts =
                        g_regex_split_simple("err---0\\[\ro\\]|[-PCW]+\\d\\[|\\]", seen->str, 0, 0);
                left = g_strjoinv("", parts);
                g_assert_cmpstr(left, ==, "a\rbred\r\rc");
                g_assert_cmpuint(c.count.bytes, ==, strlen(text) + 4);
                case_end(&c);
        }
        Case c;
        case_start(&c, &gelf_like, (const char *[]){"strip=cr,ansi", NULL});
        push(&c, STREAM_STDOUT, "1234567\r\n" ESC "[0m\n123\r", false);
        log_intake_flush(c.intake, &c.count);
        assert_seen("---0[1234567]---0[]P-E0[123]");
        case_end(&c);
}

/* Patterns and secrets are matched after stripping. */
static void
test_strip_before_search(void)
{
        Case c;
        char *dir = tempdir_new();
        tempdir_put(dir, "s", "sesame\n");
        g_autofree char *option = g_strdup_printf("redact-file=%s/s", dir);
        const char *options[] = {option, "strip=ansi,cr", "include=*d", NULL};
        case_start(&c, &plain, options);
        push(&c, STREAM_STDOUT, "se" ESC "[1msa" ESC "[0mme red\r\n" ESC "[1mblue\n", false);
        assert_seen("---0[*** red](blue)");
        case_end(&c);
        tempdir_remove(dir);
}

static void
test_bad_strip(void)
{
        static const char *const bad[] = {"", "crlf", "cr,", "ansi;cr"};
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autoptr(GError) error = NULL;
                g_autoptr(LogOptions) options = log_sink_options(&plain);
                g_assert_false(log_options_set(options, "strip", bad[i], &error));
                g_assert_nonnull(strstr(error->message, "option strip can't be"));
        }
}

static void
wait_for_rate(int expected)
{
        gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
        while (n_over < expected && g_get_monotonic_time() < deadline)
                loop_iterate(true);
        g_assert_cmpint(n_over, ==, expected);
}

static void
test_rate_drop(void)
{
        Case c;
        n_over = 0;
        case_start(&c, &plain, (const char *[]){"rate-limit-burst=2", "rate-limit-interval=50ms", NULL});
        push(&c, STREAM_STDOUT, "a\nb\nc\n", false);
        push(&c, STREAM_STDERR, "d\n", false);
        assert_seen("---0[a]---0[b]limit(c)limit(d)");
        g_assert_true(log_intake_is_limited(c.intake));
        g_assert_false(log_intake_blocks(c.intake));
        wait_for_rate(1);
        g_assert_false(log_intake_is_limited(c.intake));
        push(&c, STREAM_STDOUT, "e\n", false);
        assert_seen("---0[e]");
        case_end(&c);
}

/* A line counts once, regardless of its number of records. The sink handles the records after a refused
 * one. */
static void
test_rate_of_lines(void)
{
        Case c;
        case_start(&c, &plain,
                   (const char *[]){"rate-limit-burst=2", "rate-limit-interval=1h", "max-record=64", NULL});
        g_autofree char *line = g_strnfill(64, 'x');
        g_autofree char *text = g_strconcat(line, line, "y\na\nb", line, "\n", NULL);
        push(&c, STREAM_STDOUT, text, false);
        g_autofree char *expected =
                g_strdup_printf("P--1[%s]PC-2[%s]-C-3[y]---0[a]limit(b%.63s)-C-2[x]", line, line, line);
        assert_seen(expected);
        case_end(&c);
}

/* Neither a pause nor the size limit of records splits a character. */
static void
test_characters(void)
{
        Case c;
        case_start(&c, &json_like, (const char *[]){NULL});
        push(&c, STREAM_STDOUT, "caf\xc3", false);
        assert_seen("P-W1[caf]");
        push(&c, STREAM_STDOUT, "\xa9 x\n", false);
        assert_seen("-C-2[\xc3\xa9 x]");
        push(&c, STREAM_STDOUT, "\xe2", false);
        push(&c, STREAM_STDERR, "e\n", false);
        push(&c, STREAM_STDOUT, "\x82", false);
        assert_seen("err---0[e]");
        push(&c, STREAM_STDOUT, "\xac\nb\n", false);
        assert_seen("---0[" EURO "]---0[b]");
        push(&c, STREAM_STDOUT, "1234567" EURO "9\n12345" EURO "\n", false);
        assert_seen("P--1[1234567]-C-2[" EURO "9]---0[12345" EURO "]");
        push(&c, STREAM_STDOUT, EURO EURO EURO "\xe2\x82", false);
        assert_seen("P--1[" EURO EURO "]PCW2[" EURO "]");
        push(&c, STREAM_STDOUT, "\xac" EURO EURO EURO "\n", false);
        assert_seen("PC-3[" EURO EURO "]-C-4[" EURO EURO "]");
        case_end(&c);
        case_start(&c, &gelf_like, (const char *[]){NULL});
        push(&c, STREAM_STDOUT, "1\xe2", false);
        push(&c, STREAM_STDOUT, "\x82\xac" EURO EURO, false);
        push(&c, STREAM_STDOUT, EURO "\n", false);
        assert_seen("P--1[1" EURO EURO "]-C-2[" EURO EURO "]");
        case_end(&c);
}

/* Invalid bytes are not held back, and at the end nothing is. */
static void
test_no_characters(void)
{
        Case c;
        case_start(&c, &json_like, (const char *[]){NULL});
        push(&c, STREAM_STDOUT, "\xff", false);
        push(&c, STREAM_STDOUT, "\x82\xe2(", false);
        push(&c, STREAM_STDOUT, "\xe2(\xf0\n", false);
        assert_seen("P-W1[\xff]PCW2[\x82\xe2(]-C-3[\xe2(\xf0]");
        push(&c, STREAM_STDOUT, "ab\xf0\x9f\x90", false);
        assert_seen("P-W1[ab]");
        log_intake_flush(c.intake, &c.count);
        assert_seen("PCE2[\xf0\x9f\x90]");
        g_assert_cmpuint(c.count.bytes, ==, 13);
        case_end(&c);
}

/* A joined line has the time of its first part. */
static void
take_time(const LogRecord *r, size_t ahead, void *data)
{
        g_string_append_printf(seen, "%" G_GINT64_FORMAT ";", r->time_ns);
}

static void
test_time_of_joined(void)
{
        LogJoinerConfig config = {.max_record = 8, .hold = true, .emit = take_time};
        LogJoiner *j = log_joiner_new(&config);
        LogRecord first = {.bytes = "a", .len = 1, .time_ns = 5, .flags = LOG_RECORD_PARTIAL};
        LogRecord second = {.bytes = "b\n", .len = 1, .time_ns = 6, .flags = LOG_RECORD_CONTINUES};
        log_joiner_push(j, &first);
        log_joiner_push(j, &second);
        second.flags = 0;
        log_joiner_push(j, &second);
        assert_seen("5;6;");
        log_joiner_free(j);
}

static void
test_rate_block(void)
{
        Case c;
        gint64 start = g_get_monotonic_time();
        n_over = 0;
        case_start(&c, &plain,
                   (const char *[]){"rate-limit-burst=2", "rate-limit-interval=50ms",
                                    "rate-limit-action=block", NULL});
        push(&c, STREAM_STDOUT, "a\n", false);
        g_assert_false(log_intake_blocks(c.intake));
        push(&c, STREAM_STDOUT, "b\nc\nd\ne\n", false);
        assert_seen("---0[a]---0[b]---0[c]---0[d]---0[e]");
        g_assert_true(log_intake_blocks(c.intake));
        wait_for_rate(1);
        g_assert_false(log_intake_blocks(c.intake));
        /* Five lines at two in 50 ms are 125 ms; half an interval may be ahead of that. */
        g_assert_cmpint(g_get_monotonic_time() - start, >=, 90 * 1000);
        case_end(&c);
}

static void
ignore(void *data)
{
}

/* Lines of a burst are paid for in full, however long that takes. */
static void
test_rate_far_ahead(void)
{
        LogRateLimit l;
        log_rate_limit_init(&l, 1, 24 * G_TIME_SPAN_HOUR, true, ignore, NULL);
        for (gint64 last = 0, i = 0; i < 200000; i++) {
                g_assert_true(log_rate_limit_take(&l, 1));
                g_assert_cmpint(l.end, >=, last);
                last = l.end;
        }
        g_assert_true(l.limited);
        log_rate_limit_end(&l);
}

/* Values with which the calculation would overflow are refused. */
static void
test_rate_interval_too_long(void)
{
        g_autoptr(LogOptions) o = log_sink_options(&plain);
        g_autoptr(GError) error = NULL;
        g_assert_false(log_options_set(o, "rate-limit-interval", "10000000h", &error));
        g_assert_nonnull(strstr(error->message, "from 1ms to 24h"));
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        seen = g_string_new(NULL);
        g_test_add_func("/log/intake/nothing", test_nothing_to_do);
        g_test_add_func("/log/intake/streams", test_streams);
        g_test_add_func("/log/intake/bad-streams", test_bad_streams);
        g_test_add_func("/log/intake/smaller-records", test_smaller_records);
        g_test_add_func("/log/intake/bigger-records", test_bigger_records);
        g_test_add_func("/log/intake/whole-lines", test_whole_lines);
        g_test_add_func("/log/intake/end-within-line", test_end_within_line);
        g_test_add_func("/log/intake/patterns", test_patterns);
        g_test_add_func("/log/intake/hostile-pattern", test_hostile_pattern);
        g_test_add_func("/log/intake/include-exclude", test_include_exclude);
        g_test_add_func("/log/intake/filtered-long-line", test_filtered_long_line);
        g_test_add_func("/log/intake/redaction", test_redaction);
        g_test_add_func("/log/intake/redaction-across-records", test_redaction_across_records);
        g_test_add_func("/log/intake/redact-option", test_redact_option);
        g_test_add_func("/log/intake/odd-secrets", test_odd_secrets);
        g_test_add_func("/log/intake/strip", test_strip);
        g_test_add_func("/log/intake/strip-in-parts", test_strip_in_parts);
        g_test_add_func("/log/intake/strip-before-search", test_strip_before_search);
        g_test_add_func("/log/intake/bad-strip", test_bad_strip);
        g_test_add_func("/log/intake/rate-drop", test_rate_drop);
        g_test_add_func("/log/intake/rate-of-lines", test_rate_of_lines);
        g_test_add_func("/log/intake/characters", test_characters);
        g_test_add_func("/log/intake/no-characters", test_no_characters);
        g_test_add_func("/log/intake/time-of-joined", test_time_of_joined);
        g_test_add_func("/log/intake/rate-block", test_rate_block);
        g_test_add_func("/log/intake/rate-far-ahead", test_rate_far_ahead);
        g_test_add_func("/log/intake/rate-interval-too-long", test_rate_interval_too_long);
        int r = g_test_run();
        g_string_free(seen, TRUE);
        return r;
}
