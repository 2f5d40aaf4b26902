/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "base/atomic_file.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Fixture {
        char *dir;
        char *path; /* a file in that directory, which does not exist yet */
} Fixture;

static void
set_up(Fixture *f, const void *data)
{
        f->dir = g_dir_make_tmp("test-atomic-XXXXXX", NULL);
        f->path = g_build_filename(f->dir, "file", NULL);
        umask(022);
}

static guint
count_files(const Fixture *f)
{
        guint n = 0;
        g_autoptr(GDir) dir = g_dir_open(f->dir, 0, NULL);
        while (g_dir_read_name(dir))
                n++;
        return n;
}

static void
tear_down(Fixture *f, const void *data)
{
        (void)g_unlink(f->path);
        (void)g_rmdir(f->path);
        g_assert_cmpint(g_rmdir(f->dir), ==, 0);
        g_free(f->path);
        g_free(f->dir);
}

static void
check_content(const Fixture *f, const char *expected)
{
        g_autofree char *text = NULL;
        size_t len = 0;
        g_assert_true(g_file_get_contents(f->path, &text, &len, NULL));
        g_assert_cmpmem(text, len, expected, strlen(expected));
        g_assert_cmpuint(count_files(f), ==, 1);
}

static void
test_new(Fixture *f, const void *data)
{
        GError *error = NULL;
        g_assert_true(atomic_file_write(f->path, "137", 3, &error));
        g_assert_no_error(error);
        check_content(f, "137");
}

static void
test_replace(Fixture *f, const void *data)
{
        g_assert_true(atomic_file_write(f->path, "longer than before", 18, NULL));
        g_assert_true(atomic_file_write(f->path, "-1", 2, NULL));
        check_content(f, "-1");
        g_assert_true(atomic_file_write(f->path, "", 0, NULL));
        check_content(f, "");
}

static void
check_mode(Fixture *f, mode_t mask, mode_t expected)
{
        struct stat st;
        umask(mask);
        g_assert_true(atomic_file_write(f->path, "x", 1, NULL));
        g_assert_cmpint(stat(f->path, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 07777, ==, expected);
        g_assert_cmpint(umask(022), ==, mask);
}

static void
test_mode(Fixture *f, const void *data)
{
        check_mode(f, 022, 0644);
        check_mode(f, 0, 0644);
        check_mode(f, 077, 0644);
}

/* Watching the directory shows that the name appears by a rename, and that the file is not changed later. */
static void
test_events(Fixture *f, const void *data)
{
        autofd int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        g_assert_cmpint(inotify_add_watch(inotify, f->dir, IN_ALL_EVENTS), >=, 0);
        g_assert_true(atomic_file_write(f->path, "0", 1, NULL));
        char buf[4096] __attribute__((aligned(8)));
        guint moved = 0;
        ssize_t n = read(inotify, buf, sizeof buf);
        for (char *at = buf; at < buf + n;) {
                const struct inotify_event *event = (const struct inotify_event *)(const void *)at;
                if (strcmp(event->name, "file") == 0) {
                        g_assert_cmpuint(event->mask & (IN_CREATE | IN_MODIFY), ==, 0);
                        moved += event->mask == IN_MOVED_TO;
                } else {
                        g_assert_true(g_str_has_prefix(event->name, "file."));
                }
                at += sizeof *event + event->len;
        }
        g_assert_cmpuint(moved, ==, 1);
}

static void
test_no_directory(Fixture *f, const void *data)
{
        g_autoptr(GError) error = NULL;
        g_autofree char *path = g_build_filename(f->dir, "missing", "file", NULL);
        g_assert_false(atomic_file_write(path, "1", 1, &error));
        g_assert_error(error, CONMON_ERROR, CONMON_ERROR_FAILED);
        g_assert_nonnull(strstr(error->message, path));
        g_assert_nonnull(strstr(error->message, strerror(ENOENT)));
}

/* rename(2) can't replace a directory; the temporary file is removed. */
static void
test_nothing_left(Fixture *f, const void *data)
{
        g_autoptr(GError) error = NULL;
        g_assert_cmpint(g_mkdir(f->path, 0755), ==, 0);
        g_assert_false(atomic_file_write(f->path, "1", 1, &error));
        g_assert_error(error, CONMON_ERROR, CONMON_ERROR_FAILED);
        g_assert_nonnull(strstr(error->message, f->path));
        g_assert_cmpuint(count_files(f), ==, 1);
}

static void
add(const char *name, void (*func)(Fixture *, const void *))
{
        g_test_add(name, Fixture, NULL, set_up, func, tear_down);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        add("/atomic-file/new", test_new);
        add("/atomic-file/replace", test_replace);
        add("/atomic-file/mode", test_mode);
        add("/atomic-file/events", test_events);
        add("/atomic-file/no-directory", test_no_directory);
        add("/atomic-file/nothing-left", test_nothing_left);
        return g_test_run();
}
