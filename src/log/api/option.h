/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The options of log drivers: --log-opt [DRIVER.]KEY=VALUE. A table defines the options and the struct
 * member of each value, so that drivers read their options as members of their own struct. */

#include "base/state.h"
#include "base/value.h"

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an annotation of the container may do with an option. */
typedef enum {
        LOG_ANNOTATIONS_REFUSED, /* may not set it: paths, programs, secrets, the container's environment */
        LOG_ANNOTATIONS_ALLOWED, /* may set it; a size is limited then */
        LOG_ANNOTATIONS_ADDRESS, /* may set it to an address of the network, or to a local socket that the
                                  * policy lists */
} LogAnnotations;

/* Checks what the type of an option does not express, from the value alone. */
typedef gboolean (*LogOptionCheck)(const char *driver, const char *value, GError **error);

typedef enum {
        LOG_CHECK_NONE,
        LOG_CHECK_TEMPLATE, /* a template, see log/api/template.h */
        LOG_CHECK_REGEX,    /* a regular expression */
        LOG_CHECK_FIRST,    /* LogOptionTable.checks[0] */
        LOG_CHECK_SECOND,   /* LogOptionTable.checks[1] */
} LogCheck;

/* One option. It has no pointers, and a table of options none: every monitor has all tables, and one with
 * pointers is private memory, since they are relocated. The compiler says if a text is too long, or a test if
 * only its NUL is missing. The member of the struct at `offset` has a type that follows from the value's:
 *
 *     TEXT, FILE                        const char *        NULL if there is neither a value nor a default
 *     TEXT, FILE that repeat            const char *const * ends with NULL; NULL if there is none
 *     LIST                              const char *const * the same
 *     BOOL                              bool
 *     CHOICE                            int                 the index; -1 if there is none
 *     INT, SIZE, BINARY_SIZE, DURATION  int64_t             0 if there is none
 */
typedef struct LogOption {
        char name[36];
        ValueType type;
        size_t offset;
        char fallback[24]; /* the default, see log_option_fallback; checked by a test */
        char help[192];    /* one line */
        size_t given;      /* offset of a bool: a value was given; 0: there is none */
        LogAnnotations annotations;
        bool adopted;      /* an open driver can change the value (LogDriver.adopt) */
        bool repeats;      /* given more than once, all values are used; else the last one */
        /* The option of another program has no effect here: any value is accepted and none is stored.
         * `help` says why. */
        bool no_effect;
        LogCheck check;
        char same_as[16]; /* an alias of this option, which stores the value; "" for all others */
} LogOption;

/* The default of an option as text; NULL: not set. */
const char *log_option_fallback(const LogOption *option);

/* Options and the size of the struct that their offsets are in. */
typedef struct LogOptionTable {
        const LogOption *options; /* ends with a name of ""; may be NULL */
        size_t size;
        LogOptionCheck checks[2]; /* of LOG_CHECK_FIRST and LOG_CHECK_SECOND */
} LogOptionTable;

/* The options of one sink: some tables, a struct for each of them, and the given texts. */
typedef struct LogOptions LogOptions;

/* Allocates the structs of `n` tables and fills in the defaults. Of several options of one name the first
 * is used. `driver` is the name that messages use. The driver's name and the options must outlive this. */
LogOptions *log_options_new(const char *driver, const LogOptionTable *tables, size_t n);

/* Options are reference-counted by what points into their structs. */
LogOptions *log_options_ref(LogOptions *o);
void log_options_free(LogOptions *o);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogOptions, log_options_free)

/* The struct of table number i; NULL if its size is 0. Lives as long as the options; strings in it, too. */
const void *log_options_values(const LogOptions *o, size_t i);

/* Option number i of all tables, NULL after the last one. */
const LogOption *log_options_at(const LogOptions *o, size_t i);

/* Its given text, the last one of several; NULL: not given. */
const char *log_options_text(const LogOptions *o, size_t i);

/* The option of this name, NULL if there is none. */
const LogOption *log_options_find(const LogOptions *o, const char *key);

/* True if `key` is a secret that options KEY-file and KEY-env are for: it can't be set, and messages do
 * not repeat the value. */
bool log_options_hides(const LogOptions *o, const char *key);

/* Checks and stores a value. The error message has driver, key, value and what is allowed. */
gboolean log_options_set(LogOptions *o, const char *key, const char *value, GError **error);

/* True if the values of an option of table number i differ; both have the same tables. `adopted`: options
 * that an open driver can change are ignored. */
bool log_options_differ(const LogOptions *a, const LogOptions *b, size_t i, bool adopted);

/* Adds the names, borrowed, within this Levenshtein distance of `key` to the list. */
void log_options_find_similar(const LogOptions *o, const char *key, unsigned letters, GPtrArray *names);

/* Warns about given options that have no effect. */
void log_options_report_unused(const LogOptions *o);

/* Live upgrade: the given values. Restoring starts with options of which none is given. */
void log_options_save(const LogOptions *o, StateWriter *w);
void log_options_restore(LogOptions *o, StateReader *r);

/* Copies the given values of `from` for options that are in both. */
void log_options_inherit(LogOptions *o, const LogOptions *from);
