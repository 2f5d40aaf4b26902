/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#pragma once

/* A temporary directory for a test, and helpers to read and write its files. */

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

/* Creates an empty directory. The caller passes the name to tempdir_remove, which frees it. */
static inline char *
tempdir_new(void)
{
        char *dir = g_dir_make_tmp("conmon-test-XXXXXX", NULL);
        g_assert_nonnull(dir);
        return dir;
}

static inline void
tempdir_remove_tree(const char *path)
{
        GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
        for (const char *name; dir && (name = g_dir_read_name(dir));) {
                g_autofree char *entry = g_build_filename(path, name, NULL);
                tempdir_remove_tree(entry);
        }
        g_clear_pointer(&dir, g_dir_close);
        (void)g_remove(path);
}

static inline void
tempdir_remove(char *dir)
{
        tempdir_remove_tree(dir);
        g_free(dir);
}

/* Overwrites the file with `text` in place. */
static inline void
tempdir_put(const char *dir, const char *name, const char *text)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);
        FILE *file = fopen(path, "we");
        g_assert_nonnull(file);
        g_assert_cmpint(fputs(text, file), >=, 0);
        g_assert_cmpint(fclose(file), ==, 0);
}

/* The content of a file, or NULL if there is none. Freed with g_free. */
static inline char *
tempdir_get(const char *dir, const char *name)
{
        g_autofree char *path = g_build_filename(dir, name, NULL);
        char *text = NULL;
        return g_file_get_contents(path, &text, NULL, NULL) ? text : NULL;
}

/* The number of entries in the directory. */
static inline guint
tempdir_count(const char *path)
{
        guint n = 0;
        GDir *dir = g_dir_open(path, 0, NULL);
        g_assert_nonnull(dir);
        while (g_dir_read_name(dir))
                n++;
        g_dir_close(dir);
        return n;
}
