/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Data of the container from the config.json of its bundle, for drivers that send it (OCI runtime
 * specification, config.md). */

#include "log/api/config.h"

#include <glib.h>
#include <stdbool.h>

typedef struct LogAttribute {
        char *key;
        char *value;
} LogAttribute;

void log_attribute_free(void *attribute);

/* All of it in the order of the file. */
typedef struct LogBundle {
        GPtrArray *annotations; /* of LogAttribute */
        GPtrArray *env;         /* of LogAttribute */
        GPtrArray *args;        /* of char *: the command and its arguments */
} LogBundle;

/* Reads and parses it. A missing bundle, file or JSON library is an error if `must` is set; otherwise the
 * result is empty. NULL and *error after a failure. */
LogBundle *log_bundle_read(const LogConfig *log, bool must, GError **error);
void log_bundle_free(LogBundle *b);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogBundle, log_bundle_free)

/* NULL if there is no such annotation. Owned by the bundle. */
const char *log_bundle_image_name(const LogBundle *b);
const char *log_bundle_image_id(const LogBundle *b);
const char *log_bundle_created(const LogBundle *b); /* creation time of the container (RFC 3339) */
const char *log_bundle_engine(const LogBundle *b);  /* the engine that created it: podman, cri-o */

/* The command and its arguments, with blanks between them; freed with g_free. NULL if there is none. */
char *log_bundle_command(const LogBundle *b);
