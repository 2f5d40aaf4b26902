#include "proc/cgroup.h"

#include "tempdir.h"

#include <errno.h>
#include <unistd.h>

static void
assert_parses(const char *text, bool unified, const char *expected)
{
        g_autofree char *found = cgroup_parse(text, unified);
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
        /* B83: a line of version 1, wherever it is, is not the path. */
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
        /* B85: the name, not a part of a name, and not a part of a path. */
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

/* A cgroup outside of the own namespace has no directory here, least of all one above the mount. */
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
test_own_process(void)
{
        g_autofree char *dir = NULL;
        bool unified = true;
        /* A directory that is no mount of cgroup2 is the root of version 1 hierarchies. */
        int r = cgroup_memory_dir("/", getpid(), &unified, &dir);
        if (r == 0) {
                g_assert_true(g_str_has_prefix(dir, "/"));
                g_assert_nonnull(strstr(dir, "memory"));
                g_assert_false(unified);
        } else {
                g_assert_cmpint(r, ==, -ENOENT);
        }
}

static void
test_failures(void)
{
        g_autofree char *dir = NULL;
        bool unified = false;
        g_assert_cmpint(cgroup_memory_dir("/nonexistent", getpid(), &unified, &dir), ==, -ENOENT);
        g_assert_cmpint(cgroup_memory_dir(CGROUP_ROOT, G_MAXINT, &unified, &dir), ==, -ENOENT);
        g_assert_null(dir);
        g_assert_false(unified);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/cgroup/unified", test_unified);
        g_test_add_func("/cgroup/memory", test_memory);
        g_test_add_func("/cgroup/garbage", test_garbage);
        g_test_add_func("/cgroup/out-of-sight", test_out_of_sight);
        g_test_add_func("/cgroup/own-process", test_own_process);
        g_test_add_func("/cgroup/failures", test_failures);
        return g_test_run();
}
