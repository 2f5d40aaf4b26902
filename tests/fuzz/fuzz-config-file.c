/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/selection.h"

#include "fuzz.h"

static unsigned
count_lines(const char *text, size_t size)
{
        unsigned n = 1;
        for (size_t i = 0; i < size; i++)
                n += text[i] == '\n';
        return n;
}

/* Effective settings are valid and have an origin. */
static void
check_section(const Config *c, const ConfigSection *s, unsigned lines)
{
        g_assert_true(s->line >= 1 && s->line <= lines);
        g_assert_cmpuint(s->entries->len, >, 0);
        g_assert_true(config_find(c, s->kind, s->name) == s);
        for (guint i = 0; i < s->entries->len; i++) {
                const ConfigEntry *entry = &g_array_index(s->entries, ConfigEntry, i);
                g_assert_true(entry->line > s->line && entry->line <= lines);
                g_assert_true(config_key_find(s->kind, entry->name) == entry->key);
                for (char **value = entry->values; *value; value++)
                        g_assert_true(config_key_check(entry->key, *value, NULL));
        }
        g_autoptr(GError) error = NULL;
        g_autoptr(Selection) selection = NULL;
        if (!selection_of_section(c, s, &selection, &error))
                g_assert_true(g_str_has_prefix(error->message, "f:"));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const char *text = (const char *)data;
        unsigned lines = count_lines(text, size);
        g_autoptr(Config) c = config_new();
        g_autoptr(GError) error = NULL;
        if (!config_parse(c, "f", text, size, &error)) {
                guint64 line = g_ascii_strtoull(error->message + 2, NULL, 10);
                g_assert_true(g_str_has_prefix(error->message, "f:") && line >= 1 && line <= lines);
        }
        for (guint i = 0; i < c->sections->len; i++)
                check_section(c, c->sections->pdata[i], lines);
        (void)config_match(c, "web-1");
        return 0;
}
