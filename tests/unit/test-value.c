/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/value.h"

#include <glib.h>

static void
test_sizes(void)
{
        /* The last two columns are bytes with factors of 1000 and 1024; -1: refused. As in Docker's
         * go-units. */
        static const struct {
                const char *text;
                int64_t decimal, binary;
        } cases[] = {
                {"0", 0, 0},
                {"1", 1, 1},
                {"10k", 10000, 10240},
                {"10K", 10000, 10240},
                {"10kb", 10000, 10240},
                {"10kib", 10000, 10240},
                {"10KiB", 10000, 10240},
                {"10m", 10000000, 10485760},
                {"10 m", 10000000, 10485760},
                {"1.5g", 1500000000, 1610612736},
                {"2t", 2000000000000, 2199023255552},
                {"1p", 1000000000000000, 1125899906842624},
                {"32b", 32, 32},
                {"32 b", 32, 32},
                {".5k", 500, 512},
                {"1.", 1, 1},
                {"", -1, -1},
                {"k", -1, -1},
                {"-1", -1, -1},
                {"10x", -1, -1},
                {"10kx", -1, -1},
                {"10kibb", -1, -1},
                {"10bk", -1, -1},
                {"1.2.3", -1, -1},
                {".", -1, -1},
                {"10  k", -1, -1},
                {" 10k", -1, -1},
                {"1e3", -1, -1},
                {"99999999p", -1, -1},
                {"10k ", -1, -1},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                int64_t decimal = -1, binary = -1;
                (void)value_parse(&(ValueType){VALUE_SIZE}, cases[i].text, &decimal);
                (void)value_parse(&(ValueType){VALUE_BINARY_SIZE}, cases[i].text, &binary);
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
                (void)value_parse(&(ValueType){VALUE_DURATION}, cases[i].text, &usec);
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
                {"true", 1}, {"Yes", 1}, {"T", 1}, {"1", 1},   {"false", 0}, {"NO", 0},
                {"f", 0},    {"0", 0},   {"", -1}, {"on", -1}, {"2", -1},    {"true ", -1},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                int64_t got = -1;
                (void)value_parse(&(ValueType){VALUE_BOOL}, cases[i].text, &got);
                g_test_message("%s", cases[i].text);
                g_assert_cmpint(got, ==, cases[i].value);
        }
}

static void
test_choices(void)
{
        static const ValueType type = {VALUE_CHOICE, "drop|block|drop-all"};
        static const struct {
                const char *text;
                int index; /* -1: refused */
        } cases[] = {
                {"drop", 0}, {"block", 1},       {"drop-all", 2}, {"", -1},
                {"dro", -1}, {"drop|block", -1}, {"Drop", -1},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                int64_t index = -1;
                g_assert_cmpint(value_parse(&type, cases[i].text, &index), ==, cases[i].index >= 0);
                g_assert_cmpint(index, ==, cases[i].index);
        }
}

static void
test_ranges(void)
{
        static const struct {
                ValueType type;
                const char *taken, *refused[2], *allowed;
        } cases[] = {
                {{VALUE_INT, .min = 1, .max = 9}, "9", {"0", "10"}, "a whole number, from 1 to 9"},
                {{VALUE_INT, .max = 7}, "0", {"-1", "8"}, "a whole number, from 0 to 7"},
                {{VALUE_INT, .min = -1, .max = 9},
                 "-1",
                 {"-2", "x"},
                 "a whole number, from -1 to 9"},
                {{VALUE_SIZE, .min = 1}, "1", {"0", "-1"}, "a size such as 100k, 10m or 1g, at least 1"},
                {{VALUE_BINARY_SIZE, .min = 8192, .max = 1 << 30},
                 "1g",
                 {"8191", "1025m"},
                 "a size such as 100k, 10m or 1g, from 8k to 1g"},
                {{VALUE_DURATION, .min = 1000, .max = INT64_C(86400000000)},
                 "24h",
                 {"1us", "25h"},
                 "a duration such as 500ms, 2s or 1h30m, from 1ms to 24h"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                int64_t number = 77;
                g_autofree char *allowed = value_describe(&cases[i].type);
                g_assert_cmpstr(allowed, ==, cases[i].allowed);
                for (int k = 0; k < 2; k++)
                        g_assert_false(value_parse(&cases[i].type, cases[i].refused[k], &number));
                g_assert_cmpint(number, ==, 77);
                g_assert_true(value_parse(&cases[i].type, cases[i].taken, &number));
        }
}

static void
test_lists(void)
{
        g_auto(GStrv) list = value_split_list("a, b ,c d"), none = value_split_list("");
        g_assert_cmpuint(g_strv_length(list), ==, 3);
        g_assert_cmpstr(list[0], ==, "a");
        g_assert_cmpstr(list[1], ==, "b");
        g_assert_cmpstr(list[2], ==, "c d");
        g_assert_null(none[0]);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/value/sizes", test_sizes);
        g_test_add_func("/value/durations", test_durations);
        g_test_add_func("/value/bools", test_bools);
        g_test_add_func("/value/choices", test_choices);
        g_test_add_func("/value/ranges", test_ranges);
        g_test_add_func("/value/lists", test_lists);
        return g_test_run();
}
