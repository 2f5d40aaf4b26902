/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/option.h"

#include "base/diag.h"
#include "base/error.h"
#include "log/api/metadata.h"

#include <string.h>

/* One option with its given values. */
typedef struct {
        const LogOption *option;
        LogOptionCheck check; /* NULL: none */
        char *values; /* the struct of its table */
        char **texts; /* ends with NULL; NULL: none given */
        size_t n;
        char **list; /* the elements of a LIST */
} Slot;

struct LogOptions {
        unsigned n_references;
        const char *driver;
        void **values; /* one struct a table */
        size_t n_tables;
        Slot *slots;
        size_t n;
};

/* An empty text is a default only where it can be chosen. */
const char *
log_option_fallback(const LogOption *option)
{
        int64_t index;
        bool chosen = option->type.kind == VALUE_CHOICE && value_parse(&option->type, "", &index);
        return *option->fallback || chosen ? option->fallback : NULL;
}

static Slot *
find_slot(const LogOptions *o, const char *key)
{
        for (size_t i = 0; i < o->n; i++)
                if (strcmp(o->slots[i].option->name, key) == 0)
                        return &o->slots[i];
        return NULL;
}

/* Stores a checked text, or NULL for none, in the struct. */
static void
store(Slot *slot, const char *text)
{
        const LogOption *option = slot->option;
        void *field = slot->values + option->offset;
        int64_t number = 0;
        if (option->no_effect || *option->same_as)
                return;
        if (text)
                (void)value_parse(&option->type, text, &number);
        switch (option->type.kind) {
        case VALUE_TEXT:
        case VALUE_FILE:
                if (option->repeats)
                        *(char ***)field = slot->texts;
                else
                        *(const char **)field = text;
                break;
        case VALUE_LIST:
                g_strfreev(slot->list);
                slot->list = text ? value_split_list(text) : NULL;
                *(char ***)field = slot->list;
                break;
        case VALUE_BOOL:
                *(bool *)field = number != 0;
                break;
        case VALUE_CHOICE:
                *(int *)field = text ? (int)number : -1;
                break;
        default:
                *(int64_t *)field = number;
        }
        if (option->given > 0)
                *(bool *)(slot->values + option->given) = slot->n > 0;
}

static size_t
count_options(const LogOptionTable *tables, size_t n)
{
        size_t sum = 0;
        for (size_t i = 0; i < n; i++)
                for (const LogOption *option = tables[i].options; option && *option->name; option++)
                        sum++;
        return sum;
}

static LogOptionCheck
find_check(const LogOptionTable *table, LogCheck check)
{
        switch (check) {
        case LOG_CHECK_TEMPLATE:
                return log_metadata_check_template;
        case LOG_CHECK_REGEX:
                return log_metadata_check_regex;
        case LOG_CHECK_FIRST:
                return table->checks[0];
        case LOG_CHECK_SECOND:
                return table->checks[1];
        default:
                return NULL;
        }
}

static void
add_table(LogOptions *o, const LogOptionTable *table, void *values)
{
        for (const LogOption *option = table->options; option && *option->name; option++) {
                if (find_slot(o, option->name))
                        continue;
                Slot *slot = &o->slots[o->n++];
                *slot = (Slot){option, find_check(table, option->check), .values = values};
                store(slot, log_option_fallback(option));
        }
}

LogOptions *
log_options_new(const char *driver, const LogOptionTable *tables, size_t n)
{
        LogOptions *o = g_new0(LogOptions, 1);
        o->n_references = 1;
        o->driver = driver;
        o->n_tables = n;
        o->values = g_new0(void *, n);
        o->slots = g_new0(Slot, count_options(tables, n));
        for (size_t i = 0; i < n; i++) {
                o->values[i] = g_malloc0(tables[i].size);
                add_table(o, &tables[i], o->values[i]);
        }
        return o;
}

LogOptions *
log_options_ref(LogOptions *o)
{
        o->n_references++;
        return o;
}

void
log_options_free(LogOptions *o)
{
        if (!o || --o->n_references > 0)
                return;
        for (size_t i = 0; i < o->n; i++) {
                g_strfreev(o->slots[i].texts);
                g_strfreev(o->slots[i].list);
        }
        for (size_t i = 0; i < o->n_tables; i++)
                g_free(o->values[i]);
        g_free(o->values);
        g_free(o->slots);
        g_free(o);
}

const void *
log_options_values(const LogOptions *o, size_t i)
{
        return o->values[i];
}

const LogOption *
log_options_at(const LogOptions *o, size_t i)
{
        return i < o->n ? o->slots[i].option : NULL;
}

const char *
log_options_text(const LogOptions *o, size_t i)
{
        const Slot *slot = &o->slots[i];
        return slot->n > 0 ? slot->texts[slot->n - 1] : NULL;
}

const LogOption *
log_options_find(const LogOptions *o, const char *key)
{
        const Slot *slot = find_slot(o, key);
        return slot ? slot->option : NULL;
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
        g_autoptr(GString) names = g_string_new(NULL);
        for (size_t i = 0; i < o->n; i++)
                g_string_append_printf(names, "%s%s", i ? ", " : "", o->slots[i].option->name);
        return error_set(error, CONMON_ERROR_USAGE,
                         "Log driver %s has no option %s (given as %s=%s); it has: %s", o->driver, key, key,
                         value, names->str);
}

static void
keep_text(Slot *slot, const char *text)
{
        char *old = NULL; /* which `text` may be */
        if (!slot->option->repeats && slot->n > 0)
                old = slot->texts[--slot->n];
        slot->texts = g_renew(char *, slot->texts, slot->n + 2);
        slot->texts[slot->n++] = g_strdup(text);
        slot->texts[slot->n] = NULL;
        store(slot, slot->texts[slot->n - 1]);
        g_free(old);
}

gboolean
log_options_set(LogOptions *o, const char *key, const char *value, GError **error)
{
        Slot *slot = find_slot(o, key);
        int64_t number;
        if (slot && *slot->option->same_as)
                slot = find_slot(o, slot->option->same_as);
        if (!slot)
                return fail_unknown(o, key, value, error);
        if (!slot->option->no_effect && !value_parse(&slot->option->type, value, &number)) {
                g_autofree char *allowed = value_describe(&slot->option->type);
                return error_set(error, CONMON_ERROR_USAGE,
                                 "Log driver %s: option %s can't be '%s'; allowed: %s", o->driver, key, value,
                                 allowed);
        }
        if (slot->check && !slot->check(o->driver, value, error))
                return FALSE;
        keep_text(slot, value);
        return TRUE;
}

static bool
are_equal(char **a, char **b)
{
        return a && b ? g_strv_equal((const char *const *)a, (const char *const *)b) : a == b;
}

bool
log_options_differ(const LogOptions *a, const LogOptions *b, size_t i, bool adopted)
{
        for (size_t k = 0; k < a->n; k++) {
                const Slot *slot = &a->slots[k];
                if (slot->values != a->values[i] || (adopted && slot->option->adopted))
                        continue;
                if (!are_equal(slot->texts, b->slots[k].texts))
                        return true;
        }
        return false;
}

static unsigned
distance(const char *a, const char *b)
{
        size_t n = strlen(b);
        g_autofree unsigned *row = g_new(unsigned, n + 1);
        for (size_t i = 0; i <= n; i++)
                row[i] = (unsigned)i;
        for (; *a; a++) {
                unsigned diagonal = row[0]++;
                for (size_t i = 1; i <= n; i++) {
                        unsigned changed = diagonal + (*a != b[i - 1]);
                        diagonal = row[i];
                        row[i] = MIN(changed, MIN(row[i - 1], diagonal) + 1);
                }
        }
        return row[n];
}

void
log_options_find_similar(const LogOptions *o, const char *key, unsigned letters, GPtrArray *names)
{
        for (size_t i = 0; i < o->n; i++) {
                const char *name = o->slots[i].option->name;
                if (distance(key, name) == letters &&
                    !g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL))
                        g_ptr_array_add(names, (char *)name);
        }
}

void
log_options_report_unused(const LogOptions *o)
{
        for (size_t i = 0; i < o->n; i++)
                if (o->slots[i].n > 0 && o->slots[i].option->no_effect)
                        diag_warn("Log driver %s: option %s has no effect: %s", o->driver,
                                  o->slots[i].option->name, o->slots[i].option->help);
}

void
log_options_inherit(LogOptions *o, const LogOptions *from)
{
        for (size_t i = 0; i < from->n; i++) {
                Slot *slot = find_slot(o, from->slots[i].option->name);
                for (size_t k = 0; slot && k < from->slots[i].n; k++)
                        keep_text(slot, from->slots[i].texts[k]);
        }
}

void
log_options_save(const LogOptions *o, StateWriter *w)
{
        for (size_t i = 0; i < o->n; i++) {
                for (size_t k = 0; k < o->slots[i].n; k++) {
                        state_begin(w, "option");
                        state_put_text(w, "key", o->slots[i].option->name);
                        state_put_text(w, "value", o->slots[i].texts[k]);
                        state_end(w);
                }
        }
}

void
log_options_restore(LogOptions *o, StateReader *r)
{
        while (state_enter_next(r, "option")) {
                g_autoptr(GError) error = NULL;
                g_autofree char *key = state_get_text(r, "key"), *value = state_get_text(r, "value");
                state_leave(r);
                if (!key || !value)
                        state_fail(r, "An option has no name or no value");
                else if (!log_options_set(o, key, value, &error))
                        state_fail(r, "%s", error->message);
        }
}
