#pragma once

/* What a bundle's config.json asks for: the annotations (OCI runtime specification, config.md) whose names
 * begin with ANNOTATION_PREFIX. Nothing here says whether it may be followed: see policy.h. */

#include <glib.h>
#include <stddef.h>

#define ANNOTATION_PREFIX "org.conmon.log/"

typedef struct AnnotationOption {
        char *key; /* behind "opt." */
        char *value;
} AnnotationOption;

typedef struct Annotations {
        char *profile;
        char *driver;
        GArray *options; /* of AnnotationOption, in the order of the file */
} Annotations;

void annotations_free(Annotations *a);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Annotations, annotations_free)

/* Reads them from a config.json. *ret_annotations is NULL if there are none; then the text is not even
 * parsed. A failure says which annotation is unknown, malformed or contradicts another one. */
gboolean annotations_parse(const char *text, size_t len, Annotations **ret_annotations, GError **error);

/* The same with the file in this bundle, if there is one. */
gboolean annotations_read(const char *bundle, Annotations **ret_annotations, GError **error);
