/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* Whether files that control the monitor can be trusted. */

#include <stdbool.h>
#include <sys/stat.h>

/* True in a user namespace other than the initial one. */
bool trust_in_user_namespace(void);

/* Why users other than root and the monitor's user could have written a file; NULL: they could not. With
 * `system`, an owner who is not mapped in the user namespace is trusted as well: outside of it that is
 * root. */
const char *trust_find_stranger(const struct stat *st, bool system);
