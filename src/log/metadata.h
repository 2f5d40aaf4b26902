#pragma once

/* What is known of the container besides its output: options tag, labels, env, and
 * what the command line says. */

#include "log/driver.h"

typedef struct LogAttribute {
        char *key;
        char *value;
} LogAttribute;

typedef struct LogMetadata {
        char *short_id;           /* the first 12 characters of the id */
        char *tag;                /* NULL if there is neither a tag nor a default */
        LogAttribute *attributes; /* labels and environment, sorted by key, each key once */
        size_t n_attributes;
} LogMetadata;

/* The options of drivers with LOG_DRIVER_METADATA; ends with a name of NULL. */
const LogOption *log_metadata_options(void);

/* Collects it. The tag is that of option tag, else that of --log-tag, which is no template, else
 * `default_tag`, a template that may be NULL. Templates have Docker's fields: {{.ID}}, {{.FullID}},
 * {{.Name}}, {{.Hostname}}, {{.ImageName}}, {{.ImageID}}, {{.ImageFullID}}. Attributes are the --log-label of
 * the command line, the annotations named by option labels and the variables named by option env; the
 * bundle's config.json is opened only if one of these or the image is asked for. */
LogMetadata *log_metadata_new(const LogDriverConfig *config, const char *default_tag, GError **error);
void log_metadata_free(LogMetadata *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogMetadata, log_metadata_free)
