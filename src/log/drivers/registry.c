/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/registry.h"

#include "log/drivers/log-driver-list.h"

#include <string.h>

#define X(name) extern const LogDriver log_driver_##name;
LOG_DRIVER_LIST
#undef X

const LogDriver *const *
log_drivers(void)
{
#define X(name) &log_driver_##name,
        static const LogDriver *const drivers[] = {LOG_DRIVER_LIST NULL};
#undef X
        return drivers;
}

const LogDriver *
log_driver_find(const char *name)
{
        for (const LogDriver *const *d = log_drivers(); *d; d++)
                if (strcmp((*d)->name, name) == 0 || ((*d)->aliases && g_strv_contains((*d)->aliases, name)))
                        return *d;
        return NULL;
}
