#pragma once

/* The options of log drivers: --log-opt [DRIVER.]KEY=VALUE. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
        LOG_OPTION_STRING,
        LOG_OPTION_BOOL,         /* true, false, yes, no, 1, 0, t, f, in any case */
        LOG_OPTION_INT,          /* a whole number within the option's min and max */
        LOG_OPTION_SIZE,         /* bytes with Docker's units of 1000: 10m, 10mb and 10mib are 10000000 */
        LOG_OPTION_BINARY_SIZE,  /* bytes with Docker's units of 1024: 1m is 1048576 */
        LOG_OPTION_DURATION,     /* as Go has them: 500ms, 2s, 1m30s; kept in microseconds */
        LOG_OPTION_ENUM,         /* one of the option's choices */
        LOG_OPTION_LIST,         /* names with commas between them, no trimming */
} LogOptionType;

typedef struct LogOption {
        const char *name;
        LogOptionType type;
        const char *fallback; /* the default as one would write it, checked by a test; NULL: not set */
        const char *help;     /* one line */
        const char *choices;  /* of an ENUM, with | between them */
        int64_t min, max;     /* of an INT, a size or a duration; max 0: no limit */
        bool repeats;         /* given more than once, all values count; else the last one does */
        /* Looks for what the type does not say, in nothing but the value. May be NULL. */
        gboolean (*check)(const char *driver, const char *value, GError **error);
} LogOption;

/* The options of one sink: some tables, and the values that were given. */
typedef struct LogOptions LogOptions;

/* `tables` is a list of option arrays, each of which ends with a name of NULL; the list ends with NULL. Of
 * several options of one name the first one counts. `driver` is the name that messages use. Everything but
 * the list itself must outlive the options. */
LogOptions *log_options_new(const char *driver, const LogOption *const *tables);
void log_options_free(LogOptions *o);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogOptions, log_options_free)

/* Option number i, NULL behind the last one. */
const LogOption *log_options_table(const LogOptions *o, size_t i);

/* True if all values of this option count, not only the last one. */
bool log_options_repeats(const LogOptions *o, const char *key);

/* True if there is an option of this name. */
bool log_options_knows(const LogOptions *o, const char *key);

/* True if `key` is a secret that options KEY-file and KEY-env are for: it can't be set, and no
 * sentence repeats the value. */
bool log_options_hides(const LogOptions *o, const char *key);

/* Checks and keeps a value. The sentence of a failure names driver, key, value and what is allowed. */
gboolean log_options_set(LogOptions *o, const char *key, const char *value, GError **error);

/* Takes the values that were given in `from` for the options that are in both. */
void log_options_inherit(LogOptions *o, const LogOptions *from);

/* True if a value was given. */
bool log_options_has(const LogOptions *o, const char *key);

/* The value given last, or the default, which may be NULL. Owned by the options. */
const char *log_options_string(const LogOptions *o, const char *key);

/* The same as a number (bytes, microseconds, 0 or 1 for BOOL, the index of an ENUM's choice); 0 if there is
 * neither a value nor a default. */
int64_t log_options_number(const LogOptions *o, const char *key);

/* All values of an option that repeats, in order, ends with NULL, never NULL itself. Owned by the options. */
const char *const *log_options_all(const LogOptions *o, const char *key);
