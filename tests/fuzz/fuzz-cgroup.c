#include "proc/cgroup.h"

#include "fuzz.h"

/* Nothing leads out of the mount, and what is found is in the text. */
static void
check(const char *text, bool unified)
{
        g_autofree char *found = cgroup_parse(text, unified);
        if (!found)
                return;
        const char *path = strchr(found, '/');
        g_assert_nonnull(path);
        g_assert_null(strstr(found, "/../"));
        g_assert_false(g_str_has_suffix(found, "/.."));
        g_assert_null(strchr(found, '\n'));
        g_assert_nonnull(strstr(text, path));
        g_assert_true(unified ? path == found : strstr(found, "memory") < path);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        check(text, true);
        check(text, false);
        return 0;
}
