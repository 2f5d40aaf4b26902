/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* What a bundle's config.json asks for: the annotations (OCI runtime specification, config.md) whose names
 * begin with ANNOTATION_PREFIX. Whether they are allowed is decided in policy.h. */

#include "base/config_json.h"

#include <glib.h>
#include <stddef.h>

#define ANNOTATION_PREFIX "org.conmon.log/"

typedef struct AnnotationOption {
        char *key; /* after "opt." */
        char *value;
} AnnotationOption;

typedef struct Annotations {
        char *profile;
        char *driver;
        GArray *options; /* of AnnotationOption, in the order of the file */
} Annotations;

void annotations_free(Annotations *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Annotations, annotations_free)

/* Reads them from a config.json. *ret_annotations is NULL if there are none; then the text is not parsed.
 * A failure says which annotation is unknown, malformed or contradicts another one. */
gboolean annotations_parse(const char *text, size_t len, Annotations **ret_annotations, GError **error);

/* The same for the file of the bundle, if there is one. */
gboolean annotations_read(ConfigJson *json, Annotations **ret_annotations, GError **error);
