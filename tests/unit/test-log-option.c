#include "log/driver.h"
#include "log/option.h"
#include "log/sink.h"

#include <glib.h>

static const LogOption table[] = {
        {"flag", LOG_OPTION_BOOL, "true", "a flag"},
        {"count", LOG_OPTION_INT, "3", "a number", .min = 1, .max = 9},
        {"level", LOG_OPTION_INT, NULL, "a number", .min = -1},
        {"size", LOG_OPTION_SIZE, NULL, "a size", .min = 1},
        {"wait", LOG_OPTION_DURATION, "2s", "a time", .max = 12000000},
        {"kind", LOG_OPTION_ENUM, "b", "a kind", .choices = "a|b|c"},
        {"word", LOG_OPTION_STRING, NULL, "any"},
        {"pattern", LOG_OPTION_STRING, NULL, "some", .repeats = true},
        {"key-file", LOG_OPTION_STRING, NULL, "a secret"},
        {"key-env", LOG_OPTION_STRING, NULL, "a secret"},
        {NULL},
};
static const LogOption *const tables[] = {table, NULL};

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
test_values(void)
{
        g_autoptr(LogOptions) o = log_options_new("d", tables);
        g_assert_cmpint(log_options_number(o, "flag"), ==, 1);
        g_assert_cmpint(log_options_number(o, "size"), ==, 0);
        g_assert_null(log_options_string(o, "word"));
        g_assert_false(log_options_has(o, "count"));
        set(o, "flag", "No");
        set(o, "count", "7");
        set(o, "count", "8");
        set(o, "size", "1m");
        set(o, "kind", "c");
        set(o, "word", "a=b");
        g_assert_cmpint(log_options_number(o, "flag"), ==, 0);
        g_assert_cmpint(log_options_number(o, "count"), ==, 8);
        g_assert_cmpint(log_options_number(o, "size"), ==, 1000000);
        g_assert_cmpint(log_options_number(o, "kind"), ==, 2);
        g_assert_cmpint(log_options_number(o, "wait"), ==, 2000000);
        g_assert_cmpstr(log_options_string(o, "word"), ==, "a=b");
        g_assert_null(log_options_all(o, "pattern")[0]);
        set(o, "pattern", "x");
        set(o, "pattern", "y");
        const char *const *all = log_options_all(o, "pattern");
        g_assert_cmpstr(all[0], ==, "x");
        g_assert_cmpstr(all[1], ==, "y");
        g_assert_null(all[2]);
}

static void
test_refusals(void)
{
        g_autoptr(LogOptions) o = log_options_new("d", tables);
        assert_refused(o, "flag", "maybe",
                       "Log driver d: option flag can't be 'maybe'; allowed: true or false");
        assert_refused(o, "count", "0",
                       "Log driver d: option count can't be '0'; allowed: a whole number, at least 1, at "
                       "most 9");
        assert_refused(o, "count", "10",
                       "Log driver d: option count can't be '10'; allowed: a whole number, at least 1, at "
                       "most 9");
        assert_refused(o, "level", "-2",
                       "Log driver d: option level can't be '-2'; allowed: a whole number, at least -1");
        assert_refused(o, "size", "0",
                       "Log driver d: option size can't be '0'; allowed: a size such as 100k, 10m or 1g, at "
                       "least 1");
        assert_refused(o, "wait", "13s",
                       "Log driver d: option wait can't be '13s'; allowed: a duration such as 500ms, 2s or "
                       "1m30s, at most 12s");
        assert_refused(o, "kind", "d", "Log driver d: option kind can't be 'd'; allowed: a, b, c");
        assert_refused(o, "nope", "1",
                       "Log driver d has no option nope (given as nope=1); it has: flag, count, level, size, "
                       "wait, kind, word, pattern, key-file, key-env");
        assert_refused(o, "key", "secret",
                       "Log driver d: option key can't be given as such, because everybody could read the "
                       "secret in the arguments; use key-file or key-env");
}

/* Every default is a value that the option itself would take. */
static void
test_defaults(void)
{
        for (const LogDriver *const *d = log_drivers(); *d; d++) {
                g_autoptr(LogOptions) o = log_sink_options(*d);
                const LogOption *option;
                for (size_t i = 0; (option = log_options_table(o, i)); i++) {
                        g_assert_nonnull(option->help);
                        g_assert_null(strchr(option->name, '.'));
                        if (option->fallback)
                                set(o, option->name, option->fallback);
                }
                g_assert_cmpuint(log_options_number(o, "max-buffer-size"), >, 0);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/option/values", test_values);
        g_test_add_func("/log/option/refusals", test_refusals);
        g_test_add_func("/log/option/defaults", test_defaults);
        return g_test_run();
}
