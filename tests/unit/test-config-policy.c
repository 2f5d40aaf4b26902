/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/policy.h"

#include <glib.h>
#include <string.h>

static void
set(Policy *p, const char *assignment)
{
        g_autoptr(GError) error = NULL;
        (void)policy_set(p, assignment, &error);
        g_assert_no_error(error);
}

static void
test_defaults(void)
{
        Policy root, user;
        policy_init(&root, false);
        policy_init(&user, true);
        g_assert_cmpstr(policy_annotations_name(&root), ==, "profiles-only");
        g_assert_cmpstr(policy_annotations_name(&user), ==, "all");
        g_assert_false(root.warn || root.add_to_none || root.add_to_exec);
}

static void
test_profiles(void)
{
        static const struct {
                const char *annotations, *profiles, *profile, *sentence;
        } cases[] = {
                {"annotations=none", NULL, "a", "the policy is annotations = none"},
                {"annotations=profiles-only", NULL, "a", NULL},
                {"annotations=all", NULL, "a", NULL},
                {"annotations=all", "profiles=b;web-*", "b", NULL},
                {"annotations=all", "profiles=b;web-*", "web-", NULL},
                {"annotations=all", "profiles=a ; b ", "b", NULL},
                {"annotations=all", "profiles=b;web-*", "a",
                 "the policy keeps the profile a from annotations"},
                {"annotations=all", "profiles=", "a", "the policy keeps the profile a from annotations"},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Policy p;
                g_autoptr(GError) error = NULL;
                policy_init(&p, false);
                set(&p, cases[i].annotations);
                if (cases[i].profiles)
                        set(&p, cases[i].profiles);
                (void)policy_allow_profile(&p, cases[i].profile, &error);
                g_assert_cmpstr(error ? error->message : NULL, ==, cases[i].sentence);
                policy_done(&p);
        }
}

static void
test_choice(void)
{
        static const struct {
                const char *annotations, *sentence;
        } cases[] = {
                {"annotations=all", NULL},
                {"annotations=profiles-only",
                 "the policy is annotations = profiles-only, so it may only name a profile"},
                {"annotations=none", "the policy is annotations = none"},
        };
        Policy p;
        policy_init(&p, false);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                set(&p, cases[i].annotations);
                (void)policy_allow_choice(&p, &error);
                g_assert_cmpstr(error ? error->message : NULL, ==, cases[i].sentence);
        }
}

static void
test_set(void)
{
        static const char *const refused[] = {
                "on-error", "on-error=", "on-error=no", "=warn", "", "foo=1", "add-to-none=2", "driver=x",
        };
        Policy p;
        policy_init(&p, false);
        set(&p, "on-error=warn");
        set(&p, "add-to-none=yes");
        set(&p, "add-to-exec=1");
        g_assert_true(p.warn && p.add_to_none && p.add_to_exec);
        set(&p, "on-error=fail");
        g_assert_false(p.warn);
        for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
                g_autoptr(GError) error = NULL;
                g_test_message("%s", refused[i]);
                g_assert_false(policy_set(&p, refused[i], &error));
                g_assert_true(g_str_has_prefix(error->message, "--log-policy "));
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/config/policy/defaults", test_defaults);
        g_test_add_func("/config/policy/profiles", test_profiles);
        g_test_add_func("/config/policy/choice", test_choice);
        g_test_add_func("/config/policy/set", test_set);
        return g_test_run();
}
