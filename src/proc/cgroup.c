#include "proc/cgroup.h"

#include "base/fd.h"

#include <errno.h>
#include <glib.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

/* A dozen hierarchies with paths of PATH_MAX each fit in. */
#define CGROUP_TEXT_MAX (64 * 1024)

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

/* The directory if this is the line that is looked for. */
static char *
parse_line(const char *line, bool unified)
{
        /* The path is the last part and may have colons of its own. */
        g_auto(GStrv) part = g_strsplit(line, ":", 3);
        if (g_strv_length(part) != 3 || !is_visible(part[2]))
                return NULL;
        if (unified)
                return strcmp(part[0], "0") == 0 && part[1][0] == '\0' ? g_strdup(part[2]) : NULL;
        if (strchr(part[1], '/') || !list_has(part[1], "memory"))
                return NULL;
        return g_strconcat(part[1], part[2], NULL);
}

char *
cgroup_parse(const char *text, bool unified)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        char *found = NULL;
        for (char **line = lines; *line && !found; line++)
                found = parse_line(*line, unified);
        return found;
}

int
cgroup_memory_dir(const char *root, pid_t pid, bool *ret_unified, char **ret_dir)
{
        struct statfs fs;
        if (statfs(root, &fs) < 0)
                return -errno;
        bool unified = fs.f_type == CGROUP2_SUPER_MAGIC;

        g_autofree char *file = g_strdup_printf("/proc/%d/cgroup", (int)pid);
        g_autofree char *text = NULL;
        int r = fd_read_file(file, CGROUP_TEXT_MAX, &text, NULL);
        if (r < 0)
                return r;
        g_autofree char *relative = cgroup_parse(text, unified);
        if (!relative)
                return -ENOENT;
        *ret_dir = g_build_filename(root, relative, NULL);
        *ret_unified = unified;
        return 0;
}
