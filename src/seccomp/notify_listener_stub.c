/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "seccomp/notify_listener.h"

#include "base/error.h"

SeccompListener *
seccomp_listener_new(const SeccompConfig *config, GError **error)
{
        error_set(error, CONMON_ERROR_USAGE,
                  "This conmon was built without support for seccomp notifications");
        return NULL;
}

char *
seccomp_listener_steal_path(SeccompListener *l)
{
        return NULL;
}

void
seccomp_listener_free(SeccompListener *l)
{
}
