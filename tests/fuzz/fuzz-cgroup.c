/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/cgroup.h"

#include "fuzz.h"

#include <string.h>

/* No path leads outside of the mount, and each result is part of the input. */
static void
check(const char *text, bool unified)
{
        g_autofree char *found = cgroup_parse(text, unified, "memory");
        if (!found)
                return;
        const char *path = strchr(found, '/');
        g_assert_nonnull(path);
        g_assert_null(strstr(found, "/../"));
        g_assert_false(g_str_has_suffix(found, "/.."));
        g_assert_null(strchr(found, '\n'));
        g_assert_nonnull(strstr(text, path));
        g_assert_true(unified ? path == found : strstr(found, "memory") < path);
        bool named;
        size_t own = cgroup_own_length(found, "/a.scope/monitor", "c1", &named);
        g_assert_cmpuint(own, <=, strlen(found));
        g_assert_true(found[own] == '/' || found[own] == '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        check(text, true);
        check(text, false);
        return 0;
}
