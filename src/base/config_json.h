/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* The config.json of a bundle (OCI runtime specification, config.md), which is read once, when it is first
 * needed. */

#include <glib.h>
#include <stddef.h>

/* The limit of its size. */
#define CONFIG_JSON_MAX (64 << 20)

typedef struct ConfigJson ConfigJson;

/* Opens nothing yet. */
ConfigJson *config_json_new(const char *bundle);

/* Also frees the text. NULL is allowed. */
void config_json_free(ConfigJson *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ConfigJson, config_json_free)

/* Its path, owned by *c. */
const char *config_json_path(const ConfigJson *c);

/* The whole text, owned by *c, without a NUL at its end. Returns 0 or -errno; -EFBIG: it has more than
 * CONFIG_JSON_MAX bytes; -EINVAL: it is not a regular file; -EBUSY: it grew while it was read. After a
 * failure the next call tries again. */
int config_json_read(ConfigJson *c, const char **ret_text, size_t *ret_len);

/* Sets *error to the message for a failure to read it. Always returns FALSE. */
gboolean config_json_fail(const ConfigJson *c, int failure, GError **error);
