/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/registry.h"
#include "log/api/driver.h"
#include "log/api/secret.h"
#include "log/intake/intake.h"
#include "log/sink/sink.h"

#include <glib.h>

typedef struct {
        bool flag;
        int64_t count, level, size, wait;
        bool count_given;
        int kind, other;
        const char *word;
        const char *const *pattern;
        const char *const *names;
        SecretOptions key;
} Values;

#define AT(member) offsetof(Values, member)

static const LogOption options[] = {
        {"flag", {VALUE_BOOL}, AT(flag), "true", "a flag"},
        {"count", {VALUE_INT, .min = 1, .max = 9}, AT(count), "3", "a number", .given = AT(count_given)},
        {"level", {VALUE_INT, .min = -1}, AT(level), "", "a number"},
        {"size", {VALUE_SIZE, .min = 1}, AT(size), "", "a size"},
        {"wait", {VALUE_DURATION, .max = 12000000}, AT(wait), "2s", "a time"},
        {"kind", {VALUE_CHOICE, "a|b|c"}, AT(kind), "b", "a kind"},
        {"other", {VALUE_CHOICE, "a|b|c"}, AT(other), "", "a kind"},
        {"word", {VALUE_TEXT}, AT(word), "", "any"},
        {"pattern", {VALUE_TEXT}, AT(pattern), "", "some", .repeats = true},
        {"names", {VALUE_LIST}, AT(names), "", "names"},
        SECRET_OPTIONS("key", Values, key, "a secret"),
        {"old", .no_effect = true, .help = "it is old"},
        {""},
};

/* The second list only adds options that the first one lacks. */
static const LogOption more_options[] = {
        {"word", {VALUE_TEXT}, 0, "default", "another"},
        {"text", {VALUE_TEXT}, sizeof(char *), "default", "a text"},
        {""},
};
static const LogOptionTable tables[] = {
        {options, sizeof(Values)}, {more_options, 2 * sizeof(char *)}, {NULL, 0}};

static LogOptions *
make_options(void)
{
        return log_options_new("d", tables, G_N_ELEMENTS(tables));
}

static void
assert_refused(LogOptions *o, const char *key, const char *value, const char *sentence)
{
        g_autoptr(GError) error = NULL;
        g_assert_false(log_options_set(o, key, value, &error));
        g_assert_nonnull(error);
        g_assert_cmpstr(error->message, ==, sentence);
}

static void
set(LogOptions *o, const char *key, const char *value)
{
        g_autoptr(GError) error = NULL;
        (void)log_options_set(o, key, value, &error);
        g_assert_no_error(error);
}

static void
test_defaults(void)
{
        g_autoptr(LogOptions) o = make_options();
        const Values *v = log_options_values(o, 0);
        g_assert_true(v->flag);
        g_assert_cmpint(v->count, ==, 3);
        g_assert_false(v->count_given);
        g_assert_cmpint(v->size, ==, 0);
        g_assert_cmpint(v->wait, ==, 2000000);
        g_assert_cmpint(v->kind, ==, 1);
        g_assert_cmpint(v->other, ==, -1);
        g_assert_null(v->word);
        g_assert_null(v->pattern);
        g_assert_null(v->names);
        const char *const *more = log_options_values(o, 1);
        g_assert_null(more[0]);
        g_assert_cmpstr(more[1], ==, "default");
        g_assert_null(log_options_values(o, 2));
}

static void
test_values(void)
{
        g_autoptr(LogOptions) o = make_options();
        const Values *v = log_options_values(o, 0);
        set(o, "flag", "No");
        set(o, "count", "7");
        set(o, "count", "8");
        set(o, "size", "1m");
        set(o, "kind", "c");
        set(o, "other", "a");
        set(o, "word", "a=b");
        set(o, "names", "x");
        set(o, "names", "a, b");
        set(o, "pattern", "x");
        set(o, "pattern", "y");
        set(o, "old", "whatever");
        g_assert_false(v->flag);
        g_assert_cmpint(v->count, ==, 8);
        g_assert_true(v->count_given);
        g_assert_cmpint(v->size, ==, 1000000);
        g_assert_cmpint(v->kind, ==, 2);
        g_assert_cmpint(v->other, ==, 0);
        g_assert_cmpstr(v->word, ==, "a=b");
        g_assert_cmpstr(v->names[0], ==, "a");
        g_assert_cmpstr(v->names[1], ==, "b");
        g_assert_null(v->names[2]);
        g_assert_cmpstr(v->pattern[0], ==, "x");
        g_assert_cmpstr(v->pattern[1], ==, "y");
        g_assert_null(v->pattern[2]);
}

static void
test_inheritance(void)
{
        g_autoptr(LogOptions) from = make_options(), o = log_options_new("e", &tables[1], 1);
        set(from, "word", "w");
        set(from, "flag", "no");
        log_options_inherit(o, from);
        const char *const *more = log_options_values(o, 0);
        g_assert_cmpstr(more[0], ==, "w");
        g_assert_cmpstr(more[1], ==, "default");
}

static void
test_refusals(void)
{
        g_autoptr(LogOptions) o = make_options();
        assert_refused(o, "flag", "maybe",
                       "Log driver d: option flag can't be 'maybe'; allowed: true or false");
        assert_refused(o, "count", "0",
                       "Log driver d: option count can't be '0'; allowed: a whole number, from 1 to 9");
        assert_refused(o, "count", "10",
                       "Log driver d: option count can't be '10'; allowed: a whole number, from 1 to 9");
        assert_refused(o, "level", "-2",
                       "Log driver d: option level can't be '-2'; allowed: a whole number, at least -1");
        assert_refused(o, "size", "0",
                       "Log driver d: option size can't be '0'; allowed: a size such as 100k, 10m or 1g, at "
                       "least 1");
        assert_refused(o, "wait", "13s",
                       "Log driver d: option wait can't be '13s'; allowed: a duration such as 500ms, 2s or "
                       "1h30m, at most 12s");
        assert_refused(o, "kind", "d", "Log driver d: option kind can't be 'd'; allowed: a, b, c");
        assert_refused(o, "nope", "1",
                       "Log driver d has no option nope (given as nope=1); it has: flag, count, level, size, "
                       "wait, kind, other, word, pattern, names, key-file, key-env, old, text");
        assert_refused(o, "key", "secret",
                       "Log driver d: option key can't be given as such, because everybody could read the "
                       "secret in the arguments; use key-file or key-env");
}

/* The size of an option's member in the struct of its table. */
static size_t
member_size(const LogOption *option)
{
        switch (option->type.kind) {
        case VALUE_BOOL:
                return sizeof(bool);
        case VALUE_CHOICE:
                return sizeof(int);
        case VALUE_TEXT:
        case VALUE_FILE:
        case VALUE_LIST:
                return sizeof(char *);
        default:
                return sizeof(int64_t);
        }
}

/* On some processors a member of 8 bytes is aligned to 4. */
static size_t
member_alignment(const LogOption *option)
{
        struct Aligned {
                char before;
                int64_t number;
        };

        return MIN(member_size(option), offsetof(struct Aligned, number));
}

/* The compiler accepts a string that fills its array without the NUL. */
static void
assert_ends(const char *text, size_t size)
{
        g_assert_cmpuint(strnlen(text, size), <, size);
}

static void
check_table(const LogOptionTable *table)
{
        for (const LogOption *option = table->options; option && *option->name; option++) {
                g_test_message("%s", option->name);
                assert_ends(option->name, sizeof option->name);
                assert_ends(option->fallback, sizeof option->fallback);
                assert_ends(option->help, sizeof option->help);
                assert_ends(option->same_as, sizeof option->same_as);
                assert_ends(option->type.choices, sizeof option->type.choices);
                g_assert_null(strchr(option->name, '.'));
                if (option->no_effect || *option->same_as)
                        continue;
                g_assert_cmpstr(option->help, !=, "");
                g_assert_cmpuint(option->offset + member_size(option), <=, table->size);
                g_assert_cmpuint(option->offset % member_alignment(option), ==, 0);
                g_assert_cmpuint(option->given, <, table->size);
        }
}

/* Every default is a valid value of its option. */
static void
test_drivers(void)
{
        for (const LogDriver *const *d = log_drivers(); *d; d++) {
                g_autoptr(LogOptions) o = log_sink_options(*d);
                const LogOption *option;
                check_table(&(*d)->options);
                for (size_t i = 0; (option = log_options_at(o, i)); i++)
                        if (log_option_fallback(option))
                                set(o, option->name, log_option_fallback(option));
                        else if (*option->same_as)
                                g_assert_nonnull(log_options_find(o, option->same_as));
        }
        check_table(log_intake_options());
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/option/values", test_values);
        g_test_add_func("/log/option/refusals", test_refusals);
        g_test_add_func("/log/option/defaults", test_defaults);
        g_test_add_func("/log/option/inheritance", test_inheritance);
        g_test_add_func("/log/option/drivers", test_drivers);
        return g_test_run();
}
