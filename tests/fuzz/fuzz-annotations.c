/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/annotations.h"
#include "log/plan.h"

#include "fuzz.h"

static void
check_value(const char *value)
{
        g_assert_cmpuint(strlen(value), <=, 4096);
        g_assert_true(g_utf8_validate(value, -1, NULL));
        for (; *value; value++)
                g_assert_true((unsigned char)*value >= ' ' && *value != 0x7f);
}

static const LogRequest *
ask(LogRequests *requests, const Annotations *a)
{
        LogRequest *request = log_requests_add(requests, a->driver, LOG_SOURCE_ANNOTATION, "a");
        for (guint i = 0; i < a->options->len; i++) {
                const AnnotationOption *option = &g_array_index(a->options, AnnotationOption, i);
                log_request_set(request, log_requests_add_setting(requests, option->key, option->value,
                                                                  LOG_SOURCE_ANNOTATION, "a"));
        }
        return request;
}

/* Accepted annotations select no file, no program and no local socket. */
static void
check_accepted(const Annotations *a)
{
        g_autoptr(LogRequests) requests = log_requests_new();
        const LogRequest *request = ask(requests, a);
        LogConfig config = {.requests = requests, .cid = "0123456789abcdef"};
        g_autoptr(GPtrArray) plan = log_plan(&config, NULL);
        bool addressed = false;
        if (!plan)
                return;
        g_assert_null(strpbrk(a->driver, ":/"));
        for (guint i = 0; i < request->settings->len; i++) {
                const LogSetting *s = request->settings->pdata[i];
                g_assert_null(s->driver);
                g_assert_cmpstr(s->key, !=, "redact-file");
                g_assert_false(g_str_has_prefix(s->key, "env"));
                if (!g_str_has_suffix(s->key, "-address"))
                        continue;
                addressed = true;
                g_assert_true(*s->value && !g_str_has_prefix(s->value, "unix") && *s->value != '/');
        }
        g_assert_true(addressed || (strcmp(a->driver, "journald") != 0 && strcmp(a->driver, "syslog") != 0));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(Annotations) a = NULL;
        g_autoptr(GError) error = NULL;
        if (!annotations_parse((const char *)data, size, &a, &error)) {
                g_assert_nonnull(error);
                g_assert_true(g_utf8_validate(error->message, -1, NULL));
                g_assert_null(strchr(error->message, '\n'));
                return 0;
        }
        if (!a)
                return 0;
        g_assert_true(!a->profile || !a->driver);
        if (a->profile)
                check_value(a->profile);
        if (a->driver)
                check_value(a->driver);
        for (guint i = 0; i < a->options->len; i++)
                check_value(g_array_index(a->options, AnnotationOption, i).value);
        if (a->driver)
                check_accepted(a);
        return 0;
}
