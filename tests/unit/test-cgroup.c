/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/cgroup.h"

#include "tempdir.h"

#include <errno.h>
#include <unistd.h>

static void
assert_parses(const char *text, bool unified, const char *expected)
{
        g_autofree char *found = cgroup_parse(text, unified, "memory");
        g_assert_cmpstr(found, ==, expected);
}

#define HYBRID                           \
        "12:net_cls,net_prio:/net\n"     \
        "9:name=systemd:/system.slice\n" \
        "5:cpuset:/a\n"                  \
        "4:memory:/libpod_parent/c1\n"   \
        "2:cpu,cpuacct:/b\n"             \
        "0::/unified/c1\n"

static void
test_unified(void)
{
        assert_parses("0::/user.slice/x.scope\n", true, "/user.slice/x.scope");
        assert_parses("0::/user.slice/x.scope", true, "/user.slice/x.scope");
        assert_parses("0::/\n", true, "/");
        assert_parses("0::/a:b::c\n", true, "/a:b::c");
        assert_parses("0::/gone (deleted)\n", true, "/gone (deleted)");
        /* A line for version 1, in any position, is not used as the path. */
        assert_parses(HYBRID, true, "/unified/c1");
        assert_parses("1:net_cls:/wrong\n0::/right\n", true, "/right");
        assert_parses("10::/wrong\n0:net_cls:/wrong\n", true, NULL);
}

static void
test_memory(void)
{
        assert_parses(HYBRID, false, "memory/libpod_parent/c1");
        assert_parses("3:cpu,memory,pids:/m\n", false, "cpu,memory,pids/m");
        assert_parses("3:memory,hugetlb:/m\n", false, "memory,hugetlb/m");
        assert_parses("3:memory:/a:b/memory:c\n", false, "memory/a:b/memory:c");
        /* Only the whole name matches, not a part of a name or path. */
        assert_parses("3:memoryx:/m\n4:xmemory:/m\n5:name=memory:/m\n", false, NULL);
        assert_parses("3:memory_recursiveprot:/m\n4:cpu:/memory:/m\n", false, NULL);
        assert_parses("0::/memory\n", false, NULL);
}

static void
test_garbage(void)
{
        static const char *const texts[] = {"",          "\n",         ":",           "::",     "0",
                                            "0:",        "0::",        "0::relative", "memory", "4:memory",
                                            "4:memory:", "4:memory:x", "\n\n::\n"};
        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                assert_parses(texts[i], true, NULL);
                assert_parses(texts[i], false, NULL);
        }
}

/* A cgroup outside of the own namespace has no directory; in particular, none above the mount. */
static void
test_out_of_sight(void)
{
        assert_parses("0::/../../etc\n", true, NULL);
        assert_parses("0::/..\n", true, NULL);
        assert_parses("4:memory:/a/../../b\n", false, NULL);
        assert_parses("0::/a/..\n", true, NULL);
        assert_parses("4:../..,memory:/b\n", false, NULL);
        assert_parses("0::/..a/b..\n", true, "/..a/b..");
}

static void
assert_own(const char *path, const char *id, const char *expected, bool expected_named)
{
        bool named = !expected_named;
        g_autofree char *own = g_strdup(path);
        own[cgroup_own_length(path, "/system.slice/session-3.scope/conmon", id, &named)] = '\0';
        g_assert_cmpstr(own, ==, expected);
        g_assert_cmpint(named, ==, expected_named);
}

static void
test_own_by_id(void)
{
        assert_own("/machine.slice/libpod-c1.scope", "c1", "/machine.slice/libpod-c1.scope", true);
        assert_own("/machine.slice/libpod-c1.scope/container", "c1", "/machine.slice/libpod-c1.scope", true);
        assert_own("/ctr.scope/init.scope", "ctr", "/ctr.scope", true);
        assert_own("/pods/c1/init.scope", "c1", "/pods/c1", true);
        assert_own("/pods/c1/deep/er/c1", "c1", "/pods/c1/deep/er/c1", true);
        assert_own("/c1", "c1", "/c1", true);
        assert_own("c1/leaf", "c1", "c1", true);
        /* Only a whole word of the name matches. */
        assert_own("/c1/c12/xc1", "c1", "/c1", true);
        assert_own("/c11/xc1/c1x", "c1", "/c11/xc1/c1x", false);
        assert_own("/a/b", "", "/a/b", false);
}

static void
test_own_without_id(void)
{
        assert_own("/a.slice/ctr.scope/init.scope", "c1", "/a.slice/ctr.scope", false);
        assert_own("/a.slice/outer.scope/ctr.scope/deep", "c1", "/a.slice/outer.scope/ctr.scope", false);
        assert_own("/a/b/init.scope", "c1", "/a/b/init.scope", false);
        assert_own("/a/.scope", "c1", "/a/.scope", false);
        assert_own("/", "c1", "/", false);
        assert_own("", "c1", "", false);
        /* A scope that also contains the monitor is not the container's. */
        assert_own("/system.slice/session-3.scope", "c1", "/system.slice/session-3.scope", false);
        assert_own("/system.slice/session-3.scope/x/y", "c1", "/system.slice/session-3.scope/x/y", false);
        assert_own("/system.slice/session-33.scope/x", "c1", "/system.slice/session-33.scope", false);
}

static void
test_own_process(void)
{
        CgroupMemory found = {.unified = true};
        /* A directory that is not a mount of cgroup2 is the root of version 1 hierarchies. */
        int r = cgroup_find_memory("/", getpid(), "c1", &found);
        if (r == 0) {
                g_assert_true(g_str_has_prefix(found.dir, "/"));
                g_assert_nonnull(strstr(found.dir, "memory"));
                g_assert_false(found.unified);
                g_assert_false(found.named);
        } else {
                g_assert_cmpint(r, ==, -ENOENT);
        }
        g_free(found.dir);
}

static void
test_failures(void)
{
        CgroupMemory found = {0};
        g_assert_cmpint(cgroup_find_memory("/nonexistent", getpid(), "c1", &found), ==, -ENOENT);
        g_assert_cmpint(cgroup_find_memory(CGROUP_ROOT, G_MAXINT, "c1", &found), ==, -ENOENT);
        g_assert_null(found.dir);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/cgroup/unified", test_unified);
        g_test_add_func("/cgroup/memory", test_memory);
        g_test_add_func("/cgroup/garbage", test_garbage);
        g_test_add_func("/cgroup/out-of-sight", test_out_of_sight);
        g_test_add_func("/cgroup/own-by-id", test_own_by_id);
        g_test_add_func("/cgroup/own-without-id", test_own_without_id);
        g_test_add_func("/cgroup/own-process", test_own_process);
        g_test_add_func("/cgroup/failures", test_failures);
        return g_test_run();
}
