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

static bool
equals(const char *word, const char *name, size_t len)
{
        return strlen(word) == len && memcmp(word, name, len) == 0;
}

const LogDriver *
log_driver_find(const char *name, size_t len)
{
        for (const LogDriver *const *d = log_drivers(); *d; d++) {
                if (equals((*d)->name, name, len))
                        return *d;
                for (const char *const *alias = (*d)->aliases; alias && *alias; alias++)
                        if (equals(*alias, name, len))
                                return *d;
        }
        return NULL;
}
