/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/user.h"

#include "base/trust.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool
user_is_ordinary(void)
{
        if (geteuid() != 0)
                return true;
        const char *uid = getenv("_CONTAINERS_ROOTLESS_UID");
        return uid && *uid && strcmp(uid, "0") != 0 && trust_in_user_namespace();
}
