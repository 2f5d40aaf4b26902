#include "log/option.h"

#include "base/error.h"
#include "base/quantity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One option with what was given for it. */
typedef struct {
        const LogOption *option;
        char **values; /* ends with NULL; NULL: none given */
        size_t n;
} Slot;

struct LogOptions {
        const char *driver;
        size_t n;
        Slot *slots;
};

static bool
is_there(const GArray *slots, const char *name)
{
        for (guint i = 0; i < slots->len; i++)
                if (strcmp(g_array_index(slots, Slot, i).option->name, name) == 0)
                        return true;
        return false;
}

static void
add_table(GArray *slots, const LogOption *table)
{
        for (; table && table->name; table++) {
                Slot slot = {.option = table};
                if (!is_there(slots, table->name))
                        g_array_append_val(slots, slot);
        }
}

LogOptions *
log_options_new(const char *driver, const LogOption *const *tables)
{
        LogOptions *o = g_new0(LogOptions, 1);
        GArray *slots = g_array_new(FALSE, FALSE, sizeof(Slot));
        for (; *tables; tables++)
                add_table(slots, *tables);
        o->driver = driver;
        o->n = slots->len;
        o->slots = (Slot *)g_array_free(slots, FALSE);
        return o;
}

void
log_options_free(LogOptions *o)
{
        if (!o)
                return;
        for (size_t i = 0; i < o->n; i++)
                g_strfreev(o->slots[i].values);
        g_free(o->slots);
        g_free(o);
}

static Slot *
find_slot(const LogOptions *o, const char *key)
{
        for (size_t i = 0; i < o->n; i++)
                if (strcmp(o->slots[i].option->name, key) == 0)
                        return &o->slots[i];
        return NULL;
}

/* For the program's own look-ups, which name options that exist. */
static Slot *
get_slot(const LogOptions *o, const char *key)
{
        Slot *slot = find_slot(o, key);
        if (!slot)
                g_error("log driver %s has no option %s", o->driver, key);
        return slot;
}

const LogOption *
log_options_table(const LogOptions *o, size_t i)
{
        return i < o->n ? o->slots[i].option : NULL;
}

bool
log_options_repeats(const LogOptions *o, const char *key)
{
        return get_slot(o, key)->option->repeats;
}

bool
log_options_knows(const LogOptions *o, const char *key)
{
        return find_slot(o, key) != NULL;
}

static bool
parse_enum(const char *choices, const char *text, int64_t *ret_value)
{
        g_auto(GStrv) words = g_strsplit(choices, "|", -1);
        for (int i = 0; words[i]; i++) {
                if (strcmp(words[i], text) == 0) {
                        *ret_value = i;
                        return true;
                }
        }
        return false;
}

static bool
parse_value(const LogOption *option, const char *text, int64_t *ret_value)
{
        *ret_value = 0;
        bool flag = false;
        switch (option->type) {
        case LOG_OPTION_STRING:
        case LOG_OPTION_LIST:
                return true;
        case LOG_OPTION_BOOL:
                if (!quantity_parse_bool(text, &flag))
                        return false;
                *ret_value = flag;
                return true;
        case LOG_OPTION_ENUM:
                return parse_enum(option->choices, text, ret_value);
        case LOG_OPTION_INT:
                return g_ascii_string_to_signed(text, 10, INT64_MIN, INT64_MAX, ret_value, NULL);
        case LOG_OPTION_SIZE:
                return quantity_parse_size(text, 1000, ret_value);
        case LOG_OPTION_BINARY_SIZE:
                return quantity_parse_size(text, 1024, ret_value);
        case LOG_OPTION_DURATION:
                return quantity_parse_duration(text, ret_value);
        }
        return false;
}

static bool
is_allowed(const LogOption *option, const char *text)
{
        int64_t value;
        if (!parse_value(option, text, &value))
                return false;
        bool counts = option->type == LOG_OPTION_INT || option->type == LOG_OPTION_SIZE ||
                      option->type == LOG_OPTION_BINARY_SIZE || option->type == LOG_OPTION_DURATION;
        return !counts || (value >= option->min && (option->max == 0 || value <= option->max));
}

static char *
describe_range(const LogOption *option, const char *what)
{
        double scale = option->type == LOG_OPTION_DURATION ? 1e6 : 1;
        const char *unit = option->type == LOG_OPTION_DURATION ? "s" : "";
        GString *text = g_string_new(what);
        /* A size or duration can't be given as less than 0 in the first place. */
        if (option->min > 0 || option->type == LOG_OPTION_INT)
                g_string_append_printf(text, ", at least %.15g%s", (double)option->min / scale, unit);
        if (option->max > 0)
                g_string_append_printf(text, ", at most %.15g%s", (double)option->max / scale, unit);
        return g_string_free(text, FALSE);
}

static char *
describe_allowed(const LogOption *option)
{
        switch (option->type) {
        case LOG_OPTION_BOOL:
                return g_strdup("true or false");
        case LOG_OPTION_ENUM: {
                g_auto(GStrv) words = g_strsplit(option->choices, "|", -1);
                return g_strjoinv(", ", words);
        }
        case LOG_OPTION_INT:
                return describe_range(option, "a whole number");
        case LOG_OPTION_SIZE:
        case LOG_OPTION_BINARY_SIZE:
                return describe_range(option, "a size such as 100k, 10m or 1g");
        case LOG_OPTION_DURATION:
                return describe_range(option, "a duration such as 500ms, 2s or 1m30s");
        default:
                return g_strdup("any text");
        }
}

bool
log_options_hides(const LogOptions *o, const char *key)
{
        g_autofree char *file = g_strconcat(key, "-file", NULL), *env = g_strconcat(key, "-env", NULL);
        return find_slot(o, file) && find_slot(o, env);
}

static gboolean
fail_unknown(const LogOptions *o, const char *key, const char *value, GError **error)
{
        if (log_options_hides(o, key))
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: option %s can't be given as such, because everybody could "
                                 "read the secret in the arguments; use %s-file or %s-env",
                                 o->driver, key, key, key);
        GString *names = g_string_new(NULL);
        for (size_t i = 0; i < o->n; i++)
                g_string_append_printf(names, "%s%s", i ? ", " : "", o->slots[i].option->name);
        error_set(error, CONMON_ERROR_USAGE, "Log driver %s has no option %s (given as %s=%s); it has: %s",
                  o->driver, key, key, value, names->str);
        g_string_free(names, TRUE);
        return FALSE;
}

static void
keep_value(Slot *slot, const char *value)
{
        if (!slot->option->repeats && slot->n > 0)
                g_free(slot->values[--slot->n]);
        slot->values = g_renew(char *, slot->values, slot->n + 2);
        slot->values[slot->n++] = g_strdup(value);
        slot->values[slot->n] = NULL;
}

gboolean
log_options_set(LogOptions *o, const char *key, const char *value, GError **error)
{
        Slot *slot = find_slot(o, key);
        if (!slot)
                return fail_unknown(o, key, value, error);
        if (!is_allowed(slot->option, value)) {
                g_autofree char *allowed = describe_allowed(slot->option);
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: option %s can't be '%s'; allowed: %s", o->driver, key, value,
                                 allowed);
        }
        if (slot->option->check && !slot->option->check(o->driver, value, error))
                return FALSE;
        keep_value(slot, value);
        return TRUE;
}

void
log_options_inherit(LogOptions *o, const LogOptions *from)
{
        for (size_t i = 0; i < from->n; i++) {
                Slot *slot = find_slot(o, from->slots[i].option->name);
                for (size_t k = 0; slot && k < from->slots[i].n; k++)
                        keep_value(slot, from->slots[i].values[k]);
        }
}

bool
log_options_has(const LogOptions *o, const char *key)
{
        return get_slot(o, key)->values != NULL;
}

const char *
log_options_string(const LogOptions *o, const char *key)
{
        const Slot *slot = get_slot(o, key);
        return slot->values ? slot->values[slot->n - 1] : slot->option->fallback;
}

int64_t
log_options_number(const LogOptions *o, const char *key)
{
        const Slot *slot = get_slot(o, key);
        const char *text = log_options_string(o, key);
        int64_t value = 0;
        if (text)
                (void)parse_value(slot->option, text, &value);
        return value;
}

const char *const *
log_options_all(const LogOptions *o, const char *key)
{
        static const char *const none[] = {NULL};
        const Slot *slot = get_slot(o, key);
        return slot->values ? (const char *const *)slot->values : none;
}
