/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Metadata of the container: options tag, labels, env, and those of the command line. */

#include "log/api/bundle.h"
#include "log/api/driver.h"

typedef struct LogMetadata {
        char *short_id;           /* the first 12 characters of the id */
        char host[256];           /* the name of this host; "": unknown */
        char *tag;                /* NULL if there is neither a tag nor a default */
        LogAttribute *attributes; /* labels and environment, sorted by key, each key once */
        size_t n_attributes;
} LogMetadata;

typedef struct LogMetadataOptions {
        const char *tag; /* a template */
        const char *const *labels;
        const char *labels_regex;
        const char *const *env;
        const char *env_regex;
} LogMetadataOptions;

/* The options of drivers with LOG_DRIVER_METADATA, for their tables; `member` of the struct `type` is a
 * LogMetadataOptions. Expressions are the administrator's: some take very long. */
#define LOG_METADATA_OPTIONS(type, member)                                                                   \
        {"tag",                                                                                              \
         {VALUE_TEXT},                                                                                       \
         offsetof(type, member.tag),                                                                         \
         "",                                                                                                 \
         "template of the tag: {{.ID}} {{.FullID}} {{.Name}} {{.Hostname}} {{.DaemonName}} {{.Command}} "    \
         "{{.ImageName}} {{.ImageID}} {{.ImageFullID}}; not set: --log-tag, or the driver's own",            \
         .check = LOG_CHECK_TEMPLATE, .annotations = LOG_ANNOTATIONS_ALLOWED},                               \
                {"labels", {VALUE_LIST}, offsetof(type, member.labels), "",                                  \
                 "annotations to add to each record", .annotations = LOG_ANNOTATIONS_ALLOWED},               \
                {"labels-regex", {VALUE_TEXT}, offsetof(type, member.labels_regex), "",                      \
                 "the same, by a regular expression for their names", .check = LOG_CHECK_REGEX},             \
                {"env", {VALUE_LIST}, offsetof(type, member.env), "",                                        \
                 "environment variables of the container to add to each record"},                            \
        {                                                                                                    \
                "env-regex", {VALUE_TEXT}, offsetof(type, member.env_regex), "",                             \
                        "the same, by a regular expression for their names", .check = LOG_CHECK_REGEX        \
        }

gboolean log_metadata_check_template(const char *driver, const char *template, GError **error);
gboolean log_metadata_check_regex(const char *driver, const char *pattern, GError **error);
gboolean log_metadata_check_labels(char **labels, GError **error);

/* The rules of a format for the names of attributes. */
typedef struct LogNameRule {
        const char *const
                *own;   /* names of the format's own fields, which no attribute gets; ends with NULL */
        size_t max_len; /* bytes of a name, at most INT_MAX */
        char *(*clean)(const char *key); /* a name that the format accepts; freed by the caller */
} LogNameRule;

/* LogNameRule.clean of formats whose names are any text: what is not UTF-8 becomes U+FFFD. */
char *log_metadata_clean_text(const char *key);

/* Converts the names of attributes to those of a format, without duplicates: names that exist already or
 * are the format's own get the suffix "_", or "_2", "_3" and so on. Sorts them again. */
void log_metadata_name_attributes(LogMetadata *m, const LogNameRule *rule);

/* Appends the attributes to a JSON object, as a member that is one: `,"attrs":{…}`; nothing if there are
 * none. Their names are converted first; `clean` as in LogNameRule. */
void log_metadata_append_attrs(LogMetadata *m, char *(*clean)(const char *key), GString *json);

/* Collects it. The tag is that of option tag, else that of --log-tag, which is no template, else
 * `default_tag`, a template that may be NULL; see log/api/template.h, the fields are those of the option's
 * help. Attributes are the --log-label of the command line, the annotations named by options labels and
 * labels-regex and the variables named by env and env-regex; of one key the variable is used, else the
 * annotation. The labels must have been checked. The bundle's config.json is only opened if one of these, or
 * of its fields, is requested. */
LogMetadata *log_metadata_new(const LogDriverConfig *config, const LogMetadataOptions *o,
                              const char *default_tag, GError **error);
void log_metadata_free(LogMetadata *m);

/* Looks for annotations of the bundle: found[i] is the value of names[i], freed by the caller, and stays
 * NULL if there is none, or no readable bundle, because these annotations are optional. */
void log_metadata_find_annotations(const LogDriverConfig *config, const char *const *names, char **found,
                                   size_t n);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogMetadata, log_metadata_free)
