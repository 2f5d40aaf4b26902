#include "config/annotations.h"
#include "config/policy.h"

#include "fuzz.h"

static void
check_value(const char *value)
{
        g_assert_cmpuint(strlen(value), <=, 4096);
        g_assert_true(g_utf8_validate(value, -1, NULL));
        for (; *value; value++)
                g_assert_true((unsigned char)*value >= ' ' && *value != 0x7f);
}

/* Whatever is allowed, it leads to no file, no program and no local socket. */
static void
check_allowed(const Annotations *a)
{
        Policy p;
        policy_init(&p, true);
        if (a->driver && policy_allow_driver(&p, a->driver, false, NULL))
                g_assert_null(strpbrk(a->driver, ":/"));
        if (g_strcmp0(a->driver, "journald") == 0)
                g_assert_false(policy_allow_driver(&p, a->driver, false, NULL));
        for (guint i = 0; i < a->options->len; i++) {
                const AnnotationOption *option = &g_array_index(a->options, AnnotationOption, i);
                if (!policy_allow_option(&p, option->key, option->value, NULL))
                        continue;
                g_assert_null(strchr(option->key, '.'));
                g_assert_true(g_strv_contains(policy_option_names(), option->key));
                if (g_str_has_suffix(option->key, "-address"))
                        g_assert_true(*option->value && !g_str_has_prefix(option->value, "unix") &&
                                      *option->value != '/');
        }
        policy_done(&p);
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
        check_allowed(a);
        return 0;
}
