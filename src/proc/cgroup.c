/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The conmon 3 authors */

#include "proc/cgroup.h"

#include "base/fd.h"

#include <errno.h>
#include <glib.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

/* Enough for a dozen hierarchies with paths of PATH_MAX. */
#define CGROUP_TEXT_MAX (64 * 1024)

/* For cgroup.events and freezer.state. */
#define CGROUP_STATE_MAX 4096

static bool
list_has(const char *list, const char *wanted)
{
        g_auto(GStrv) names = g_strsplit(list, ",", -1);
        return g_strv_contains((const char *const *)names, wanted);
}

static bool
is_visible(const char *path)
{
        return path[0] == '/' && !strstr(path, "/../") && !g_str_has_suffix(path, "/..");
}

/* The directory if this is the requested line. */
static char *
parse_line(const char *line, bool unified, const char *controller)
{
        /* The path is the last part and may contain colons. */
        g_auto(GStrv) part = g_strsplit(line, ":", 3);
        if (g_strv_length(part) != 3 || !is_visible(part[2]))
                return NULL;
        if (unified)
                return strcmp(part[0], "0") == 0 && part[1][0] == '\0' ? g_strdup(part[2]) : NULL;
        if (strchr(part[1], '/') || !list_has(part[1], controller))
                return NULL;
        return g_strconcat(part[1], part[2], NULL);
}

char *
cgroup_parse(const char *text, bool unified, const char *controller)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        char *found = NULL;
        for (char **line = lines; *line && !found; line++)
                found = parse_line(*line, unified, controller);
        return found;
}

static bool
has_word(const char *name, size_t len, const char *word)
{
        size_t n = strlen(word);
        for (size_t at = 0; n > 0 && at + n <= len; at++)
                if (memcmp(name + at, word, n) == 0 && (at == 0 || !g_ascii_isalnum(name[at - 1])) &&
                    (at + n == len || !g_ascii_isalnum(name[at + n])))
                        return true;
        return false;
}

static bool
is_scope(const char *name, size_t len)
{
        static const char suffix[] = ".scope", init[] = "init.scope";
        size_t n = strlen(suffix);
        return len > n && memcmp(name + len - n, suffix, n) == 0 &&
               !(len == strlen(init) && memcmp(name, init, len) == 0);
}

static bool
is_inside(const char *path, const char *dir, size_t len)
{
        return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

size_t
cgroup_own_length(const char *path, const char *monitor, const char *id, bool *ret_named)
{
        size_t whole = strlen(path), scope = 0, end = whole;
        *ret_named = false;
        while (end > 0) {
                const char *slash = memrchr(path, '/', end);
                size_t start = slash ? (size_t)(slash - path) + 1 : 0;
                if (has_word(path + start, end - start, id)) {
                        *ret_named = true;
                        return end;
                }
                if (scope == 0 && is_scope(path + start, end - start) && !is_inside(monitor, path, end))
                        scope = end;
                end = start > 0 ? start - 1 : 0;
        }
        return scope > 0 ? scope : whole;
}

static int
read_place(const char *process, bool unified, const char *controller, char **ret)
{
        g_autofree char *file = g_strdup_printf("/proc/%s/cgroup", process);
        g_autofree char *text = NULL;
        int r = fd_read_file(file, CGROUP_TEXT_MAX, &text, NULL);
        if (r < 0)
                return r;
        *ret = cgroup_parse(text, unified, controller);
        return *ret ? 0 : -ENOENT;
}

int
cgroup_find_memory(const char *root, pid_t pid, const char *id, CgroupMemory *ret)
{
        struct statfs fs;
        if (statfs(root, &fs) < 0)
                return -errno;
        bool unified = fs.f_type == CGROUP2_SUPER_MAGIC, named = false;

        g_autofree char *place = NULL, *monitor = NULL;
        g_autofree char *process = g_strdup_printf("%d", (int)pid);
        int r = read_place(process, unified, "memory", &place);
        if (r < 0)
                return r;
        (void)read_place("self", unified, "memory", &monitor);
        size_t own = cgroup_own_length(place, monitor ? monitor : "", id, &named);
        if (unified)
                place[own] = '\0';
        *ret = (CgroupMemory){g_build_filename(root, place, NULL), unified, named};
        return 0;
}

bool
cgroup_is_frozen(const char *root, pid_t pid)
{
        struct statfs fs;
        g_autofree char *process = g_strdup_printf("%d", (int)pid), *place = NULL, *state = NULL;
        if (statfs(root, &fs) < 0)
                return false;
        bool unified = fs.f_type == CGROUP2_SUPER_MAGIC;
        if (read_place(process, unified, "freezer", &place) < 0)
                return false;
        g_autofree char *path =
                g_build_filename(root, place, unified ? "cgroup.events" : "freezer.state", NULL);
        if (fd_read_file(path, CGROUP_STATE_MAX, &state, NULL) < 0)
                return false;
        return unified ? strstr(state, "frozen 1") != NULL : g_str_has_prefix(state, "FR");
}
