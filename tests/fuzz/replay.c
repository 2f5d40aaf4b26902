/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

/* Replaces libFuzzer in ordinary builds: passes every file of the corpus and all prefixes of each to the
 * target. */

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

static void
run(const char *data, size_t size)
{
        uint8_t *copy = malloc(MAX(size, 1));
        memcpy(copy, data, size);
        (void)LLVMFuzzerTestOneInput(copy, size);
        free(copy);
}

static void
replay(const char *dir, const char *name)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);
        g_autofree char *data = NULL;
        gsize size = 0;
        if (!g_file_get_contents(path, &data, &size, NULL))
                g_error("Cannot read %s", path);
        /* Shows the input in case of an abort. */
        fprintf(stderr, "%s\n", path);
        gsize step = MAX(1, size / 500);
        for (gsize part = 0; part < size; part += step)
                run(data, part);
        run(data, size);
}

int
main(int argc, char **argv)
{
        int n = 0;
        GDir *dir = argc == 2 ? g_dir_open(argv[1], 0, NULL) : NULL;
        for (const char *name; dir && (name = g_dir_read_name(dir)); n++)
                replay(argv[1], name);
        if (n == 0) {
                fprintf(stderr, "usage: %s CORPUS, a directory with at least one file\n", argv[0]);
                return 1;
        }
        g_dir_close(dir);
        return 0;
}
