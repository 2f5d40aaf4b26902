/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/clock.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S INT64_C(1000000000)

/* 2026-11-21 20:41:05.490952399 UTC */
#define EVENING (INT64_C(1795293665) * NS_PER_S + 490952399)

static void
set_zone(const char *tz)
{
        g_assert_true(g_setenv("TZ", tz, TRUE));
        tzset();
}

static void
check_local(ClockFormatter *f, int64_t ns, const char *expected)
{
        char buf[CLOCK_LOCAL_LEN + 1];
        memset(buf, '!', sizeof buf);
        clock_format_local(f, ns, buf);
        g_assert_cmpint(buf[CLOCK_LOCAL_LEN], ==, '!');
        buf[CLOCK_LOCAL_LEN] = '\0';
        g_assert_cmpstr(buf, ==, expected);
}

static void
test_zones(void)
{
        static const struct {
                const char *tz, *expected;
        } zones[] = {
                {"UTC0", "2026-11-21T20:41:05.490952399+00:00"},
                {"IST-5:30", "2026-11-22T02:11:05.490952399+05:30"},
                {"NST3:30", "2026-11-21T17:11:05.490952399-03:30"},
                {"XXX0:30", "2026-11-21T20:11:05.490952399-00:30"},
                {"LINT-14", "2026-11-22T10:41:05.490952399+14:00"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(zones); i++) {
                ClockFormatter f = {0};
                set_zone(zones[i].tz);
                check_local(&f, EVENING, zones[i].expected);
        }
}

/* The cached prefix of one second must not be used for another one. */
static void
test_seconds(void)
{
        ClockFormatter f = {0};
        set_zone("UTC0");
        check_local(&f, EVENING, "2026-11-21T20:41:05.490952399+00:00");
        check_local(&f, EVENING + 1, "2026-11-21T20:41:05.490952400+00:00");
        check_local(&f, EVENING + NS_PER_S, "2026-11-21T20:41:06.490952399+00:00");
        check_local(&f, EVENING, "2026-11-21T20:41:05.490952399+00:00");
        check_local(&f, 0, "1970-01-01T00:00:00.000000000+00:00");
}

static void
test_epoch_first(void)
{
        ClockFormatter f = {0};
        set_zone("UTC0");
        check_local(&f, 7, "1970-01-01T00:00:00.000000007+00:00");
}

/* At the end of daylight saving time the offset changes, and one hour is repeated. */
static void
test_summer_time(void)
{
        ClockFormatter f = {0};
        int64_t end = INT64_C(1792890000) * NS_PER_S; /* 2026-10-25 01:00 UTC */
        set_zone("CET-1CEST,M3.5.0,M10.5.0/3");
        check_local(&f, end - NS_PER_S, "2026-10-25T02:59:59.000000000+02:00");
        check_local(&f, end, "2026-10-25T02:00:00.000000000+01:00");
}

static void
check_utc(int64_t ns, const char *expected)
{
        char buf[CLOCK_UTC_SIZE];
        g_assert_cmpuint(clock_format_utc(ns, buf), ==, strlen(expected));
        g_assert_cmpstr(buf, ==, expected);
}

static void
test_utc(void)
{
        set_zone("IST-5:30");
        check_utc(EVENING, "2026-11-21T20:41:05.490952399Z");
        check_utc(EVENING / NS_PER_S * NS_PER_S, "2026-11-21T20:41:05Z");
        check_utc(EVENING / NS_PER_S * NS_PER_S + 120000000, "2026-11-21T20:41:05.12Z");
        check_utc(EVENING / NS_PER_S * NS_PER_S + 1, "2026-11-21T20:41:05.000000001Z");
        check_utc(INT64_C(951782400) * NS_PER_S, "2000-02-29T00:00:00Z");
        for (int64_t second = 0; second < INT64_C(9000000000); second += 86399) {
                time_t time = (time_t)second;
                struct tm tm;
                char expected[CLOCK_UTC_SIZE];
                (void)strftime(expected, sizeof expected, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&time, &tm));
                check_utc(second * NS_PER_S, expected);
        }
}

static void
test_realtime(void)
{
        int64_t before = g_get_real_time() * 1000;
        int64_t now = clock_realtime_ns();
        int64_t after = (g_get_real_time() + 1) * 1000;
        g_assert_cmpint(now, >=, before);
        g_assert_cmpint(now, <=, after);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/clock/zones", test_zones);
        g_test_add_func("/clock/seconds", test_seconds);
        g_test_add_func("/clock/epoch-first", test_epoch_first);
        g_test_add_func("/clock/summer-time", test_summer_time);
        g_test_add_func("/clock/utc", test_utc);
        g_test_add_func("/clock/realtime", test_realtime);
        return g_test_run();
}
