#include "config/policy.h"
#include "log/driver.h"
#include "log/sink.h"

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
test_drivers(void)
{
        static const char *const refused[] = {
                "binary",
                "binary:///bin/sh",
                "k8s-file:/etc/passwd",
                "k8s-file",
                "json-file",
                "json-file:/x",
                "none",
                "off",
                "null",
                "passthrough",
                "syslog:",
                "",
                "SYSLOG",
                "nope",
                "syslog;binary",
                "syslog",
                "journald",
        };
        static const char *const allowed[] = {"fluentd", "forward", "gelf"};
        Policy p;
        policy_init(&p, true);
        for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
                g_autoptr(GError) error = NULL;
                g_test_message("%s", refused[i]);
                g_assert_false(policy_allow_driver(&p, refused[i], false, &error));
                g_assert_nonnull(error);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(allowed); i++)
                g_assert_true(policy_allow_driver(&p, allowed[i], false, NULL));
        set(&p, "annotations=profiles-only");
        for (size_t i = 0; i < G_N_ELEMENTS(allowed); i++)
                g_assert_false(policy_allow_driver(&p, allowed[i], false, NULL));
}

/* Drivers that use a local socket without being told an address. */
static void
test_own_sockets(void)
{
        static const struct {
                const char *sockets, *driver;
                bool addressed, allowed;
        } cases[] = {
                {NULL, "journald", false, false},
                {NULL, "syslog", false, false},
                {NULL, "syslog", true, true},
                {"sockets=unix:///run/x", "journald", false, false},
                {"sockets=unix:///run/x", "syslog", false, false},
                {"sockets=unix:///run/x;journald", "journald", false, true},
                {"sockets=unix:///run/x;journald", "syslog", false, false},
                {"sockets=syslog", "syslog", false, true},
                {"sockets=syslog;binary;json-file", "binary", false, false},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                Policy p;
                g_autoptr(GError) error = NULL;
                policy_init(&p, true);
                if (cases[i].sockets)
                        set(&p, cases[i].sockets);
                g_test_message("%s, %s", cases[i].sockets, cases[i].driver);
                g_assert_cmpint(policy_allow_driver(&p, cases[i].driver, cases[i].addressed, &error), ==,
                                cases[i].allowed);
                g_assert_cmpint(error == NULL, ==, cases[i].allowed);
                policy_done(&p);
        }
}

static void
test_options(void)
{
        static const struct {
                const char *key, *value;
                bool allowed;
        } cases[] = {
                {"tag", "/any text @ all", true},
                {"fluentd-address", "localhost:24224", true},
                {"fluentd-address", "tcp://10.0.0.1:24224", true},
                {"fluentd-address", "[::1]:24224", true},
                {"fluentd-address", "", false},
                {"syslog-address", "", false}, /* the driver would look for a local socket */
                {"gelf-address", "udp://10.0.0.1:12201", true},
                {"syslog-address", "tcp+tls://logs:6514", true},
                {"syslog-address", "unix:///dev/log", false},
                {"syslog-address", "unixgram:///dev/log", false},
                {"syslog-address", "UNIX:///dev/log", false},
                {"syslog-address", "/dev/log", false},
                {"syslog-address", "dev/log", false},
                {"syslog-address", "unix:dev", false},
                {"syslog-address", "@abstract", false},
                {"syslog-address", "tcp://a/../dev/log", false},
                {"syslog-address", "file://x", false},
                {"syslog-address", "://x", false},
                {"fluentd-address", "unix:///run/fluent.sock", true}, /* listed below */
                {"fluentd-address", "unix:///run/fluent.sock2", false},
                {"max-buffer-size", "16m", true},
                {"max-buffer-size", "16777217", false},
                {"max-buffer-size", "1g", false},
                {"max-record", "1t", false},
                {"max-record", "nonsense", true}, /* the driver says more about it */
                {"env", "PATH", false},
                {"env-regex", "P", false},
                {"redact-file", "/etc/shadow", false},
                {"on-missing", "file:/etc/passwd", false},
                {"fluentd.tag", "x", false},
                {"k8s-file.max-size", "1", false},
                {"syslog-tls-skip-verify", "true", false},
                {"", "x", false},
        };
        Policy p;
        policy_init(&p, true);
        set(&p, "sockets=unix:///run/fluent.sock;unix:///run/x");
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                g_test_message("%s=%s", cases[i].key, cases[i].value);
                g_assert_cmpint(policy_allow_option(&p, cases[i].key, cases[i].value, &error), ==,
                                cases[i].allowed);
        }
        set(&p, "annotations=profiles-only");
        g_assert_false(policy_allow_option(&p, "tag", "x", NULL));
        policy_done(&p);
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

/* True as well if it belongs to a driver that is not there. */
static bool
is_an_option(const char *name)
{
        if (g_str_has_prefix(name, "gelf-") && !log_driver_find("gelf", 4))
                return true;
        for (const LogDriver *const *d = log_drivers(); *d; d++) {
                g_autoptr(LogOptions) options = log_sink_options(*d);
                if (log_options_knows(options, name))
                        return true;
        }
        return false;
}

/* A name with a mistake in it would never be missed. */
static void
test_option_names(void)
{
        for (const char *const *name = policy_option_names(); *name; name++) {
                g_test_message("%s", *name);
                g_assert_true(is_an_option(*name));
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/config/policy/defaults", test_defaults);
        g_test_add_func("/config/policy/profiles", test_profiles);
        g_test_add_func("/config/policy/drivers", test_drivers);
        g_test_add_func("/config/policy/own-sockets", test_own_sockets);
        g_test_add_func("/config/policy/options", test_options);
        g_test_add_func("/config/policy/set", test_set);
        g_test_add_func("/config/policy/option-names", test_option_names);
        return g_test_run();
}
