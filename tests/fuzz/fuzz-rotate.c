/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "log/file/rotate.h"

#include "base/fd.h"

#include "fuzz.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Rotation keeps the order of its files and does not touch other files with similar names. */

#define NAME "ctr.log"

/* 0 if it is not the name of a rotated file, compressed or not. */
static long
number_of(const char *name)
{
        if (!g_str_has_prefix(name, NAME ".") || !g_ascii_isdigit(name[strlen(NAME ".")]) ||
            name[strlen(NAME ".")] == '0')
                return 0;
        char *rest;
        long n = strtol(name + strlen(NAME "."), &rest, 10);
        return *rest == '\0' || strcmp(rest, ".gz") == 0 ? n : 0;
}

static bool
is_usable(const char *name)
{
        return *name && strlen(name) < 64 && !strchr(name, '/') && strcmp(name, ".") != 0 &&
               strcmp(name, "..") != 0;
}

static void
put(const char *path, const char *text)
{
        autofd int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        g_assert_cmpint(fd_write_all(fd, text, strlen(text)), ==, 0);
}

static void
make_files(const char *dir, char **names)
{
        for (char **name = names; *name; name++) {
                g_autofree char *path = g_build_filename(dir, *name, NULL);
                if (is_usable(*name))
                        put(path, *name);
        }
}

/* Files that don't belong to the log are unchanged. */
static void
check_others(const char *dir, char **names, int backups)
{
        for (char **name = names; *name; name++) {
                long n = number_of(*name);
                if (!is_usable(*name) || (n > 0 && n <= backups) || strcmp(*name, NAME) == 0 ||
                    strcmp(*name, NAME ".new") == 0 || strcmp(*name, NAME ".tmp") == 0)
                        continue;
                if (n > 0)
                        continue; /* may have been shifted out or in by a smaller number of backups */
                g_autofree char *path = g_build_filename(dir, *name, NULL);
                g_autofree char *text = NULL;
                g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
                g_assert_cmpstr(text, ==, *name);
        }
}

/* Rotates several times; the youngest rotated file is the previous log. */
static void
rotate(int dirfd, const char *dir, int backups)
{
        for (int i = 0; i < 3; i++) {
                g_autofree char *mark = g_strdup_printf("content %d", i);
                g_autofree char *path = g_build_filename(dir, NAME, NULL);
                g_autofree char *first = g_build_filename(dir, NAME ".1", NULL);
                g_autofree char *text = NULL;
                put(path, mark);
                autofd int fd = log_rotate(dirfd, NAME, backups);
                g_assert_cmpint(fd, >=, 0);
                struct stat st, named;
                g_assert_cmpint(fstat(fd, &st), ==, 0);
                g_assert_cmpint(st.st_size, ==, 0);
                g_assert_cmpint(stat(path, &named), ==, 0);
                g_assert_cmpuint(named.st_ino, ==, st.st_ino);
                if (backups == 0)
                        continue;
                g_assert_true(g_file_get_contents(first, &text, NULL, NULL));
                g_assert_cmpstr(text, ==, mark);
        }
        g_assert_cmpint(log_rotate_sum(dirfd, NAME, backups), >=, 0);
}

static void
clean(const char *path)
{
        GDir *dir = g_dir_open(path, 0, NULL);
        for (const char *name; (name = g_dir_read_name(dir));) {
                g_autofree char *entry = g_build_filename(path, name, NULL);
                g_assert_cmpint(g_unlink(entry), ==, 0);
        }
        g_dir_close(dir);
        g_assert_cmpint(g_rmdir(path), ==, 0);
}

/* The first byte is the number of backups, the lines are names of existing files. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (size == 0)
                return 0;
        int backups = data[0] % 6;
        g_autofree char *text = g_strndup((const char *)data + 1, size - 1);
        g_auto(GStrv) names = g_strsplit(text, "\n", 20);
        g_autofree char *dir = g_dir_make_tmp("conmon-fuzz-XXXXXX", NULL);
        autofd int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        make_files(dir, names);
        rotate(dirfd, dir, backups);
        check_others(dir, names, backups);
        clean(dir);
        return 0;
}
