#include "base/quantity.h"

#include <glib.h>

static void
test_sizes(void)
{
        /* The last two columns are bytes with factors of 1000 and 1024; -1: refused.
         * Docker's go-units is the model. */
        static const struct {
                const char *text;
                int64_t decimal, binary;
        } cases[] = {
                {"0", 0, 0},          {"1", 1, 1},
                {"10k", 10000, 10240}, {"10K", 10000, 10240},
                {"10kb", 10000, 10240}, {"10kib", 10000, 10240},
                {"10KiB", 10000, 10240}, {"10m", 10000000, 10485760},
                {"10 m", 10000000, 10485760}, {"1.5g", 1500000000, 1610612736},
                {"2t", 2000000000000, 2199023255552}, {"1p", 1000000000000000, 1125899906842624},
                {"32b", 32, 32},      {"32 b", 32, 32},
                {".5k", 500, 512},    {"1.", 1, 1},
                {"", -1, -1},         {"k", -1, -1},
                {"-1", -1, -1},       {"10x", -1, -1},
                {"10kx", -1, -1},     {"10kibb", -1, -1},
                {"10bk", -1, -1},     {"1.2.3", -1, -1},
                {".", -1, -1},        {"10  k", -1, -1},
                {" 10k", -1, -1},     {"1e3", -1, -1},
                {"99999999p", -1, -1}, {"10k ", -1, -1},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                int64_t decimal = -1, binary = -1;
                (void)quantity_parse_size(cases[i].text, 1000, &decimal);
                (void)quantity_parse_size(cases[i].text, 1024, &binary);
                g_test_message("%s", cases[i].text);
                g_assert_cmpint(decimal, ==, cases[i].decimal);
                g_assert_cmpint(binary, ==, cases[i].binary);
        }
}

static void
test_durations(void)
{
        static const struct {
                const char *text;
                int64_t usec;
        } cases[] = {
                {"0", 0},
                {"500ms", 500000},
                {"2s", 2000000},
                {"1m30s", 90000000},
                {"1.5h", 5400000000},
                {"100us", 100},
                {"100µs", 100},
                {"100μs", 100},
                {"1500ns", 1},
                {"+1s", 1000000},
                {".5s", 500000},
                {"", -1},
                {"5", -1},
                {"s", -1},
                {"-1s", -1},
                {"1s ", -1},
                {"1x", -1},
                {"1.2.3s", -1},
                {".s", -1},
                {"1d", -1},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                int64_t usec = -1;
                (void)quantity_parse_duration(cases[i].text, &usec);
                g_test_message("%s", cases[i].text);
                g_assert_cmpint(usec, ==, cases[i].usec);
        }
}

static void
test_bools(void)
{
        static const struct {
                const char *text;
                int value; /* -1: refused */
        } cases[] = {
                {"true", 1}, {"Yes", 1}, {"T", 1}, {"1", 1}, {"false", 0}, {"NO", 0}, {"f", 0}, {"0", 0},
                {"", -1},    {"on", -1}, {"2", -1}, {"true ", -1},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                bool value = false;
                int got = quantity_parse_bool(cases[i].text, &value) ? value : -1;
                g_test_message("%s", cases[i].text);
                g_assert_cmpint(got, ==, cases[i].value);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/quantity/sizes", test_sizes);
        g_test_add_func("/quantity/durations", test_durations);
        g_test_add_func("/quantity/bools", test_bools);
        return g_test_run();
}
