/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/drivers/registry.h"
#include "log/permission.h"
#include "log/plan.h"
#include "log/sink/sink.h"

#include <glib.h>
#include <string.h>

#define ORIGIN "Annotation x"

/* Whether an annotation may choose the driver. It may also set one option. */
static bool
choose(const char *driver, const char *key, const char *value, const char *sockets, GError **error)
{
        g_autoptr(LogRequests) requests = log_requests_new();
        g_auto(GStrv) list = sockets ? g_strsplit(sockets, ";", -1) : NULL;
        LogRequest *request = log_requests_add(requests, driver, LOG_SOURCE_ANNOTATION, ORIGIN);
        if (key)
                log_request_set(request, log_requests_add_setting(requests, key, value, LOG_SOURCE_ANNOTATION,
                                                                  ORIGIN));
        LogConfig config = {.requests = requests, .annotation_sockets = list, .cid = "0123456789abcdef"};
        g_autoptr(GPtrArray) plan = log_plan(&config, error);
        return plan != NULL;
}

static bool
is_built(const char *driver)
{
        return log_driver_find(driver);
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
        static const struct {
                const char *driver, *key, *value; /* the address that it needs; NULL: none */
        } allowed[] = {
                {"fluentd", NULL, NULL},
                {"forward", NULL, NULL},
                {"gelf", "gelf-address", "udp://127.0.0.1:1"},
                {"http", "http-url", "http://127.0.0.1:1"},
                {"loki", "loki-url", "http://127.0.0.1:1"},
                {"otlp", NULL, NULL},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
                g_autoptr(GError) error = NULL;
                g_test_message("%s", refused[i]);
                g_assert_false(choose(refused[i], NULL, NULL, NULL, &error));
                g_assert_true(g_str_has_prefix(error->message, ORIGIN ": "));
        }
        for (size_t i = 0; i < G_N_ELEMENTS(allowed); i++) {
                g_autoptr(GError) error = NULL;
                g_test_message("%s", allowed[i].driver);
                if (!is_built(allowed[i].driver))
                        continue;
                (void)choose(allowed[i].driver, allowed[i].key, allowed[i].value, NULL, &error);
                g_assert_no_error(error);
        }
}

/* Files and the command line may set everything. */
static void
test_others(void)
{
        g_autoptr(LogRequests) requests = log_requests_new();
        g_autoptr(GError) error = NULL;
        LogRequest *request = log_requests_add(requests, "json-file:/x", LOG_SOURCE_FILE, "file:1");
        log_request_set(request,
                        log_requests_add_setting(requests, "env", "PATH", LOG_SOURCE_FILE, "file:2"));
        LogConfig config = {.requests = requests, .cid = "0123456789abcdef"};
        GPtrArray *plan = log_plan(&config, &error);
        g_assert_no_error(error);
        g_ptr_array_unref(plan);
}

/* Drivers that use a local socket if no address is set. */
static void
test_own_sockets(void)
{
        static const struct {
                const char *sockets, *driver, *key;
                bool allowed;
        } cases[] = {
                {NULL, "journald", NULL, false},
                {NULL, "syslog", NULL, false},
                {NULL, "syslog", "syslog-address", true},
                {"unix:///run/x", "journald", NULL, false},
                {"unix:///run/x", "syslog", NULL, false},
                {"unix:///run/x;journald", "journald", NULL, true},
                {"unix:///run/x;journald", "syslog", NULL, false},
                {"syslog", "syslog", NULL, true},
                {"syslog", "syslog", "tag", true},
                {NULL, "syslog", "tag", false},
                {"syslog;binary;json-file", "binary", NULL, false},
        };
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                g_test_message("%s, %s", cases[i].sockets, cases[i].driver);
                if (!is_built(cases[i].driver))
                        continue;
                g_assert_cmpint(
                        choose(cases[i].driver, cases[i].key, "tcp://10.0.0.1:514", cases[i].sockets, &error),
                        ==, cases[i].allowed);
                g_assert_cmpint(error == NULL, ==, cases[i].allowed);
        }
}

static const struct {
        const char *driver, *key, *value;
        bool allowed;
} settings[] = {
        {"fluentd", "tag", "/any text @ all", true},
        {"fluentd", "fluentd-address", "localhost:24224", true},
        {"fluentd", "fluentd-address", "tcp://10.0.0.1:24224", true},
        {"fluentd", "fluentd-address", "[::1]:24224", true},
        {"fluentd", "fluentd-address", "", false},
        {"syslog", "syslog-address", "", false}, /* the driver would look for a local socket */
        {"gelf", "gelf-address", "udp://10.0.0.1:12201", true},
        {"syslog", "syslog-address", "tcp+tls://logs:6514", true},
        {"gelf", "gelf-address", "tls://logs:12201", true},
        {"gelf", "gelf-tls-ca-cert", "/etc/ssl/ca.pem", false},
        {"gelf", "gelf-tls-skip-verify", "true", false},
        {"otlp", "otlp-endpoint", "http://10.0.0.1:4318/otlp", true},
        {"otlp", "otlp-endpoint", "unix:///run/x2", false},
        {"otlp", "otlp-headers-file", "/etc/shadow", false},
        {"syslog", "syslog-address", "unix:///dev/log", false},
        {"syslog", "syslog-address", "unixgram:///dev/log", false},
        {"syslog", "syslog-address", "UNIX:///dev/log", false},
        {"syslog", "syslog-address", "/dev/log", false},
        {"syslog", "syslog-address", "dev/log", false},
        {"syslog", "syslog-address", "unix:dev", false},
        {"syslog", "syslog-address", "@abstract", false},
        {"syslog", "syslog-address", "tcp://a/../dev/log", false},
        {"syslog", "syslog-address", "file://x", false},
        {"syslog", "syslog-address", "://x", false},
        {"fluentd", "fluentd-address", "unix:///run/fluent.sock", true}, /* listed below */
        {"fluentd", "fluentd-address", "unix:///run/fluent.sock2", false},
        {"fluentd", "max-buffer-size", "16m", true},
        {"fluentd", "max-buffer-size", "16777217", false},
        {"fluentd", "max-buffer-size", "1g", false},
        {"fluentd", "max-record", "1t", false},
        {"fluentd", "max-record", "nonsense", true}, /* the option itself refuses it */
        {"fluentd", "env", "PATH", false},
        {"fluentd", "redact-file", "/etc/shadow", false},
        {"fluentd", "drain-timeout", "1s", false},
};

/* An option that the driver does not have is refused as well. */
static void
test_options(void)
{
        char first[] = "unix:///run/fluent.sock", second[] = "unix:///run/x";
        char *sockets[] = {first, second, NULL};
        for (size_t i = 0; i < G_N_ELEMENTS(settings); i++) {
                const LogDriver *driver = log_driver_find(settings[i].driver);
                g_autoptr(LogRequests) requests = log_requests_new();
                g_autoptr(GError) error = NULL;
                g_test_message("%s=%s", settings[i].key, settings[i].value);
                if (!driver)
                        continue;
                g_autoptr(LogOptions) options = log_sink_options(driver);
                LogSetting *s = log_requests_add_setting(requests, settings[i].key, settings[i].value,
                                                         LOG_SOURCE_ANNOTATION, ORIGIN);
                LogRequest *request =
                        log_requests_add(requests, settings[i].driver, LOG_SOURCE_FILE, "file:1");
                log_request_set(request, s);
                if (!log_options_find(options, settings[i].key))
                        g_error("%s has no option %s", settings[i].driver, settings[i].key);
                g_assert_cmpint(log_permit_setting(options, s, request->settings, sockets, &error), ==,
                                settings[i].allowed);
                g_assert_cmpint(error == NULL, ==, settings[i].allowed);
        }
}

/* Annotations can't choose where a secret from a file is sent. */
static void
test_secrets(void)
{
        static const char *const secrets[] = {"fluentd-shared-key-file", "fluentd-password-env", NULL};
        for (size_t i = 0; i < G_N_ELEMENTS(secrets) && is_built("fluentd"); i++) {
                g_autoptr(LogRequests) requests = log_requests_new();
                g_autoptr(GError) error = NULL;
                LogRequest *request = log_requests_add(requests, "fluentd", LOG_SOURCE_FILE, "file:1");
                LogSetting *address = log_requests_add_setting(
                        requests, "fluentd-address", "tcp://10.0.0.1:1", LOG_SOURCE_ANNOTATION, ORIGIN);
                log_request_set(request, address);
                if (secrets[i])
                        log_request_set(request, log_requests_add_setting(requests, secrets[i], "x",
                                                                          LOG_SOURCE_FILE, "file:2"));
                g_autoptr(LogOptions) options = log_sink_options(log_driver_find("fluentd"));
                g_assert_cmpint(log_permit_setting(options, address, request->settings, NULL, &error), ==,
                                !secrets[i]);
                g_assert_true(!error || strstr(error->message, "can't choose where a secret is sent"));
        }
}

/* Annotations can't choose both a driver and an option for another one, and unknown options are refused. */
static void
test_odd_options(void)
{
        static const char *const keys[] = {"fluentd.tag", "k8s-file.max-size", "", "env-regex", "nope"};
        for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
                g_autoptr(GError) error = NULL;
                g_test_message("%s", keys[i]);
                g_assert_false(choose("fluentd", keys[i], "1", NULL, &error));
                g_assert_true(g_str_has_prefix(error->message, ORIGIN ": "));
        }
}

/* All options that annotations may set. A new one must be added to this list explicitly. */
static const char *const annotated[] = {
        "batch-size",
        "batch-wait",
        "cache-compress",
        "cache-disabled",
        "cache-max-file",
        "cache-max-size",
        "exclude",
        "fluentd-address",
        "fluentd-async",
        "fluentd-async-reconnect-interval",
        "fluentd-buffer-limit",
        "fluentd-max-retries",
        "fluentd-read-timeout",
        "fluentd-request-ack",
        "fluentd-retry-wait",
        "fluentd-sub-second-precision",
        "fluentd-write-timeout",
        "gelf-address",
        "gelf-compression-level",
        "gelf-compression-type",
        "gelf-tcp-max-reconnect",
        "gelf-tcp-reconnect-delay",
        "http-compression",
        "http-format",
        "http-timeout",
        "http-url",
        "include",
        "labels",
        "loki-batch-size",
        "loki-batch-wait",
        "loki-compression",
        "loki-external-labels",
        "loki-max-backoff",
        "loki-min-backoff",
        "loki-retries",
        "loki-timeout",
        "loki-url",
        "max-buffer-size",
        "max-record",
        "mode",
        "on-full",
        "otlp-compression",
        "otlp-endpoint",
        "otlp-service-name",
        "otlp-timeout",
        "parse-prefix",
        "peer-timeout",
        "priority-stderr",
        "priority-stdout",
        "rate-limit-action",
        "rate-limit-burst",
        "rate-limit-interval",
        "splunk-format",
        "splunk-gzip",
        "splunk-gzip-level",
        "splunk-index",
        "splunk-index-acknowledgment",
        "splunk-source",
        "splunk-sourcetype",
        "splunk-timeout",
        "splunk-url",
        "splunk-verify-connection",
        "streams",
        "strip",
        "syslog-address",
        "syslog-facility",
        "syslog-format",
        "tag",
        NULL,
};

static void
test_all_options(void)
{
        for (const LogDriver *const *d = log_drivers(); *d; d++) {
                g_autoptr(LogOptions) options = log_sink_options(*d);
                const LogOption *option;
                for (size_t i = 0; (option = log_options_at(options, i)); i++) {
                        g_test_message("%s.%s", (*d)->name, option->name);
                        if (!((*d)->flags & LOG_DRIVER_ANNOTATIONS))
                                continue;
                        g_assert_cmpint(option->annotations != LOG_ANNOTATIONS_REFUSED, ==,
                                        g_strv_contains(annotated, option->name));
                        g_assert_cmpint(option->annotations == LOG_ANNOTATIONS_ADDRESS, ==,
                                        g_str_has_suffix(option->name, "-address") ||
                                                g_str_has_suffix(option->name, "-endpoint") ||
                                                g_str_has_suffix(option->name, "-url"));
                }
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log/permission/drivers", test_drivers);
        g_test_add_func("/log/permission/others", test_others);
        g_test_add_func("/log/permission/own-sockets", test_own_sockets);
        g_test_add_func("/log/permission/options", test_options);
        g_test_add_func("/log/permission/secrets", test_secrets);
        g_test_add_func("/log/permission/odd-options", test_odd_options);
        g_test_add_func("/log/permission/all-options", test_all_options);
        return g_test_run();
}
