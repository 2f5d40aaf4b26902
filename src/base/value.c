/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/value.h"

#include <glib.h>
#include <string.h>

/* The factor of a unit's letter; 0 if it is not one. */
static double
unit_factor(char letter, int unit)
{
        const char *letters = "kmgtp";
        const char *at = letter ? strchr(letters, g_ascii_tolower(letter)) : NULL;
        if (!at)
                return 0;
        double factor = unit;
        for (; at > letters; at--)
                factor *= unit;
        return factor;
}

/* Docker accepts b, and k to p followed by nothing, b or ib, in any case. */
static bool
parse_unit(const char *text, int unit, double *ret_factor)
{
        *ret_factor = 1;
        if (*text == '\0' || g_ascii_strcasecmp(text, "b") == 0)
                return true;
        *ret_factor = unit_factor(text[0], unit);
        const char *rest = text + 1;
        return *ret_factor > 0 &&
               (*rest == '\0' || g_ascii_strcasecmp(rest, "b") == 0 || g_ascii_strcasecmp(rest, "ib") == 0);
}

/* Parses a size as Docker does: 512, 10k, 1.5m, 2GiB. `unit` is 1000 or 1024; "k" and "kib" mean the same. */
static bool
parse_size(const char *text, int unit, int64_t *ret_bytes)
{
        size_t digits = strspn(text, "0123456789.");
        if (digits == 0 || strcspn(text, "0123456789") >= digits)
                return false;
        char *end = NULL;
        double number = g_ascii_strtod(text, &end);
        if (end != text + digits)
                return false;
        double factor;
        if (!parse_unit(*end == ' ' ? end + 1 : end, unit, &factor))
                return false;
        if (number * factor >= 9.2e18)
                return false;
        *ret_bytes = (int64_t)(number * factor);
        return true;
}

/* Microseconds in a unit of Go's durations, and the length of its name; 0 if it is not one. */
static double
duration_unit(const char *text, size_t *ret_len)
{
        static const struct {
                const char *name;
                double usec;
        } units[] = {
                {"ns", 1e-3}, {"us", 1},  {"µs", 1},   {"μs", 1},
                {"ms", 1e3},  {"s", 1e6}, {"m", 60e6}, {"h", 3600e6},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
                *ret_len = strlen(units[i].name);
                if (strncmp(text, units[i].name, *ret_len) == 0)
                        return units[i].usec;
        }
        return 0;
}

/* Parses a duration as Go does, but not negative ones. */
static bool
parse_duration(const char *text, int64_t *ret_usec)
{
        if (strcmp(text, "0") == 0) {
                *ret_usec = 0;
                return true;
        }
        double sum = 0;
        const char *at = text + (*text == '+');
        do {
                size_t digits = strspn(at, "0123456789."), len;
                if (digits == 0 || strcspn(at, "0123456789") >= digits)
                        return false;
                char *end = NULL;
                double number = g_ascii_strtod(at, &end);
                double unit = duration_unit(end, &len);
                if (end != at + digits || unit == 0)
                        return false;
                sum += number * unit;
                at = end + len;
        } while (*at);
        if (sum >= 9.2e18)
                return false;
        *ret_usec = (int64_t)sum;
        return true;
}

static bool
parse_bool(const char *text, int64_t *ret_value)
{
        static const char *const words[] = {"0", "f", "false", "no", "1", "t", "true", "yes"};
        for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
                if (g_ascii_strcasecmp(text, words[i]) == 0) {
                        *ret_value = i >= 4;
                        return true;
                }
        }
        return false;
}

static bool
parse_choice(const char *choices, const char *text, int64_t *ret_index)
{
        size_t len = strlen(text);
        const char *end;
        for (int64_t i = 0;; i++, choices = end + 1) {
                end = strchrnul(choices, '|');
                if ((size_t)(end - choices) == len && memcmp(choices, text, len) == 0) {
                        *ret_index = i;
                        return true;
                }
                if (*end == '\0')
                        return false;
        }
}

static bool
is_in_range(const ValueType *type, int64_t number)
{
        return number >= type->min && (type->max == 0 || number <= type->max);
}

static bool
parse_number(const ValueType *type, const char *text, int64_t *ret_number)
{
        switch (type->kind) {
        case VALUE_BOOL:
                return parse_bool(text, ret_number);
        case VALUE_CHOICE:
                return parse_choice(type->choices, text, ret_number);
        case VALUE_INT:
                return g_ascii_string_to_signed(text, 10, INT64_MIN, INT64_MAX, ret_number, NULL);
        case VALUE_SIZE:
                return parse_size(text, 1000, ret_number);
        case VALUE_BINARY_SIZE:
                return parse_size(text, 1024, ret_number);
        case VALUE_DURATION:
                return parse_duration(text, ret_number);
        default:
                *ret_number = 0;
                return true;
        }
}

bool
value_parse(const ValueType *type, const char *text, int64_t *ret_number)
{
        bool ranged = type->kind >= VALUE_INT;
        int64_t number;
        if (!parse_number(type, text, &number) || (ranged && !is_in_range(type, number)))
                return false;
        *ret_number = number;
        return true;
}

/* Formats a number in the largest unit that divides it. */
static void
append_number(GString *text, ValueKind kind, int64_t number)
{
        static const struct Unit {
                int64_t factor;
                const char *name;
        } sizes[] = {{1000000000, "g"}, {1000000, "m"}, {1000, "k"}},
          binary_sizes[] = {{1 << 30, "g"}, {1 << 20, "m"}, {1 << 10, "k"}},
          durations[] = {{3600000000, "h"}, {60000000, "m"}, {1000000, "s"}, {1000, "ms"}, {1, "us"}};
        const struct Unit *units;
        units = kind == VALUE_SIZE ? sizes : kind == VALUE_BINARY_SIZE ? binary_sizes : durations;
        size_t n = kind == VALUE_INT ? 0 : kind == VALUE_DURATION ? G_N_ELEMENTS(durations) : 3;
        size_t i = 0;
        while (i < n && number % units[i].factor != 0)
                i++;
        g_string_append_printf(text, "%" G_GINT64_FORMAT "%s", i < n ? number / units[i].factor : number,
                               i < n ? units[i].name : "");
}

char *
value_describe_range(const ValueType *type)
{
        GString *text = g_string_new(NULL);
        /* Sizes and durations are never negative. */
        bool has_min = type->min != 0 || type->kind == VALUE_INT;
        if (has_min) {
                g_string_append(text, type->max > 0 ? "from " : "at least ");
                append_number(text, type->kind, type->min);
        }
        if (type->max > 0) {
                g_string_append(text, has_min ? " to " : "at most ");
                append_number(text, type->kind, type->max);
        }
        return g_string_free(text, FALSE);
}

char *
value_describe(const ValueType *type)
{
        const char *what = "any text";
        switch (type->kind) {
        case VALUE_BOOL:
                what = "true or false";
                break;
        case VALUE_CHOICE: {
                g_auto(GStrv) words = g_strsplit(type->choices, "|", -1);
                g_autofree char *list = g_strjoinv(", ", words);
                return g_strconcat(list, g_str_has_suffix(list, ", ") ? "or nothing" : "", NULL);
        }
        case VALUE_INT:
                what = "a whole number";
                break;
        case VALUE_SIZE:
        case VALUE_BINARY_SIZE:
                what = "a size such as 100k, 10m or 1g";
                break;
        case VALUE_DURATION:
                what = "a duration such as 500ms, 2s or 1h30m";
                break;
        case VALUE_TEXT:
        case VALUE_FILE:
        case VALUE_LIST:
                break;
        }
        g_autofree char *range = value_describe_range(type);
        return g_strconcat(what, *range ? ", " : "", range, NULL);
}

const char *
value_placeholder(const ValueType *type)
{
        static const char *const names[] = {
                [VALUE_TEXT] = "TEXT",        [VALUE_FILE] = "FILE",     [VALUE_LIST] = "A,B,...",
                [VALUE_BOOL] = "true|false",  [VALUE_INT] = "N",         [VALUE_SIZE] = "SIZE",
                [VALUE_BINARY_SIZE] = "SIZE", [VALUE_DURATION] = "TIME",
        };
        return type->kind == VALUE_CHOICE ? type->choices : names[type->kind];
}

char **
value_split_list(const char *text)
{
        char **list = g_strsplit(text, ",", -1);
        for (char **element = list; *element; element++)
                g_strstrip(*element);
        return list;
}
