#include "base/quantity.h"

#include <glib.h>
#include <string.h>

/* What a unit's letter multiplies with; 0 if it is none. */
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

/* Docker takes b, and k to p with nothing, b or ib behind it, in any case. */
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

bool
quantity_parse_size(const char *text, int unit, int64_t *ret_bytes)
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

/* Microseconds in a unit of Go's durations, and the length of its name; 0 if it is none. */
static double
duration_unit(const char *text, size_t *ret_len)
{
        static const struct {
                const char *name;
                double usec;
        } units[] = {
                {"ns", 1e-3}, {"us", 1},   {"µs", 1}, {"μs", 1},
                {"ms", 1e3},  {"s", 1e6},  {"m", 60e6},     {"h", 3600e6},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
                *ret_len = strlen(units[i].name);
                if (strncmp(text, units[i].name, *ret_len) == 0)
                        return units[i].usec;
        }
        return 0;
}

bool
quantity_parse_duration(const char *text, int64_t *ret_usec)
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

bool
quantity_parse_bool(const char *text, bool *ret_value)
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
