#pragma once

/* What annotations may choose, and what is done about errors: the section [policy].
 *
 * Annotations may come from whoever made an image or a pod. With `annotations = all` they may choose a driver
 * and those of its options that are listed in policy.c, but never a path, a program, a local socket that
 * [policy] does not list, or the container's environment. */

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
        bool warn;        /* an error does not keep the container from starting */
        bool add_to_none; /* drivers are also added to -l none */
        bool add_to_exec; /* … and to exec runs */
} Policy;

/* The defaults, of root or of a user. Freed with policy_done. */
void policy_init(Policy *p, bool user);
void policy_done(Policy *p);

/* Takes what the section says; it may be NULL. */
void policy_read(Policy *p, const ConfigSection *section);

/* The same for one KEY=VALUE. */
gboolean policy_set(Policy *p, const char *assignment, GError **error);

/* The value of annotations as one writes it. */
const char *policy_annotations_name(const Policy *p);

/* Whether an annotation may say this. The sentence of a failure says why not. `addressed`: an annotation also
 * gives the driver an address, which is checked as an option. */
gboolean policy_allow_profile(const Policy *p, const char *profile, GError **error);
gboolean policy_allow_driver(const Policy *p, const char *driver, bool addressed, GError **error);
gboolean policy_allow_option(const Policy *p, const char *key, const char *value, GError **error);

/* The options of log drivers that annotations may set; ends with NULL. */
const char *const *policy_option_names(void);
