/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Whether annotations are allowed, and how errors are handled: the section [policy].
 *
 * Annotations may come from the author of an image or a pod. With `annotations = all` they may choose drivers
 * and options; which ones is defined with each of them, in log/. */

#include "config/config_file.h"

#include <glib.h>
#include <stdbool.h>

typedef enum {
        POLICY_ANNOTATIONS_NONE,
        POLICY_ANNOTATIONS_PROFILES,
        POLICY_ANNOTATIONS_ALL,
} PolicyAnnotations;

typedef struct Policy {
        PolicyAnnotations annotations;
        char **profiles;  /* patterns of the profiles that annotations may name */
        /* addresses of local sockets, or drivers with one of their own, that annotations may name */
        char **sockets;
        bool warn;        /* an error does not prevent the start of the container */
        bool add_to_none; /* drivers are also added to -l none */
        bool add_to_exec; /* ... and to exec sessions */
} Policy;

/* The defaults, for root or for a user. Freed with policy_done. */
void policy_init(Policy *p, bool user);
void policy_done(Policy *p);

/* Applies the section, which may be NULL. */
void policy_read(Policy *p, const ConfigSection *section);

/* The same for one KEY=VALUE. */
gboolean policy_set(Policy *p, const char *assignment, GError **error);

/* The value of `annotations` as text. */
const char *policy_annotations_name(const Policy *p);

/* Whether an annotation may name this profile; whether it may choose a driver and options. The error
 * message says why not. */
gboolean policy_allow_profile(const Policy *p, const char *profile, GError **error);
gboolean policy_allow_choice(const Policy *p, GError **error);
