/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/api/metadata.h"

#include "base/fd.h"

#include "fuzz.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
        LogMetadataOptions metadata;
} Values;

static char *bundle, *path;

static void
remove_bundle(void)
{
        (void)unlink(path);
        (void)rmdir(bundle);
}

/* A bundle for the whole run. */
static const char *
bundle_with(const char *json, size_t len)
{
        if (!bundle) {
                bundle = g_dir_make_tmp("conmon-fuzz-XXXXXX", NULL);
                path = g_build_filename(bundle, "config.json", NULL);
                (void)atexit(remove_bundle);
        }
        autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        g_assert_cmpint(fd_write_all(fd, json, len), ==, 0);
        return bundle;
}

static void
check_attributes(const LogMetadata *m)
{
        for (size_t i = 0; i < m->n_attributes; i++) {
                g_assert_nonnull(m->attributes[i].key);
                g_assert_nonnull(m->attributes[i].value);
                if (i > 0)
                        g_assert_cmpstr(m->attributes[i - 1].key, <, m->attributes[i].key);
        }
}

/* Four lines: the options tag, labels, env and one --log-label; the rest is the config.json of the bundle. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_strndup((const char *)data, size);
        g_auto(GStrv) lines = g_strsplit(text, "\n", 5);
        if (g_strv_length(lines) < 5)
                return 0;
        static const LogOption table[] = {LOG_METADATA_OPTIONS(Values, metadata), {""}};
        g_autoptr(LogOptions) options = log_options_new("fuzz", &(LogOptionTable){table, sizeof(Values)}, 1);
        static const char *const names[] = {"tag", "labels", "env"};
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                if (*lines[i] && !log_options_set(options, names[i], lines[i], NULL))
                        return 0;
        char *labels[] = {lines[3], NULL};
        if (*lines[3] && !log_metadata_check_labels(labels, NULL))
                return 0;
        g_autoptr(ConfigJson) json = config_json_new(bundle_with(lines[4], strlen(lines[4])));
        LogConfig log = {
                .cid = "0123456789abcdef",
                .name = "name",
                .labels = *lines[3] ? labels : NULL,
                .config_json = json,
        };
        const Values *values = log_options_values(options, 0);
        LogDriverConfig config = {.log = &log};
        g_autoptr(GError) error = NULL;
        g_autoptr(LogMetadata) m = log_metadata_new(&config, &values->metadata, "{{.ID}}", &error);
        g_assert_cmpint(m != NULL, ==, error == NULL);
        if (m) {
                g_assert_nonnull(m->tag);
                if (!strstr(lines[0], "{{") && *lines[0])
                        g_assert_cmpstr(m->tag, ==, lines[0]);
                check_attributes(m);
        }
        return 0;
}
