/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "config/search.h"

#include "base/diag.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/trust.h"
#include "build-config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_NAME "conmon.conf"
#define VENDOR_FILE CONMON_VENDOR_DIR "/" CONFIG_NAME
#define ADMIN_FILE  CONMON_ADMIN_DIR "/" CONFIG_NAME

#define FILE_MAX (1 << 20)

static gboolean
check_trust(int fd, const char *path, bool system, struct stat *ret_st, GError **error)
{
        if (fstat(fd, ret_st) < 0)
                return error_set_errno(error, errno, "Failed to look at the configuration %s", path);
        const char *why = trust_find_stranger(ret_st, system);
        if (!why)
                return TRUE;
        return error_set(error, CONMON_ERROR_FAILED,
                         "The configuration %s is not trusted: %s (user %u, group %u, mode %04o)", path, why,
                         ret_st->st_uid, ret_st->st_gid, ret_st->st_mode & 07777);
}

static gboolean
read_fd(Config *c, int fd, const char *path, bool system, GError **error)
{
        struct stat st;
        if (!check_trust(fd, path, system, &st, error))
                return FALSE;
        if (!S_ISREG(st.st_mode))
                return error_set(error, CONMON_ERROR_FAILED, "The configuration %s is not a regular file",
                                 path);
        g_autofree char *text = NULL;
        size_t len;
        int r = fd_read_text(fd, FILE_MAX, &text, &len);
        if (r == -EFBIG)
                return error_set(error, CONMON_ERROR_FAILED,
                                 "The configuration file %s has more than %d bytes", path, FILE_MAX);
        if (r < 0)
                return error_set_errno(error, r, "Failed to read the configuration file %s", path);
        return config_parse(c, path, text, len, error);
}

/* Returns the descriptor or -errno. Does not block on a FIFO. */
static int
open_place(const char *path, int flags)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
        return fd < 0 ? -errno : fd;
}

gboolean
config_read(Config *c, const char *path, bool system, GError **error)
{
        autofd int fd = open_place(path, 0);
        if (fd < 0)
                return error_set_errno(error, fd, "Failed to open the configuration file %s", path);
        return read_fd(c, fd, path, system, error);
}

/* ---- the default locations ---- */

typedef struct {
        bool user;
        bool system; /* the current location is root's */
        Config *config;
        GError *error; /* the first one */
} Search;

/* Does not exist, as far as this process can see; dangling links and files instead of directories do. A home
 * directory that can't be searched, for whatever reason, is no reason to refuse a container. */
static bool
is_nothing(const Search *s, const char *path, int failure)
{
        struct stat st;
        if (failure >= 0 || lstat(path, &st) == 0)
                return false;
        if (failure == -ENOENT || failure == -ENOTDIR)
                return true;
        if (s->system && failure != -EACCES)
                return false;
        diag_debug("No look for the configuration %s: %s", path, strerror(-failure));
        return true;
}

/* Opens a location. Returns -1, without an error, if it does not exist, or is root's and not readable by
 * users. */
static int
find_place(Search *s, const char *path, int flags)
{
        GError *error = NULL;
        int fd = open_place(path, flags);
        if (is_nothing(s, path, fd) || (fd == -EACCES && s->user && s->system))
                return -1;
        if (!s->config)
                s->config = config_new();
        if (fd >= 0)
                return fd;
        if (fd == -ENOENT)
                (void)error_set(&error, CONMON_ERROR_FAILED, "The configuration %s is a dangling symlink",
                                path);
        else
                (void)error_set_errno(&error, fd, "Failed to open the configuration %s", path);
        error_keep_first(&s->error, error);
        return -1;
}

static void
search_file(Search *s, const char *path)
{
        GError *error = NULL;
        autofd int fd = find_place(s, path, 0);
        if (fd >= 0 && !read_fd(s->config, fd, path, s->system, &error))
                error_keep_first(&s->error, error);
}

static int
compare_names(gconstpointer a, gconstpointer b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
list_drop_ins(int place, GPtrArray *names)
{
        autofd int fd = openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir)
                return -errno;
        (void)fd_steal(&fd); /* belongs to dir now */
        const struct dirent *entry;
        while (errno = 0, (entry = readdir(dir)))
                if (entry->d_name[0] != '.' && g_str_has_suffix(entry->d_name, ".conf"))
                        g_ptr_array_add(names, g_strdup(entry->d_name));
        int r = -errno;
        (void)closedir(dir);
        g_ptr_array_sort(names, compare_names);
        return r;
}

static gboolean
search_entries(Search *s, int dir, const char *path, GError **error)
{
        struct stat st;
        if (!check_trust(dir, path, s->system, &st, error))
                return FALSE;
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        int r = list_drop_ins(dir, names);
        if (r < 0)
                return error_set_errno(error, r, "Failed to read the directory %s", path);
        for (guint i = 0; i < names->len; i++) {
                g_autofree char *file = g_build_filename(path, names->pdata[i], NULL);
                search_file(s, file);
        }
        return TRUE;
}

static void
search_directory(Search *s, const char *path)
{
        GError *error = NULL;
        autofd int dir = find_place(s, path, O_DIRECTORY);
        if (dir >= 0 && !search_entries(s, dir, path, &error))
                error_keep_first(&s->error, error);
}

static void
search_user(Search *s)
{
        const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
        g_autofree char *file = NULL;
        if (config && *config == '/')
                file = g_build_filename(config, "containers", CONFIG_NAME, NULL);
        else if (home && *home == '/')
                file = g_build_filename(home, ".config", "containers", CONFIG_NAME, NULL);
        if (!file)
                return;
        g_autofree char *directory = g_strconcat(file, ".d", NULL);
        s->system = false;
        search_file(s, file);
        search_directory(s, directory);
}

static gboolean
read_named(char **files, Config **ret_config, GError **error)
{
        *ret_config = config_new();
        for (; *files; files++)
                if (!config_read(*ret_config, *files, false, error))
                        return FALSE;
        return TRUE;
}

gboolean
config_read_all(char **files, bool user, Config **ret_config, GError **error)
{
        Search s = {.user = user, .system = true};
        if (files)
                return read_named(files, ret_config, error);
        search_file(&s, VENDOR_FILE);
        search_directory(&s, VENDOR_FILE ".d");
        search_file(&s, ADMIN_FILE);
        search_directory(&s, ADMIN_FILE ".d");
        if (user)
                search_user(&s);
        *ret_config = s.config;
        if (!s.error)
                return TRUE;
        g_propagate_error(error, s.error);
        return FALSE;
}
