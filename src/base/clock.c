/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/clock.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S INT64_C(1000000000)

int64_t
clock_realtime_ns(void)
{
        struct timespec now = {0};
        if (clock_gettime(CLOCK_REALTIME, &now) < 0)
                return 0;
        return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static void
put_digits(char *at, int n, uint64_t value)
{
        for (int i = n - 1; i >= 0; i--) {
                at[i] = (char)('0' + value % 10);
                value /= 10;
        }
}

/* "YYYY-MM-DDTHH:MM:SS", 19 bytes; years beyond four digits don't occur in a log. */
static void
put_date_time(char *at, const struct tm *tm)
{
        memcpy(at, "0000-00-00T00:00:00", 19);
        put_digits(at, 4, (uint64_t)(tm->tm_year + 1900));
        put_digits(at + 5, 2, (uint64_t)(tm->tm_mon + 1));
        put_digits(at + 8, 2, (uint64_t)tm->tm_mday);
        put_digits(at + 11, 2, (uint64_t)tm->tm_hour);
        put_digits(at + 14, 2, (uint64_t)tm->tm_min);
        put_digits(at + 17, 2, (uint64_t)tm->tm_sec);
}

static void
refresh(ClockFormatter *f, time_t second)
{
        struct tm tm = {.tm_year = 70, .tm_mday = 1};
        (void)localtime_r(&second, &tm);
        put_date_time(f->head, &tm);
        f->head[19] = '.';
        long minutes = labs(tm.tm_gmtoff) / 60;
        f->offset[0] = tm.tm_gmtoff < 0 ? '-' : '+';
        put_digits(f->offset + 1, 2, (uint64_t)(minutes / 60));
        f->offset[3] = ':';
        put_digits(f->offset + 4, 2, (uint64_t)(minutes % 60));
        f->second = second;
}

void
clock_format_local(ClockFormatter *f, int64_t ns, char *buf)
{
        time_t second = (time_t)(ns / NS_PER_S);
        if (second != f->second || f->head[0] == '\0')
                refresh(f, second);
        memcpy(buf, f->head, sizeof f->head);
        put_digits(buf + 20, 9, (uint64_t)(ns % NS_PER_S));
        memcpy(buf + 29, f->offset, sizeof f->offset);
}

static int64_t
leap_years_before(int64_t year)
{
        return (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
}

/* Days from 1970 to the first of a year. */
static int64_t
first_day(int64_t year)
{
        return 365 * (year - 1970) + leap_years_before(year) - leap_years_before(1970);
}

/* Like gmtime_r(3), which would also read the file of the local time zone on its first call. */
static void
break_down(int64_t second, struct tm *ret)
{
        static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        int64_t day = second / 86400, rest = second % 86400, year = 1970 + day / 365;
        while (first_day(year) > day)
                year--;
        bool leap = first_day(year + 1) - first_day(year) == 366;
        int left = (int)(day - first_day(year)), month = 0;
        for (int n; left >= (n = month_days[month] + (leap && month == 1)); month++)
                left -= n;
        *ret = (struct tm){
                .tm_year = (int)(year - 1900),
                .tm_mon = month,
                .tm_mday = left + 1,
                .tm_hour = (int)(rest / 3600),
                .tm_min = (int)(rest / 60 % 60),
                .tm_sec = (int)(rest % 60),
        };
}

size_t
clock_format_utc(int64_t ns, char *buf)
{
        struct tm tm;
        break_down(ns / NS_PER_S, &tm);
        put_date_time(buf, &tm);
        size_t len = 19;
        uint64_t fraction = (uint64_t)(ns % NS_PER_S);
        if (fraction) {
                buf[len] = '.';
                put_digits(buf + len + 1, 9, fraction);
                len += 10;
                while (buf[len - 1] == '0')
                        len--;
        }
        buf[len++] = 'Z';
        buf[len] = '\0';
        return len;
}
