#include "config/config_file.h"

#include "base/error.h"
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONFIG_NAME       "conmon.conf"
#define CONFIG_VENDOR_DIR "/usr/share/containers/"
#define CONFIG_ADMIN_DIR  "/etc/containers/"

#define FILE_MAX (1 << 20)

/* What a user namespace shows for every owner that it has no number for. */
#define UNMAPPED_ID 65534

/* In the first user namespace every number stands for itself. */
static bool
is_in_user_namespace(void)
{
        static const char first[] = "0 0 4294967295";
        char map[64];
        autofd int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -errno : fd_read(fd, map, sizeof map - 1);
        if (n < 0)
                return false; /* a kernel without them, or no /proc */
        map[n] = '\0';
        g_auto(GStrv) words = g_strsplit_set(g_strstrip(map), " ", -1);
        g_autoptr(GString) joined = g_string_new(NULL);
        for (char **word = words; *word; word++)
                if (**word)
                        g_string_append_printf(joined, "%s%s", joined->len ? " " : "", *word);
        return strcmp(joined->str, first) != 0;
}

bool
config_is_user(void)
{
        if (geteuid() != 0)
                return true;
        const char *uid = getenv("_CONTAINERS_ROOTLESS_UID");
        return uid && *uid && strcmp(uid, "0") != 0 && is_in_user_namespace();
}

/* Why somebody else might have written it; NULL: nobody can. A group with its
 * owner's number is a private one. */
static const char *
find_stranger(const struct stat *st, bool system)
{
        bool unmapped = system && st->st_uid == UNMAPPED_ID && is_in_user_namespace();
        if (st->st_mode & S_IWOTH)
                return "everybody may write to it";
        if ((st->st_mode & S_IWGRP) && (st->st_gid != st->st_uid || unmapped))
                return "its group may write to it";
        if (st->st_uid != 0 && st->st_uid != geteuid() && !unmapped)
                return "it belongs to another user";
        return NULL;
}

static gboolean
check_trust(int fd, const char *path, bool system, struct stat *ret_st, GError **error)
{
        if (fstat(fd, ret_st) < 0)
                return error_set_errno(error, errno, "Failed to look at the configuration %s", path);
        const char *why = find_stranger(ret_st, system);
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
        if (st.st_size > FILE_MAX)
                return error_set(error, CONMON_ERROR_FAILED,
                                 "The configuration file %s has more than %d bytes", path, FILE_MAX);
        size_t size = (size_t)st.st_size, len = 0;
        g_autofree char *text = g_malloc(size + 1);
        ssize_t n;
        while (len < size && (n = fd_read(fd, text + len, size - len)) != 0) {
                if (n < 0)
                        return error_set_errno(error, (int)n, "Failed to read the configuration file %s",
                                               path);
                len += (size_t)n;
        }
        return config_parse(c, path, text, len, error);
}

/* Returns the descriptor or -errno. A FIFO does not make it wait. */
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

/* ---- the usual places ---- */

typedef struct {
        bool user;
        bool system; /* the place at hand is root's */
        Config *config;
        GError *error; /* the first one */
} Search;

static void
keep_error(Search *s, GError *error)
{
        if (s->error)
                g_error_free(error);
        else
                s->error = error;
}

/* Nothing, and not a link that leads nowhere or a file in the place of a directory. */
static bool
is_nothing(const char *path, int failure)
{
        struct stat st;
        return (failure == -ENOENT || failure == -ENOTDIR) && lstat(path, &st) < 0;
}

/* Opens a place. Returns -1 if there is nothing, or if it is root's and not for users
 * to read; both are no error. */
static int
find_place(Search *s, const char *path, int flags)
{
        GError *error = NULL;
        int fd = open_place(path, flags);
        if (is_nothing(path, fd) || (fd == -EACCES && s->user && s->system))
                return -1;
        if (!s->config)
                s->config = config_new();
        if (fd >= 0)
                return fd;
        if (fd == -ENOENT)
                (void)error_set(&error, CONMON_ERROR_FAILED,
                                "The configuration %s is a link to what is not there", path);
        else
                (void)error_set_errno(&error, fd, "Failed to open the configuration %s", path);
        keep_error(s, error);
        return -1;
}

static void
search_file(Search *s, const char *path)
{
        GError *error = NULL;
        autofd int fd = find_place(s, path, 0);
        if (fd >= 0 && !read_fd(s->config, fd, path, s->system, &error))
                keep_error(s, error);
}

static int
is_drop_in(const struct dirent *entry)
{
        return entry->d_name[0] != '.' && g_str_has_suffix(entry->d_name, ".conf");
}

static gboolean
search_entries(Search *s, int dir, const char *path, GError **error)
{
        struct stat st;
        struct dirent **entries = NULL;
        if (!check_trust(dir, path, s->system, &st, error))
                return FALSE;
        int n = scandirat(dir, ".", &entries, is_drop_in, alphasort);
        if (n < 0)
                return error_set_errno(error, errno, "Failed to read the directory %s", path);
        for (int i = 0; i < n; i++) {
                g_autofree char *file = g_build_filename(path, entries[i]->d_name, NULL);
                search_file(s, file);
                free(entries[i]);
        }
        free(entries);
        return TRUE;
}

static void
search_directory(Search *s, const char *path)
{
        GError *error = NULL;
        autofd int dir = find_place(s, path, O_DIRECTORY);
        if (dir >= 0 && !search_entries(s, dir, path, &error))
                keep_error(s, error);
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

gboolean
config_read_all(bool user, Config **ret_config, GError **error)
{
        Search s = {.user = user, .system = true};
        search_file(&s, CONFIG_VENDOR_DIR CONFIG_NAME);
        search_directory(&s, CONFIG_VENDOR_DIR CONFIG_NAME ".d");
        search_file(&s, CONFIG_ADMIN_DIR CONFIG_NAME);
        search_directory(&s, CONFIG_ADMIN_DIR CONFIG_NAME ".d");
        if (user)
                search_user(&s);
        *ret_config = s.config;
        if (!s.error)
                return TRUE;
        g_propagate_error(error, s.error);
        return FALSE;
}
